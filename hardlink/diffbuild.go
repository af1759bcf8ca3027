package hardlink

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/volumes"
)

// diffBuild compares one build.
func (e *Engine) diffBuild(ctx context.Context, a *Actions, plan volumes.Plan, s volumes.StagedBuild, ledger *Ledger) error {
	staged := s.Build
	staged.Volume = plan.CopyVolume
	dir, err := staged.Dir()
	if err != nil {
		return err
	}
	action := BuildAction{Build: s.Build, Behind: s.Behind, Dir: dir, New: true}
	leaveOut := func() {
		b := s.Build
		b.Volume = s.Behind
		a.LeftOut = append(a.LeftOut, b)
	}
	known := ledger.Builds[dir]
	st, err := e.top.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		known = nil
	case err != nil:
		return err
	case known == nil || st.Mode&unix.S_IFMT != unix.S_IFDIR:
		a.Kept = append(a.Kept, Kept{dir, "not made by kojisnap"})
		leaveOut()
		return nil
	default:
		action.New = false
	}
	if known == nil {
		known = &LedgerBuild{}
	}
	var there *volumes.Dir
	if !action.New {
		if there, err = e.top.OpenDir(dir); err != nil {
			return err
		}
		defer there.Close()
	}
	complete := true
	for i := range s.Files {
		f := &s.Files[i]
		replace := false
		if !action.New {
			have, err := e.compare(ctx, there, dir, f, known)
			if err != nil {
				return err
			}
			if have == filePresent {
				a.Present++
				continue
			}
			if have == fileForeign {
				a.Kept = append(a.Kept, Kept{dir + "/" + f.Path, "not as kojisnap left it"})
				continue
			}
			replace = have == fileReplace
		}
		fa, err := e.decide(s.Build, f)
		if absent(err) && f.Optional {
			a.Absent++
			continue
		}
		if absent(err) {
			a.Missing = append(a.Missing, &MissingError{s.Build.NVR(), f.Path, err})
			complete = false
			continue
		}
		if err != nil {
			return err
		}
		fa.Replace = replace
		action.Files = append(action.Files, fa)
	}
	if !complete {
		if !known.Complete {
			leaveOut()
		}
		return nil
	}
	if known.Complete && e.opts.Verify != VerifyDigest && len(action.Files) == 0 {
		return nil
	}
	if err := e.diffOthers(a, &action, s, plan.Prod); err != nil {
		return err
	}
	if len(action.Files) > 0 || action.New || !known.Complete {
		a.Builds = append(a.Builds, action)
	}
	return nil
}

type fileState int

const (
	fileAbsent  fileState = iota
	filePresent           // ours, as it should be
	fileReplace           // ours, and not what is wanted
	fileForeign           // not ours
)

// compare looks at a file that is to be there.
func (e *Engine) compare(ctx context.Context, there *volumes.Dir, dir string, f *volumes.File, known *LedgerBuild) (fileState, error) {
	st, err := there.Lstat(f.Path)
	if absent(err) {
		return fileAbsent, nil
	}
	if err != nil {
		return 0, err
	}
	entry, ours, err := e.recorded(dir, f.Path, st, known)
	if err != nil {
		return 0, err
	}
	if !ours {
		return fileForeign, nil
	}
	if entry.Target != "" {
		return fileReplace, nil // wanted now, and a symlink so far
	}
	if entry.Digest != f.Digest {
		return fileReplace, nil
	}
	if e.opts.Verify == VerifyDigest {
		err := e.reread(ctx, dir+"/"+f.Path, *f)
		if damaged := (*DigestError)(nil); errors.As(err, &damaged) {
			e.opts.Log.WarnContext(ctx, "a file is not what it was when it was copied", "path", damaged.Path, "err", err)
			return fileReplace, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return filePresent, nil
}

// recorded finds what the ledger has of a file that is there; ours if it is still
// that. After a kill there may be two records of a path: before and after.
func (e *Engine) recorded(dir, p string, st unix.Stat_t, known *LedgerBuild) (entry LedgerEntry, ours bool, err error) {
	target := ""
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if target, err = e.top.Readlink(dir + "/" + p); err != nil {
			return entry, false, err
		}
	}
	i, _ := slices.BinarySearchFunc(known.Entries, p, func(e LedgerEntry, p string) int { return strings.Compare(e.Path, p) })
	for ; i < len(known.Entries) && known.Entries[i].Path == p; i++ {
		if known.Entries[i].is(st, target) {
			return known.Entries[i], true, nil
		}
	}
	return entry, false, nil
}

// is tells whether what is on the disk is what was put there.
func (l LedgerEntry) is(st unix.Stat_t, target string) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return l.Target != "" && l.Target == target
	case unix.S_IFREG:
		return l.Target == "" && l.Size == st.Size && l.MTime == st.Mtim.Nano()
	}
	return false
}

// reread checks the digest of a file below topdir.
func (e *Engine) reread(ctx context.Context, rel string, f volumes.File) error {
	file, err := e.top.Open(rel)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = copyVerified(discard{}, e.limit.reader(ctx, file), f, file.Name())
	return err
}

// discard is io.Discard without its ReadFrom.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// decide predicts how a file will be made. An error that absent knows: it cannot be.
func (e *Engine) decide(b volumes.Build, f *volumes.File) (FileAction, error) {
	fa := FileAction{Path: f.Path, File: f}
	var err error
	fa.Bytes, err = e.stat(b, f.Path)
	switch {
	case err == nil && fa.Bytes < 0:
		fa.Op, fa.Bytes = OpFetch, f.Size
		return fa, nil
	case err == nil:
		fa.Op = OpCopy
		if e.sameMount {
			fa.Op = OpLink
		}
		return fa, nil
	case !absent(err) || f.Key == "":
		return fa, err
	}
	if _, err := e.stat(b, f.Sig); err != nil {
		return fa, err
	}
	fa.Op = OpSplice
	fa.Bytes, err = e.stat(b, f.Unsigned)
	return fa, err
}
