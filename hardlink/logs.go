package hardlink

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// logsDir of a staged build is one symlink to production's directory. Koji's getBuildLogs walks it with
// os.walk, which follows the directory where it begins, but skips each symlink below. Earlier versions made
// one symlink for each log; a copy converts those.
const logsDir = "data/logs"

// logs converts builds whose logs are single symlinks. It leaves a directory with anything else in it as it
// is.
func (d *differ) logs(ctx context.Context, a *Actions) error {
	if d.opts.ReadOnly == "" {
		return nil
	}
	actions := map[string]int{} // by directory, of builds that have an action already
	for i, b := range a.Builds {
		actions[b.Dir] = i
	}
	single := a.logs
	for dir, b := range d.ledger.Builds {
		switch seen := single[dir]; {
		case seen != nil:
			seen.Entries = append(seen.Entries, b.Entries...)
		case len(b.Below(logsDir)) > 0:
			single[dir] = b
		}
	}
	for _, b := range single {
		if !slices.IsSortedFunc(b.Entries, ledger.ByPath) {
			slices.SortStableFunc(b.Entries, ledger.ByPath)
		}
	}
	dirs := slices.DeleteFunc(slices.Sorted(maps.Keys(single)), func(dir string) bool {
		i, has := actions[dir]
		return has && a.Builds[i].New
	})
	found, errs := make([]logsFound, len(dirs)), make([]error, len(dirs))
	err := d.parallel(ctx, len(dirs), func(ctx context.Context, i int) error {
		found[i], errs[i] = d.logsOf(dirs[i], single[dirs[i]])
		if errs[i] != nil && !ofOne(ctx, errs[i]) {
			return errs[i]
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, dir := range dirs {
		b := single[dir]
		switch f := found[i]; {
		case errs[i] != nil:
			a.hold(held("directory", b.Build.NVR(), logsDir, errs[i], asIs))
		case f.kept != "":
			a.Kept = append(a.Kept, Kept{Path: dir + "/" + logsDir, Why: f.kept})
		case f.done:
			staged := b.Build
			staged.Volume = d.plan.CopyVolume
			a.notes.Build(staged)
			a.notes.DirLinked(logsDir)
		case f.target != "":
			at, has := actions[dir]
			if !has {
				at = len(a.Builds)
				a.Builds = append(a.Builds, BuildAction{Build: b.Build, Dir: dir})
			}
			a.Builds[at].linkLogs(f.target, b)
		}
	}
	return nil
}

// seenLogs notes symlinks of ours among a build's logs that an audit found and that the ledger lacks.
func (a *Actions) seenLogs(dir string, b volumes.Build, e ledger.Entry) {
	if !strings.HasPrefix(e.Path, logsDir+"/") {
		return
	}
	if a.logs == nil {
		a.logs = map[string]*ledger.Build{}
	}
	if a.logs[dir] == nil {
		a.logs[dir] = &ledger.Build{Build: b}
	}
	a.logs[dir].Entries = append(a.logs[dir].Entries, e)
}

// logsFound says what to do with a build's logs; the zero value: nothing yet.
type logsFound struct {
	target string // of the symlink that replaces them
	done   bool   // the symlink is there, and the ledger does not have it: a run was killed
	kept   string // why they stay as they are
}

func (d *differ) logsOf(dir string, b *ledger.Build) (f logsFound, err error) {
	here := dir + "/" + logsDir
	st, err := d.top.Lstat(here)
	if source.Absent(err) {
		return f, nil // an audit makes it again
	}
	if err != nil {
		return f, err
	}
	if _, ours, err := d.recorded(dir, logsDir, st, b); ours || err != nil {
		return logsFound{done: ours}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return logsFound{kept: "staging's own"}, nil
	}
	if f.kept, err = d.logsTouched(dir, b); f.kept != "" || err != nil {
		return f, err
	}
	for _, e := range b.Below(logsDir) {
		volume, _, ok := d.retarget(b.Build, e.Path, e.Target)
		if !ok {
			continue
		}
		target := d.target(volume, b.Build, logsDir)
		rel, _ := b.Build.Rel() // was checked
		if info, err := os.Stat(d.top.Join("vol/" + volume + "/" + rel + "/" + logsDir)); err == nil && info.IsDir() {
			return logsFound{target: target}, nil
		}
	}
	return f, nil // production's logs are not here, so a symlink would have no target
}

// logsTouched says why a directory of logs must stay. It returns "" if everything in it is a symlink that
// kojisnap left there.
func (e *Engine) logsTouched(dir string, b *ledger.Build) (why string, err error) {
	err = e.walk(dir, logsDir, func(p string) error {
		st, err := e.top.Lstat(dir + "/" + p)
		if err != nil || why != "" {
			return err
		}
		_, ours, err := e.recorded(dir, p, st, b)
		if err == nil && (!ours || st.Mode&unix.S_IFMT != unix.S_IFLNK) {
			why = fmt.Sprintf("%q in it is staging's own, or was changed: the logs stay symlinks one by one, which getBuildLogs does not list", p)
		}
		return err
	})
	return why, err
}

// linkLogs adds one symlink to the action that replaces the single symlinks of known.
func (b *BuildAction) linkLogs(target string, known *ledger.Build) {
	b.single = known
	below := func(p string) bool { return strings.HasPrefix(p, logsDir+"/") }
	b.Files = slices.DeleteFunc(b.Files, func(f FileAction) bool { return below(f.Path) })
	b.entries = slices.DeleteFunc(b.entries, func(e ledger.Entry) bool { return below(e.Path) })
	b.Files = append(b.Files, FileAction{Op: OpSymlink, Path: logsDir, Target: target, Replace: true, Dir: true})
	slices.SortFunc(b.Files, func(x, y FileAction) int { return strings.Compare(x.Path, y.Path) })
}

// publishLogs replaces the logs' directory by a symlink, unless something of staging's is in it.
func (r *run) publishLogs(m *making, f FileAction) (done bool, err error) {
	why, err := r.logsTouched(m.Dir, m.single)
	if err != nil {
		return false, err
	}
	if why != "" {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.report.Kept = append(r.report.Kept, Kept{Path: m.Dir + "/" + f.Path, Why: why})
		return false, nil
	}
	return true, r.top.ReplaceDir(volumes.Link{Path: m.Dir + "/" + f.Path, Target: f.Target}, r.tempName(), r.tempName())
}
