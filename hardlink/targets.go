package hardlink

import (
	"context"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

// Symlinks in staged builds have absolute targets, as staging's hub sees topdir. Koji hard-links such a
// symlink into a dist repo (distRepoMove calls link(2), which does not follow it) and moves it along with its
// build (promote_build, change_build_volume): a relative target would be wrong there. Earlier versions made
// relative ones; the ledger's T line says that none are left.

// hubTopdir checks the hub's path of topdir. Without one it returns this process's path.
func hubTopdir(o Options) (string, error) {
	hub := o.HubTopdir
	if hub == "" {
		return filepath.Abs(o.Topdir)
	}
	return hub, volumes.CheckHubTopdir(hub)
}

// target returns the target of the symlink for a file of a build, on a volume of staging's.
func (e *Engine) target(volume string, b volumes.Build, file string) string {
	rel, _ := b.Rel() // was checked
	return e.hub + "/vol/" + volume + "/" + rel + "/" + file
}

// retarget parses the target of a symlink to a file of a build, as this or an earlier version makes them, for
// any path of topdir. It returns the volume that the target leads through, and the target that the symlink
// should have now.
func (e *Engine) retarget(b volumes.Build, file, target string) (volume, now string, ok bool) {
	rel, err := b.Rel()
	if err != nil {
		return "", "", false
	}
	before, ok := strings.CutSuffix(target, "/"+rel+"/"+file)
	if !ok {
		return "", "", false
	}
	up, volume := path.Split(before)
	relative := up == strings.Repeat("../", 5+strings.Count(file, "/"))
	if !relative && !(path.IsAbs(up) && path.Base(up) == "vol") {
		return "", "", false
	}
	return volume, e.target(volume, b, file), true
}

// leadsTo reports whether a symlink in a staged build is of the kind that kojisnap makes, and returns the
// target that it should have now.
func (d *differ) leadsTo(s volumes.StagedBuild, file, target string) (now string, ok bool) {
	volume, now, ok := d.retarget(s.Build, file, target)
	return now, ok && (volume == s.SourceVolume || volume == d.plan.Prod)
}

// retargets changes symlinks in the ledger whose targets do not begin with the hub's path of topdir.
// Afterwards the ledger says so, and the next run skips this. A symlink that staging changed stays.
func (d *differ) retargets(ctx context.Context, a *Actions) error {
	if d.ledger.Hub == d.hub {
		return nil
	}
	actions := map[string]int{} // by directory, of builds that have an action already
	for i, b := range a.Builds {
		actions[b.Dir] = i
	}
	dirs := slices.Sorted(maps.Keys(d.ledger.Builds))
	found := make([]BuildAction, len(dirs))
	err := d.parallel(ctx, len(dirs), func(_ context.Context, i int) error {
		return d.retargetBuild(&found[i], dirs[i], d.ledger.Builds[dirs[i]])
	})
	if err != nil {
		return err
	}
	for i, dir := range dirs {
		switch at, has := actions[dir]; {
		case len(found[i].Files)+len(found[i].entries) == 0, has && a.Builds[at].New:
		case has:
			a.Builds[at].merge(found[i])
			a.retargeted = true
		default:
			found[i].Build, found[i].Dir = d.ledger.Builds[dir].Build, dir
			a.Builds = append(a.Builds, found[i])
			a.retargeted = true
		}
	}
	switch {
	case !a.retargeted:
		a.notes.Hub(d.hub)
	case d.ledger.Hub != "": // a kill may leave symlinks with either path
		a.notes.Hub("")
	}
	return nil
}

// merge adds symlinks that the action does not make already.
func (b *BuildAction) merge(more BuildAction) {
	made := map[string]bool{}
	for _, f := range b.Files {
		made[f.Path] = true
	}
	b.Files = append(b.Files, slices.DeleteFunc(more.Files, func(f FileAction) bool { return made[f.Path] })...)
	slices.SortFunc(b.Files, func(x, y FileAction) int { return strings.Compare(x.Path, y.Path) })
	b.entries = append(b.entries, slices.DeleteFunc(more.entries, func(e ledger.Entry) bool { return made[e.Path] })...)
}

// retargetBuild finds the symlinks of one build. After a kill the ledger may have several entries for one
// symlink, and the last need not be the one on the disk.
func (d *differ) retargetBuild(a *BuildAction, dir string, b *ledger.Build) error {
	for from := 0; from < len(b.Entries); {
		e := b.Entries[from]
		to := from + 1
		for to < len(b.Entries) && b.Entries[to].Path == e.Path {
			to++
		}
		of := b.Entries[from:to]
		from = to
		last := of[len(of)-1].Target
		_, now, ok := d.retarget(b.Build, e.Path, last)
		if last == "" || !ok || now == last && len(of) == 1 {
			continue
		}
		have, err := d.top.Readlink(dir + "/" + e.Path)
		ours := err == nil && slices.ContainsFunc(of, func(e ledger.Entry) bool { return e.Target == have })
		switch {
		case ours && have != now:
			a.Files = append(a.Files, FileAction{Op: OpSymlink, Path: e.Path, Target: now, Replace: true})
		case ours && have != last:
			a.entries = append(a.entries, ledger.Entry{Path: e.Path, Target: now})
		}
	}
	return nil
}
