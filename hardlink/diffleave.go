package hardlink

import (
	"maps"
	"slices"
	"strings"
	"time"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// leaving notes builds of the ledger that the plan does not have as unwanted, and leads
// DEFAULT's symlinks of those that the snapshot does not have any longer away from the
// copy volume: the database goes on to name them, on production's volume.
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

// grace lists the builds that are unwanted already and still there.
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

// redirect leads our symlinks on DEFAULT of builds that the plan does not have to where
// the database has the build or, where that is not known, from the copy volume to
// production's, where production's own symlinks lead on. Without a read-only volume there
// is nothing to lead to.
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
		if said := ledger.Links[link]; said[len(said)-1] == target && ledger.Placed[link] {
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
		case topdir.Unchanged: // killed just before this was noted
			a.notes.Link(link, target)
			a.notes.Placed(1)
		}
	}
	return nil
}

// leadsInto tells whether a symlink on DEFAULT leads into a volume or, after a kill, may.
func leadsInto(l *ledger.Ledger, link, volume string) bool {
	return strings.HasPrefix(link, "packages/") && l.Ours(link)("../../../vol/"+volume+"/"+link)
}

// stagedDirs are the directories of a plan's builds on the copy volume.
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

// linkedPaths are a plan's symlinks on DEFAULT, and those that it leaves alone.
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
