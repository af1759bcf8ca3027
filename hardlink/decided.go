package hardlink

import (
	"context"
	"slices"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// Of builds of which staging itself has decided (it deleted, reset or promoted them, or moved
// them to a volume of its own) nothing is made, also not what is missing.

// rows asks the database on which volumes builds stand, nil if there is none to ask.
func (e *Engine) rowsOf(ctx context.Context, builds []volumes.Build) (map[string]string, error) {
	if e.opts.Rows == nil || len(builds) == 0 {
		return nil, nil
	}
	return e.opts.Rows(ctx, builds)
}

// decided takes the builds out of the plan that the ledger has and that the database does not have
// any longer as complete ones on a volume that is planned. Only an audit asks about all of them: it
// would make them again.
func (d *differ) decided(ctx context.Context) error {
	rows, err := d.rowsOf(ctx, d.plan.Linked)
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, b := range d.plan.Linked {
		volume, named := rows[b.NVR()]
		if !named || d.managed[volume] {
			continue
		}
		link, err := b.Rel()
		if err != nil {
			return err
		}
		b.Volume = d.plan.CopyVolume
		dir, err := b.Dir()
		if err != nil {
			return err
		}
		if d.ledger.Placed[link] || d.ledger.Builds[dir] != nil {
			gone[link] = true
			d.plan.Decided = append(slices.Clip(d.plan.Decided), b)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	planned := func(b volumes.Build) bool {
		link, _ := b.Rel() // was checked
		return gone[link]
	}
	d.plan.Linked = slices.DeleteFunc(slices.Clone(d.plan.Linked), planned)
	d.plan.Staged = slices.DeleteFunc(slices.Clone(d.plan.Staged), func(s volumes.StagedBuild) bool { return planned(s.Build) })
	return nil
}

// movedAway tells, where there is no database to ask, that a build whose copy is gone has a directory
// on DEFAULT: changeBuildVolume moved it there.
func (d *differ) movedAway(b volumes.Build) (bool, error) {
	if d.opts.Rows != nil {
		return false, nil
	}
	link, err := b.Rel()
	if err != nil {
		return false, err
	}
	st, err := d.top.Lstat(link)
	if err != nil && !source.Absent(err) {
		return false, err
	}
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// forget lets the ledger forget the directories of decided builds that are not there any longer:
// if one is wanted again its files have to be made.
func (d *differ) forget(a *Actions) error {
	for _, b := range d.plan.Decided {
		b.Volume = d.plan.CopyVolume
		dir, err := b.Dir()
		if err != nil {
			return err
		}
		known := d.ledger.Builds[dir]
		if known == nil {
			continue
		}
		st, err := d.top.Lstat(dir)
		if err != nil && !source.Absent(err) {
			continue // nothing is known of it
		}
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			continue
		}
		a.notes.Build(known.Build)
		a.notes.Gone()
		delete(d.ledger.Builds, dir)
	}
	return nil
}
