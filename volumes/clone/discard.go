package clone

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"kojisnap/kojisnap/oneline"
	"kojisnap/volumes"
)

// Discarded is what Retire did.
type Discarded struct {
	Discarded []string `json:"discarded"` // ids of clones that are gone now
	// Busy are clones that were to go, and are in use: the next run tries again.
	Busy []string `json:"busy,omitempty"`
	// Failed are clones that could not be discarded, each with the reason.
	Failed map[string]string `json:"failed,omitempty"`
	// Others were made by another provider than the one that is configured; they stay.
	Others []string `json:"others,omitempty"`
}

// Retire discards the clones that are no longer needed: all but the one that the volume shows, Keep before it, and the
// last one with which verify found staging ready. Clones in which files are open stay for the next run. A clone that
// cannot be discarded does not keep the others.
func (k *Keeper) Retire(ctx context.Context) (*Discarded, error) {
	top, notes, err := k.openNotes()
	if err != nil {
		return nil, err
	}
	defer top.close()
	d := &Discarded{Discarded: []string{}}
	for _, n := range k.leaving(notes, top.Path()) {
		if n.Provider != k.ProviderName {
			d.Others = append(d.Others, n.ID)
			continue
		}
		err := k.discard(ctx, top, &n)
		switch {
		case ctx.Err() != nil:
			return d, ctx.Err()
		case errors.Is(err, ErrBusy):
			d.Busy = append(d.Busy, n.ID)
		case err != nil:
			if d.Failed == nil {
				d.Failed = map[string]string{}
			}
			d.Failed[n.ID] = oneline.Of(err).Error()
		default:
			d.Discarded = append(d.Discarded, n.ID)
		}
	}
	return d, nil
}

// Leaving returns the ids of the clones that Retire would discard.
func (k *Keeper) Leaving() ([]string, error) {
	notes, err := Notes(k.Topdir)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, n := range k.leaving(notes, k.Topdir) {
		if n.Provider == k.ProviderName {
			ids = append(ids, n.ID)
		}
	}
	return ids, nil
}

// leaving are the clones of the environment that can go, the oldest first.
func (k *Keeper) leaving(notes []Note, topdir string) []Note {
	var going []Note
	now := currentOf(notes, topdir, k.Volume)
	kept, proven := 0, false
	for _, n := range slices.Backward(notes) {
		id, err := ParseID(n.ID)
		switch {
		case err != nil || id.Env != k.Env || n.Volume != k.Volume:
		case now != nil && n.ID == now.ID:
			proven = proven || n.Proven
		case n.State == Ready && (kept < k.Keep || n.Proven && !proven):
			kept++
			proven = proven || n.Proven
		default:
			going = append(going, n)
		}
	}
	slices.Reverse(going)
	return going
}

// discard discards the clone of a note. Killed on the way, the note remains, and says what is to be done.
func (k *Keeper) discard(ctx context.Context, top held, n *Note) error {
	before := n.State
	if n.State = Leaving; before != Leaving {
		if err := n.write(top.Dir); err != nil {
			return err
		}
	}
	if err := k.step("leaving"); err != nil {
		return err
	}
	if err := k.Provider.Discard(ctx, n.Clone); err != nil {
		return fmt.Errorf("discard clone %s: %w", n.ID, err)
	}
	if err := k.step("discarded"); err != nil {
		return err
	}
	if err := n.remove(top.Dir); err != nil {
		return err
	}
	return k.step("forgotten")
}

// Judge notes what verify found of the clone that the volume shows: staging is ready with it, or it is stale, so that the
// next sync makes another one.
func (k *Keeper) Judge(id string, proven, stale bool) error {
	top, err := k.open()
	if err != nil {
		return err
	}
	defer top.close()
	n, err := Current(top.Path(), k.Volume)
	if err != nil || n == nil || n.ID != id {
		return err
	}
	proven, stale = n.Proven && !stale || proven, n.Stale || stale
	if n.Proven == proven && n.Stale == stale {
		return nil
	}
	n.Proven, n.Stale = proven, stale
	return n.write(top.Dir)
}

// UsedError says that a clone is the one that the volume shows.
type UsedError struct{ ID, Volume string }

func (e *UsedError) Error() string {
	return fmt.Sprintf("clone %s: volume %s shows it: make a new one first (kojisnap clone), or give --back, which leads the volume to the read-only tree", e.ID, e.Volume)
}

// Discard discards one clone by its id. The one that the volume shows is refused (*UsedError), unless back is set: then
// the volume shows Source again first.
func (k *Keeper) Discard(ctx context.Context, id string, back bool) error {
	if _, err := ParseID(id); err != nil {
		return err
	}
	top, notes, err := k.openNotes()
	if err != nil {
		return err
	}
	defer top.close()
	at := slices.IndexFunc(notes, func(n Note) bool { return n.ID == id })
	if at < 0 {
		return fmt.Errorf("clone %s: no note of it below %s: kojisnap discards only what it made; kojisnap clones lists that: %w", id, top.Path(), fs.ErrNotExist)
	}
	n := &notes[at]
	if !k.mine(*n) {
		return fmt.Errorf("clone %s: was made by provider %s for volume %s, not by %s for environment %s and volume %s: give these", id, n.Provider, n.Volume, k.ProviderName, k.Env, k.Volume)
	}
	if now := currentOf(notes, top.Path(), k.Volume); now != nil && now.ID == id {
		switch {
		case !back:
			return &UsedError{id, k.Volume}
		case k.Source == "":
			return fmt.Errorf("clone %s: no read-only tree to lead volume %s back to: give --source", id, k.Volume)
		}
		if err := k.lead(top, notes, volumes.VolumeLink{Name: k.Volume, Source: "."}.Link(k.Source)); err != nil {
			return err
		}
		if err := k.point(top, ""); err != nil {
			return err
		}
	}
	return k.discard(ctx, top, n)
}

// Remount mounts again what is on record and complete, after a reboot. It returns what could not be.
func (k *Keeper) Remount(ctx context.Context) error {
	top, notes, err := k.openNotes()
	if err != nil {
		return err
	}
	defer top.close()
	now := currentOf(notes, top.Path(), k.Volume)
	var failed []error
	for _, n := range notes {
		if n.State != Ready && (now == nil || n.ID != now.ID) || !k.mine(n) {
			continue
		}
		path, err := k.Provider.Mount(ctx, n.Clone)
		if err == nil && path != n.Path {
			err = fmt.Errorf("it is at %s now, and was at %s", path, n.Path)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("mount clone %s: %w", n.ID, err))
		}
	}
	return errors.Join(failed...)
}

// Listed is a clone as List tells of it.
type Listed struct {
	ID       string `json:"id"`
	State    string `json:"state"` // in use, kept, unfinished, leaving, or not on record
	Provider string `json:"provider"`
	Event    int64  `json:"event"`
	Snapshot string `json:"snapshot,omitempty"`
	Made     string `json:"made,omitempty"`
	Path     string `json:"path,omitempty"`
	Compose  string `json:"compose,omitempty"`
	Lower    string `json:"lower,omitempty"`
	Trouble  string `json:"trouble,omitempty"` // why it cannot be used
}

// List returns the clones on record, the oldest first, and then those that the provider knows beside them. Provider may
// be nil: then the notes alone tell.
func (k *Keeper) List(ctx context.Context) ([]Listed, error) {
	notes, err := Notes(k.Topdir)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	var known []Clone
	if k.Provider != nil {
		if known, err = k.Provider.List(ctx); err != nil {
			return nil, fmt.Errorf("clones of provider %s: %w", k.ProviderName, err)
		}
		for _, c := range known {
			there[c.ID] = true
		}
	}
	now := currentOf(notes, k.Topdir, k.Volume)
	list := []Listed{}
	for _, n := range notes {
		id, _ := ParseID(n.ID)
		l := Listed{ID: n.ID, State: string(n.State), Provider: n.Provider, Event: id.Event, Snapshot: n.Snapshot, Made: n.Made.UTC().Format("2006-01-02T15:04:05Z"), Path: n.Path, Compose: n.Compose}
		if n.Lower != nil {
			l.Lower = n.Lower.Path
		}
		inUse := now != nil && n.ID == now.ID
		switch {
		case inUse:
			l.State = "in use"
		case n.State == Ready:
			l.State = "kept"
		}
		if inUse || n.State == Ready {
			if err := n.Check(); err != nil {
				l.Trouble = oneline.Of(err).Error()
			}
			if k.Provider != nil && k.mine(n) && !there[n.ID] {
				l.Trouble = "the provider has no such clone: it was removed"
			}
		}
		list = append(list, l)
		delete(there, n.ID)
	}
	for _, c := range known {
		if there[c.ID] {
			id, err := ParseID(c.ID)
			if err != nil {
				continue
			}
			list = append(list, Listed{ID: c.ID, State: "not on record", Provider: k.ProviderName, Event: id.Event})
		}
	}
	return list, nil
}
