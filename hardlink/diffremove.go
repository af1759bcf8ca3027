package hardlink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

// DiffRemove computes what can be removed: builds on the copy volume that no plan has wanted for
// Options.KeepFor, and symlinks of kojisnap's for builds that the database no longer has. It removes nothing
// of a build in which staging changed or added a file. Of a wanted build it removes the files that production
// has deleted, see StaleFile.
func (e *Engine) DiffRemove(ctx context.Context, plan volumes.Plan) (Actions, error) {
	if err := e.tree.Check(plan); err != nil { // production must have what is removed here
		return Actions{}, err
	}
	ledger, err := e.prefetch.Read(e.top.Path())
	if err != nil {
		return Actions{}, err
	}
	a := Actions{CopyVolume: plan.CopyVolume, removal: true}
	wanted, err := stagedDirs(plan)
	if err != nil {
		return Actions{}, err
	}
	planned, err := linkedPaths(plan)
	if err != nil {
		return Actions{}, err
	}
	rows, err := e.rows(ctx, ledger, wanted, planned)
	if err != nil {
		return Actions{}, err
	}
	unmounted := e.tree.UnmountedVolumes(plan)
	away := map[string]bool{}
	for _, b := range plan.Linked {
		away[b.NVR()] = unmounted[b.Volume]
	}
	now := e.opts.Now()
	for _, dir := range slices.Sorted(maps.Keys(ledger.Builds)) {
		if err := ctx.Err(); err != nil {
			return Actions{}, err
		}
		if wanted[dir] {
			continue
		}
		b := ledger.Builds[dir]
		since := time.Unix(b.Unwanted, 0)
		if b.Unwanted == 0 || since.After(now) {
			since = now
			a.notes.Build(b.Build)
			a.notes.Unwanted(now.Unix())
			a.Leaving = append(a.Leaving, b.Build)
		}
		if until := since.Add(e.opts.KeepFor); until.After(now) {
			a.Grace = append(a.Grace, GraceBuild{b.Build, dir, since, until})
			continue
		}
		if rows[b.Build.NVR()] == b.Build.Volume {
			a.Kept = append(a.Kept, Kept{Path: dir, Why: "staging's database has the build there"})
			continue
		}
		if away[b.Build.NVR()] || unmounted[rows[b.Build.NVR()]] {
			a.Kept = append(a.Kept, Kept{Path: dir, Why: "production's volume with the build is not mounted here"})
			continue
		}
		if target, err := e.top.Readlink(dir); err == nil && ledger.Ours(dir)(target) {
			a.notes.Build(b.Build) // a run was killed after it put the symlink there
			a.notes.Gone()
			continue
		}
		why, err := e.touched(dir, b)
		if err != nil {
			a.hold(held("build", b.Build.NVR(), dir, err, notRemoved))
			continue
		}
		if why != "" {
			a.Kept = append(a.Kept, Kept{Path: dir, Why: why})
			continue
		}
		r := RemoveAction{Build: b.Build, Dir: dir, Stub: e.stub(b.Build, rows[b.Build.NVR()])}
		for _, entry := range b.Entries {
			if !entry.Absent {
				r.Files++
				r.Bytes += entry.Size
			}
		}
		a.Remove = append(a.Remove, r)
	}
	if err := e.diffStale(ctx, &a, plan, ledger); err != nil {
		return Actions{}, err
	}
	return a, e.diffLinksRemove(&a, plan, ledger, planned, rows)
}

// diffLinksRemove finds symlinks on DEFAULT that nothing needs. Symlinks of volumes stay while links of
// staging's own builds may lead through them.
func (e *Engine) diffLinksRemove(a *Actions, plan volumes.Plan, ledger *ledger.Ledger, planned map[string]bool, rows map[string]string) error {
	going := map[string]bool{}
	for _, r := range a.Remove {
		if link, err := r.Build.Rel(); err == nil {
			going[link] = true
		}
	}
	if e.opts.Rows != nil {
		on := map[string]bool{}
		for _, volume := range rows {
			on[volume] = true
		}
		for _, name := range e.leadNowhere(plan, ledger) {
			l := volumes.Link{Path: "vol/" + name + "/packages", Target: ledger.Links["vol/"+name+"/packages"][0]}
			if on[name] {
				e.opts.Log.Warn("a volume on which staging's database has builds leads nowhere: production has no such volume any longer", "path", e.top.Join(l.Path), "target", l.Target)
				continue
			}
			e.opts.Log.Warn("a volume that production does not have any longer, and on which no build is, leads nowhere: its symlink is removed", "path", e.top.Join(l.Path), "target", l.Target)
			a.RemoveLinks = append(a.RemoveLinks, l)
		}
	}
	settled := maps.Clone(planned)
	for _, link := range slices.Sorted(maps.Keys(ledger.Links)) {
		b, ok := linkBuild(link)
		if _, stub := stubBuild(link); stub {
			b, _ = stubBuild(link)
			if e.opts.Rows != nil && rows[b.NVR()] == "" {
				a.RemoveLinks = append(a.RemoveLinks, volumes.Link{Path: link, Target: ledger.Links[link][0]})
			}
			continue
		}
		if planned[link] || !ok {
			continue
		}
		named := rows[b.NVR()] != ""
		dangling := e.opts.ReadOnly == "" && going[link] && leadsInto(ledger, link, plan.CopyVolume)
		if e.opts.Rows != nil && !named || dangling {
			said := ledger.Links[link]
			a.RemoveLinks = append(a.RemoveLinks, volumes.Link{Path: link, Target: said[len(said)-1]})
			settled[link] = true
		}
	}
	return e.redirect(a, plan, ledger, settled, rows)
}

// rows asks the database about builds that may be removed, and about the builds of symlinks that may.
func (e *Engine) rows(ctx context.Context, ledger *ledger.Ledger, wanted, planned map[string]bool) (map[string]string, error) {
	if e.opts.Rows == nil {
		return nil, nil
	}
	var builds []volumes.Build
	for _, dir := range slices.Sorted(maps.Keys(ledger.Builds)) {
		if !wanted[dir] {
			builds = append(builds, ledger.Builds[dir].Build)
		}
	}
	for _, link := range slices.Sorted(maps.Keys(ledger.Links)) {
		if b, ok := linkBuild(link); ok && !planned[link] {
			builds = append(builds, b)
		} else if b, ok := stubBuild(link); ok {
			builds = append(builds, b)
		}
	}
	if len(builds) == 0 {
		return nil, nil
	}
	return e.opts.Rows(ctx, builds)
}

// linkBuild returns the build that a symlink on DEFAULT is for.
func linkBuild(link string) (b volumes.Build, ok bool) {
	parts := strings.Split(link, "/")
	if len(parts) != 4 || parts[0] != "packages" {
		return b, false
	}
	return volumes.Build{Name: parts[1], Version: parts[2], Release: parts[3]}, true
}

// touched says why a build that the ledger has must stay. It returns "" if everything in it is as kojisnap
// left it, or gone.
func (e *Engine) touched(dir string, b *ledger.Build) (why string, err error) {
	err = e.walk(dir, "", func(p string) error {
		st, err := e.top.Lstat(dir + "/" + p)
		if err != nil || why != "" {
			return err
		}
		_, ours, err := e.recorded(dir, p, st, b)
		if err == nil && !ours {
			why = fmt.Sprintf("%q in it is staging's own, or was changed", p)
		}
		return err
	})
	return why, err
}
