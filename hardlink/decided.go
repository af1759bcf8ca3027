package hardlink

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// kojisnap makes nothing of a build about which staging itself has decided: staging deleted, reset or
// promoted it, or moved it to a volume of its own. Files that are missing there are not made, either.

// rowsOf asks the database for the volumes of builds. Without a database it returns nil.
func (e *Engine) rowsOf(ctx context.Context, builds []volumes.Build) (map[string]string, error) {
	if e.opts.Rows == nil || len(builds) == 0 {
		return nil, nil
	}
	return e.opts.Rows(ctx, builds)
}

// decided removes those builds from the plan that the ledger has, and that the database no longer has as
// complete builds on a planned volume. Only an audit asks about all builds: it would make their files again.
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
		if d.ledger.Made[link] || d.ledger.Builds[dir] != nil {
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

// movedAway reports, if there is no database, whether a build without its copy has a directory on DEFAULT:
// changeBuildVolume has moved it there.
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

// forget removes decided builds from the ledger whose directories are gone. If a plan wants one of them
// again, its files have to be made.
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
			continue // whether it is there is unknown
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

// leaving notes builds that the ledger has and the plan has not as unwanted. Where a build left the snapshot,
// too, it lets the symlink on DEFAULT lead away from the copy volume: the database keeps the build, on
// production's volume.
func (d *differ) leaving(a *Actions) error {
	wanted, err := stagedDirs(d.plan)
	if err != nil {
		return err
	}
	now := d.opts.Now().Unix()
	for _, dir := range slices.Sorted(maps.Keys(d.ledger.Builds)) {
		b := d.ledger.Builds[dir]
		if wanted[dir] || b.Unwanted != 0 && b.Unwanted <= now {
			continue
		}
		a.notes.Build(b.Build)
		a.notes.Unwanted(now)
		a.Leaving = append(a.Leaving, b.Build)
	}
	links, err := linkedPaths(d.plan)
	if err != nil {
		return err
	}
	return d.redirect(a, d.plan, d.ledger, links, nil)
}

// grace lists the builds on the copy volume that are unwanted already.
func (d *differ) grace(a *Actions) error {
	var dirs []string
	for dir, b := range d.ledger.Builds {
		if b.Unwanted != 0 {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		return nil
	}
	wanted, err := stagedDirs(d.plan)
	if err != nil {
		return err
	}
	slices.Sort(dirs)
	for _, dir := range dirs {
		if b := d.ledger.Builds[dir]; !wanted[dir] {
			since := time.Unix(b.Unwanted, 0)
			a.Grace = append(a.Grace, GraceBuild{b.Build, dir, since, since.Add(d.opts.KeepFor)})
		}
	}
	return nil
}

// redirect changes our symlinks on DEFAULT of builds that are not in the plan. They lead to the volume that
// the database has for the build. If that is unknown, those to the copy volume lead to production's DEFAULT,
// where production's own symlinks lead on. Without a read-only volume they cannot lead anywhere.
func (e *Engine) redirect(a *Actions, plan volumes.Plan, ledger *ledger.Ledger, planned map[string]bool, rows map[string]string) error {
	if e.opts.ReadOnly == "" {
		return nil
	}
	for _, link := range slices.Sorted(maps.Keys(ledger.Links)) {
		b, ok := linkBuild(link)
		if !ok || planned[link] {
			continue
		}
		switch b.Volume = rows[b.NVR()]; b.Volume {
		case plan.CopyVolume:
			continue
		case "", volumes.DefaultVolume:
			if !leadsInto(ledger, link, plan.CopyVolume) {
				continue
			}
			b.Volume = plan.Prod
		}
		_, target, err := b.Link()
		if err != nil {
			return err
		}
		if said := ledger.Links[link]; said[len(said)-1] == target && ledger.Made[link] {
			continue
		}
		l := volumes.Link{Path: link, Target: target}
		o, _, err := e.top.Check(l, ledger.Ours(link))
		if err != nil {
			a.hold(held("symlink", "", link, err, asIs))
			continue
		}
		switch o {
		case topdir.Switch:
			a.Links = append(a.Links, LinkAction{Link: l, Switch: true})
		case topdir.Unchanged: // an earlier run was killed before it noted this
			a.notes.Link(link, target)
			a.notes.LinksMade(1)
		}
	}
	return nil
}

// leadsInto reports whether a symlink on DEFAULT leads into a volume, or may do so after a kill.
func leadsInto(l *ledger.Ledger, link, volume string) bool {
	return strings.HasPrefix(link, "packages/") && l.Ours(link)("../../../vol/"+volume+"/"+link)
}

// stagedDirs returns the directories of a plan's builds on the copy volume.
func stagedDirs(plan volumes.Plan) (map[string]bool, error) {
	dirs := make(map[string]bool, len(plan.Staged))
	for _, s := range plan.Staged {
		s.Build.Volume = plan.CopyVolume
		dir, err := s.Build.Dir()
		if err != nil {
			return nil, err
		}
		dirs[dir] = true
	}
	return dirs, nil
}

// linkedPaths returns the paths of a plan's symlinks on DEFAULT, and of those that the plan leaves as they
// are.
func linkedPaths(plan volumes.Plan) (map[string]bool, error) {
	paths := make(map[string]bool, len(plan.Linked)+len(plan.Decided))
	for _, builds := range [][]volumes.Build{plan.Linked, plan.Decided} {
		for _, b := range builds {
			path, err := b.Rel()
			if err != nil {
				return nil, err
			}
			paths[path] = true
		}
	}
	return paths, nil
}
