package hardlink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// symlinks adds symlinks for what production has in the build besides the planned files. In an audit it also
// returns those that exist and are not in the ledger, and reports what else is there.
func (d *differ) symlinks(a *Actions, action *BuildAction, s volumes.StagedBuild, listed *listing, known *ledger.Build) (adopted []ledger.Entry, err error) {
	planned := map[string]bool{}
	for _, f := range s.Files {
		planned[f.Path] = true
	}
	if d.audit && !action.New {
		if adopted, err = d.strays(a, action, s, planned, known); err != nil {
			return nil, err
		}
	}
	if d.opts.ReadOnly == "" || d.opts.Whole {
		return adopted, nil
	}
	listed.read()
	for _, u := range listed.unlisted {
		a.hold(held("directory", s.Build.NVR(), u.Path, u.Err, noSymlinks))
		action.again = true
	}
	dirs := above(s.Files)
	for _, p := range listed.paths {
		if planned[p] || dirs[p] {
			continue
		}
		if err := volumes.CheckPath("file name", p); err != nil {
			a.hold(held("file", s.Build.NVR(), printable(p), err, noSymlink))
			action.again = true
			continue
		}
		fa := FileAction{Op: OpSymlink, Path: p, Target: d.target(listed.volume, s.Build, p)}
		if len(fa.Target) >= unix.PathMax {
			a.hold(held("file", s.Build.NVR(), p, errors.New("a symlink to it would say more than a path can have"), noSymlink))
			action.again = true
			continue
		}
		if !action.New && !action.replaces(p) {
			if _, err := d.top.Lstat(action.Dir + "/" + p); err == nil {
				continue // it is ours, or staging has changed it
			} else if !source.Absent(err) {
				return nil, err
			}
		}
		action.Files = append(action.Files, fa)
	}
	slices.SortFunc(action.Files, func(x, y FileAction) int { return strings.Compare(x.Path, y.Path) })
	return adopted, nil
}

// linkedDirs returns the directories of wanted files that are symlinks of ours, because production has a
// symlink to a directory there. They become real directories.
func (d *differ) linkedDirs(dir string, files []volumes.File, known *ledger.Build) (dirs []string, err error) {
	for _, e := range known.Entries {
		if e.Target == "" || !slices.ContainsFunc(files, func(f volumes.File) bool { return strings.HasPrefix(f.Path, e.Path+"/") }) {
			continue
		}
		st, err := d.top.Lstat(dir + "/" + e.Path)
		if source.Absent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, ours, err := d.recorded(dir, e.Path, st, known); err != nil {
			return nil, err
		} else if ours && st.Mode&unix.S_IFMT == unix.S_IFLNK && !slices.Contains(dirs, e.Path) {
			dirs = append(dirs, e.Path)
		}
	}
	return dirs, nil
}

// strays looks at what is in a build's directory and not in the plan. It adds symlinks of kojisnap's kind to
// the ledger, retargets those of earlier versions, and reports all else that the ledger lacks.
func (d *differ) strays(a *Actions, action *BuildAction, s volumes.StagedBuild, planned map[string]bool, known *ledger.Build) (adopted []ledger.Entry, err error) {
	dir := action.Dir
	err = d.walk(dir, "", func(p string) error {
		if planned[p] {
			return nil
		}
		st, err := d.top.Lstat(dir + "/" + p)
		if err != nil {
			return err
		}
		_, ours, err := d.recorded(dir, p, st, known)
		if ours || err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			target, err := d.top.Readlink(dir + "/" + p)
			if err != nil {
				return err
			}
			now, ok := d.leadsTo(s, p, target)
			if ok {
				a.seenLogs(dir, s.Build, ledger.Entry{Path: p, Target: target})
			}
			switch {
			case ok && now == target:
				adopted = append(adopted, ledger.Entry{Path: p, Target: target})
				return nil
			case ok:
				action.Files = append(action.Files, FileAction{Op: OpSymlink, Path: p, Target: now, Replace: true})
				return nil
			}
		}
		a.Kept = append(a.Kept, Kept{Path: printable(dir + "/" + p), Why: "not made by kojisnap, or changed"})
		return nil
	})
	return adopted, err
}

// walk calls f for everything below a directory that is not a directory. A directory that does not exist is
// no error.
func (e *Engine) walk(dir, sub string, f func(p string) error) error {
	list, err := e.top.ReadDir(path.Join(dir, sub))
	if source.Absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range list {
		p := path.Join(sub, d.Name())
		if d.IsDir() {
			err = e.walk(dir, p, f)
		} else {
			err = f(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printable quotes a path that a line cannot hold.
func printable(p string) string {
	if volumes.CheckPath("path", p) != nil {
		return fmt.Sprintf("%q", p)
	}
	return p
}

// others audits what is below topdir and not in the plan: it removes entries from the ledger that are not on
// the disk, and reports what the ledger lacks.
func (d *differ) others(ctx context.Context, a *Actions) error {
	planned, err := stagedDirs(d.plan)
	if err != nil {
		return err
	}
	for _, dir := range slices.Sorted(maps.Keys(d.ledger.Builds)) {
		if planned[dir] {
			continue
		}
		planned[dir] = true
		b := d.ledger.Builds[dir]
		if _, err := d.top.Lstat(dir); source.Absent(err) {
			a.notes.Build(b.Build)
			a.notes.Gone()
			continue
		}
		why, err := d.touched(dir, b)
		if err != nil {
			a.hold(held("build", b.Build.NVR(), dir, err, asIs))
			continue
		}
		if why != "" {
			a.Kept = append(a.Kept, Kept{Path: dir, Why: why})
		}
	}
	linked, err := linkedPaths(d.plan)
	if err != nil {
		return err
	}
	for _, link := range slices.Sorted(maps.Keys(d.ledger.Links)) {
		if linked[link] || strings.HasPrefix(link, "vol/") {
			continue
		}
		have, err := d.top.Readlink(link)
		switch {
		case source.Absent(err):
			a.notes.Unlink(link)
		case err != nil && !errors.Is(err, unix.EINVAL):
			a.hold(held("symlink", "", link, err, asIs))
		case err != nil || !d.ledger.Ours(link)(have):
			a.Kept = append(a.Kept, Kept{Path: link, Why: "staging's own"})
		}
	}
	if d.opts.Shard != "" { // the copy volume has the builds of all shards
		return nil
	}
	return d.strayBuilds(ctx, a, planned)
}

// strayBuilds reports builds' directories on the copy volume that neither the plan nor the ledger has.
func (d *differ) strayBuilds(ctx context.Context, a *Actions, known map[string]bool) error {
	root, err := volumes.VolumeDir(d.plan.CopyVolume)
	if err != nil {
		return err
	}
	dirs := []string{root + "/packages"}
	for range 3 { // name, version, release
		var below []string
		for _, dir := range dirs {
			if err := ctx.Err(); err != nil {
				return err
			}
			list, err := d.top.ReadDir(dir)
			if err != nil && !source.Absent(err) {
				a.hold(held("directory", "", dir, err, asIs))
			}
			for _, e := range list {
				p := dir + "/" + e.Name()
				if e.IsDir() {
					below = append(below, p)
				} else if !d.isStub(p) {
					a.Kept = append(a.Kept, Kept{Path: printable(p), Why: "not made by kojisnap"})
				}
			}
		}
		dirs = below
	}
	for _, dir := range dirs {
		if !known[dir] && (d.opts.Elsewhere == nil || !d.opts.Elsewhere(dir)) {
			a.Kept = append(a.Kept, Kept{Path: printable(dir), Why: "a build that neither the snapshot's tags nor the ledger have"})
		}
	}
	return nil
}
