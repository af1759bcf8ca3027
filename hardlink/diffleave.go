package hardlink

import (
	"maps"
	"slices"
	"strings"

	"kojisnap/volumes"
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
		a.notes.build(b.Build)
		a.notes.unwanted(now)
		a.Leaving = append(a.Leaving, b.Build)
	}
	links, err := linkedPaths(d.plan)
	if err != nil {
		return err
	}
	d.redirect(a, d.plan, d.ledger, links)
	return nil
}

// redirect leads our symlinks on DEFAULT of builds that the plan does not have from the
// copy volume to production's, where production's own symlinks lead on. Without a read-only
// volume there is nothing to lead to.
func (e *Engine) redirect(a *Actions, plan volumes.Plan, ledger *Ledger, planned map[string]bool) {
	if e.opts.ReadOnly == "" {
		return
	}
	for _, link := range slices.Sorted(maps.Keys(ledger.Links)) {
		if !planned[link] && leadsInto(ledger, link, plan.CopyVolume) {
			a.Links = append(a.Links, LinkAction{volumes.Link{Path: link, Target: "../../../vol/" + plan.Prod + "/" + link}, true})
		}
	}
}

// leadsInto tells whether the last that a symlink on DEFAULT was made to say leads into
// a volume.
func leadsInto(l *Ledger, link, volume string) bool {
	said := l.Links[link]
	return strings.HasPrefix(link, "packages/") && len(said) > 0 && said[len(said)-1] == "../../../vol/"+volume+"/"+link
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

// linkedPaths are a plan's symlinks on DEFAULT.
func linkedPaths(plan volumes.Plan) (map[string]bool, error) {
	paths := make(map[string]bool, len(plan.Linked))
	for _, b := range plan.Linked {
		path, err := b.Rel()
		if err != nil {
			return nil, err
		}
		paths[path] = true
	}
	return paths, nil
}
