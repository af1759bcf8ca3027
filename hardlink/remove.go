package hardlink

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// remove removes what DiffRemove found: symlinks first, so that none dangles. A rename removes a build's
// directory in one step.
func (r *run) remove(ctx context.Context, a Actions) error {
	if err := r.removeStale(ctx, a.Stale); err != nil {
		return err
	}
	if len(a.Remove)+len(a.RemoveLinks) == 0 {
		return nil
	}
	counter := r.opts.Progress.Begin("remove", int64(len(a.Remove)+len(a.RemoveLinks)))
	defer counter.End()
	var gone ledger.Batch
	for _, l := range a.RemoveLinks {
		if err := ctx.Err(); err != nil {
			return err
		}
		// The directory stays even if it is empty: staging's hub may be about to use it.
		have, err := r.top.Readlink(l.Path)
		if err == nil && r.known.Ours(l.Path)(have) {
			if err = r.top.Remove(l.Path); err == nil {
				r.report.RemovedLinks++
			}
		} else if source.Absent(err) || errors.Is(err, unix.EINVAL) {
			err = nil
		}
		if err != nil && !ofOne(ctx, err) {
			return err
		}
		if err != nil {
			r.broken = append(r.broken, held("symlink", "", l.Path, err, notRemoved))
			counter.Add(1)
			continue
		}
		gone.Unlink(l.Path)
		if strings.HasPrefix(l.Path, "vol/") {
			r.prune(path.Dir(l.Path))
		}
		counter.Add(1)
	}
	var intent ledger.Batch
	stubs := 0
	for _, b := range a.Remove {
		intent.Build(b.Build)
		intent.Removing()
		if b.Stub != "" {
			intent.Link(b.Dir, b.Stub)
			stubs++
		}
	}
	if err := r.ledger.Append(&intent); err != nil {
		return err
	}
	gone.LinksMade(stubs)
	stays := func(b RemoveAction) {
		if b.Stub != "" {
			gone.Unlink(b.Dir)
		}
	}
	for _, b := range a.Remove {
		if err := ctx.Err(); err != nil {
			return err
		}
		if known := r.known.Builds[b.Dir]; known != nil {
			why, err := r.touched(b.Dir, known)
			if err != nil {
				r.broken = append(r.broken, held("build", b.Build.NVR(), b.Dir, err, notRemoved))
				stays(b)
				continue
			}
			if why != "" {
				r.report.Kept = append(r.report.Kept, Kept{Path: b.Dir, Why: why})
				stays(b)
				continue
			}
		}
		temp := r.tempName()
		var err error
		if b.Stub != "" {
			err = r.top.ReplaceDir(volumes.Link{Path: b.Dir, Target: b.Stub}, temp, r.tempName())
		} else {
			err = r.top.Rename(b.Dir, temp)
		}
		if err != nil && !source.Absent(err) {
			if !ofOne(ctx, err) {
				return err
			}
			r.broken = append(r.broken, held("build", b.Build.NVR(), b.Dir, err, notRemoved))
			stays(b)
			continue
		}
		if err != nil {
			stays(b)
		}
		if err == nil {
			r.discard(temp)
			r.report.Removed++
			r.report.RemovedFiles += b.Files
			r.report.RemovedBytes += b.Bytes
		}
		gone.Build(b.Build)
		gone.Gone()
		r.prune(path.Dir(b.Dir))
		counter.Add(1)
	}
	if err := r.top.Sync(); err != nil {
		return err
	}
	return r.ledger.Append(&gone)
}

// prune removes the directories N/V and N if they are empty now.
func (r *run) prune(dir string) {
	for path.Base(dir) != "packages" && dir != "." {
		if err := r.top.Rmdir(dir); err != nil {
			if !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
				r.opts.Log.Debug("an empty directory stays", "path", dir, "err", err)
			}
			return
		}
		dir = path.Dir(dir)
	}
}

// A removed copy may still be asked for by its path below the copy volume: by a compose that is pinned at an
// older event and reuses an old package set. So a symlink to production's files (a stub) replaces the copy:
// such a compose then copies instead of hard-linking, and does not fail. The stub goes once the database does
// not have the build as a complete one, so that no event lists it.

// stub returns the target of the symlink that replaces a removed copy, or "" if there is to be none. volume
// is the database's volume of the build.
func (e *Engine) stub(b volumes.Build, volume string) string {
	if e.opts.ReadOnly == "" || volume == "" || volume == volumes.DefaultVolume || volume == b.Volume {
		return ""
	}
	rel, err := b.Rel()
	if err != nil || volumes.CheckName("volume name", volume) != nil {
		return ""
	}
	return "../../../../" + volume + "/" + rel
}

// stubBuild returns the build of a stub.
func stubBuild(link string) (volumes.Build, bool) {
	below, _ := strings.CutPrefix(link, "vol/")
	volume, rel, ok := strings.Cut(below, "/")
	if !ok || below == link {
		return volumes.Build{}, false
	}
	b, ok := linkBuild(rel)
	b.Volume = volume
	return b, ok
}

// isStub reports whether a stub is in the place of a build's copy.
func (d *differ) isStub(dir string) bool {
	if len(d.ledger.Links[dir]) == 0 {
		return false
	}
	target, err := d.top.Readlink(dir)
	return err == nil && d.ledger.Ours(dir)(target)
}

// stubs returns how many stubs a ledger has.
func stubs(l *ledger.Ledger) (n int) {
	for link := range l.Links {
		if strings.HasPrefix(link, "vol/") {
			if _, ok := stubBuild(link); ok {
				n++
			}
		}
	}
	return n
}
