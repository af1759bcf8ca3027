package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"os"

	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes/clone"
	"kojisnap/volumes/topdir"
)

// CloneOptions say how clones of production's tree are made. Topdir, sources, volume and environment are those of a
// CopyOptions.
type CloneOptions struct {
	ProviderName string
	Provider     clone.Provider // nil: no clones are made
	Keep         int            // so many clones stay beside the one that the volume shows
	Compose      string         // the directory for composes in each clone; empty: none is made
	ComposeOwner *topdir.Owner
	// Again makes a clone also if the volume shows one of the same snapshot.
	Again bool
}

// Keeper returns the keeper of a topdir's clones. Without a source that is a directory it has none to lead back to.
func (o CloneOptions) Keeper(c CopyOptions) (*clone.Keeper, error) {
	source, err := c.readOnly()
	if err != nil && len(c.Sources) > 0 {
		return nil, err
	}
	return &clone.Keeper{Topdir: c.Topdir, Volume: c.prod(), Env: c.Env, Source: source, ProviderName: o.ProviderName, Provider: o.Provider,
		Keep: o.Keep, Compose: o.Compose, ComposeOwner: o.ComposeOwner, Attributes: c.Attributes, Log: c.Log}, nil
}

// MakeClone makes a clone after a snapshot's event, and leads the volume of production's builds there. The store
// remembers which one the environment has. A topdir that is not mounted is refused, as by Copy.
func MakeClone(ctx context.Context, snap *snapfile.Snapshot, s store.Store, c CopyOptions, o CloneOptions) (*clone.Cloned, error) {
	if !c.NewTopdir {
		if err := checkTopdir(ctx, c.Topdir, c.Env, c.CopyVolume, s, c.Database); err != nil {
			return nil, err
		}
		if err := c.checkForgotten(ctx, s); err != nil {
			return nil, err
		}
	}
	k, err := o.Keeper(c)
	if err != nil {
		return nil, err
	}
	now, err := clone.Current(c.Topdir, k.Volume)
	if err != nil {
		return nil, err
	}
	if !o.Again && now != nil && now.Snapshot == snap.ID && now.Provider == o.ProviderName && now.Check() == nil {
		return &clone.Cloned{ID: now.ID, Path: now.Path, Compose: now.Compose, Kept: true}, nil
	}
	m, err := k.Make(ctx, snap.Manifest.Event, snap.ID)
	if err != nil {
		return nil, err
	}
	err = repository.UpdateEnvironment(ctx, s, c.Env, func(e *repository.Environment) { e.Clone = m.ID })
	if err != nil && !c.notes.failed(ctx, err) && !readOnly(err) {
		return m, err
	}
	return m, nil
}

// checkForgotten refuses a new topdir if the store knows of a clone: most likely topdir is not mounted.
func (o CopyOptions) checkForgotten(ctx context.Context, s store.Store) error {
	if anew, err := isNewTopdir(o.Topdir); err != nil || !anew {
		return err
	}
	if notes, err := clone.Notes(o.Topdir); err != nil || len(notes) > 0 {
		return err
	}
	all, err := repository.Environments(ctx, s)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Name == o.Env && e.Clone != "" {
			return fmt.Errorf("topdir %s has neither packages nor a note of a clone, but by store %s clone %s is in use there: is it mounted? "+
				"If it is a new one, give --new-topdir once", o.Topdir, s, e.Clone)
		}
	}
	return nil
}

// clone makes a clone as a step of a sync.
func (r *SyncResult) clone(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o SyncOptions) error {
	if o.Clone.Provider == nil {
		return nil
	}
	return r.step("clone", func() (err error) {
		r.Clone, err = MakeClone(ctx, snap, s, o.Copy, o.Clone)
		return err
	})
}

// discard discards, as a step of a sync, the clones that are no longer needed. It is the last step, and only runs if the
// others came to their end.
func (r *SyncResult) discard(ctx context.Context, o SyncOptions) error {
	if o.Clone.Provider == nil {
		return nil
	}
	return r.step("discard", func() error {
		k, err := o.Clone.Keeper(o.Copy)
		if err != nil {
			return err
		}
		if r.Verify != nil && r.Clone != nil {
			if err := k.Judge(r.Clone.ID, r.Verify.Ready(), r.Verify.CloneStale()); err != nil {
				return err
			}
		}
		r.Discard, err = k.Retire(ctx)
		return err
	})
}

// checkClone says why no clone could be made.
func (o SyncOptions) checkClone(ctx context.Context) (string, error) {
	if o.Clone.Provider == nil {
		return "none are made", nil
	}
	k, err := o.Clone.Keeper(o.Copy)
	if err != nil {
		return "", err
	}
	if c, ok := o.Clone.Provider.(clone.Checker); ok {
		if err := c.Check(ctx); err != nil {
			return "", err
		}
	}
	now, err := clone.Current(k.Topdir, k.Volume)
	switch {
	case errors.Is(err, os.ErrNotExist) || err == nil && now == nil:
		return "by " + o.Clone.ProviderName + ", none yet", nil
	case err != nil:
		return "", err
	}
	if err := now.Check(); err != nil {
		return "", &notYetError{err} // a sync makes a new one
	}
	return "by " + o.Clone.ProviderName + ", " + now.ID + " is shown", nil
}
