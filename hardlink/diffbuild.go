package hardlink

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// build compares a build with the ledger. If the ledger lacks some of it, and in an audit, it looks at the
// disk, too.
func (d *differ) build(ctx context.Context, a *Actions, s volumes.StagedBuild) error {
	staged := s.Build
	staged.Volume = d.plan.CopyVolume
	dir, err := staged.Dir()
	if err != nil {
		return err
	}
	known := d.ledger.Builds[dir]
	if known != nil && known.Unwanted != 0 {
		a.notes.Build(staged)
		a.notes.Wanted()
	}
	if !d.audit && !d.needsRecheck[dir] && known != nil && known.Complete && !known.Pending {
		if present, absent, ok := known.Has(s.Files); ok && !(d.opts.Whole && d.hasSymlinks(s.Build, known)) {
			a.Present += present
			a.Absent += absent
			return nil
		}
	}
	return d.onDisk(ctx, a, s, dir, known)
}

// onDisk compares a build with the disk. It sets New if the build has no directory.
func (d *differ) onDisk(ctx context.Context, a *Actions, s volumes.StagedBuild, dir string, known *ledger.Build) error {
	from, err := s.Build.Dir()
	if err != nil {
		return err
	}
	b := &buildDiff{
		differ: d, actions: a, build: s, dir: dir, known: known, complete: true, listed: &listing{differ: d, build: s},
		action: BuildAction{Build: s.Build, SourceVolume: s.SourceVolume, Source: from, Dir: dir, New: true},
	}
	if stays, err := b.classify(); stays || err != nil {
		return err
	}
	if d.tree.IsAway(s.Build) {
		d.leaveAway(a, s, b.known, b.leaveOut)
		return nil
	}
	if err := b.compareFiles(ctx); err != nil {
		return err
	}
	return b.settle()
}

// note adds entries of a build to the ledger.
func (d *differ) note(a *Actions, b volumes.Build, entries []ledger.Entry, complete bool) {
	if len(entries) == 0 {
		return
	}
	b.Volume = d.plan.CopyVolume
	a.notes.Build(b)
	for _, e := range entries {
		a.notes.Entry(e)
	}
	if complete {
		a.notes.Complete()
	}
}

type fileState int

const (
	fileAbsent  fileState = iota
	filePresent           // ours, as planned
	fileReplace           // ours, not as planned
	fileAdopted           // not in the ledger, as planned
	fileForeign           // made by others
	fileDamaged           // ours, changed since kojisnap made it
)

// compare compares a planned file with the disk. In an audit it reads a file that differs from its ledger
// entry, or has none, and goes by the digest; entry is what the ledger should have. With fileDamaged the
// error is a *content.DigestError.
func (d *differ) compare(ctx context.Context, there *topdir.Subdir, s volumes.StagedBuild, dir string, f *volumes.File, known *ledger.Build) (have fileState, entry ledger.Entry, err error) {
	rel := dir + "/" + f.Path
	st, err := there.Lstat(f.Path)
	if source.Absent(err) {
		return fileAbsent, entry, nil
	}
	if err != nil {
		return 0, entry, err
	}
	entry, ours, err := d.recorded(dir, f.Path, st, known)
	if err != nil {
		return 0, entry, err
	}
	looks := d.audit || d.needsRecheck[rel]
	switch {
	case ours && (entry.Target != "" || !entry.MadeOf(f)):
		return fileReplace, entry, nil // it was a symlink, or another file
	case ours && d.opts.Verify != VerifyDigest && !d.needsRecheck[rel]:
		return filePresent, entry, nil
	case !ours && looks && st.Mode&unix.S_IFMT == unix.S_IFLNK:
		target, err := d.top.Readlink(rel)
		if err != nil {
			return 0, entry, err
		}
		if _, ok := d.leadsTo(s, f.Path, target); ok {
			return fileReplace, entry, nil
		}
		return fileForeign, entry, nil
	case f.Kind == volumes.KindOther && !ours && looks && st.Mode&unix.S_IFMT == unix.S_IFREG:
		if !hasStat(st, f) {
			return fileForeign, entry, nil
		}
		return fileAdopted, ledger.Entry{Path: f.Path, Size: st.Size, MTime: st.Mtim.Nano(), Digest: ledger.Content(f)}, nil
	case f.Kind == volumes.KindOther && ours:
		return filePresent, entry, nil
	case !ours && (!looks || st.Mode&unix.S_IFMT != unix.S_IFREG):
		return fileForeign, entry, nil
	}
	err = d.reread(ctx, rel, *f)
	switch {
	case errors.As(err, new(*content.DigestError)) && (ours || known.Wrote(f)):
		if !ours { // somebody put another rpm in the place of ours
			if other, readErr := d.isOtherRPM(ctx, rel, f); other || readErr != nil {
				return fileForeign, entry, readErr
			}
		}
		return fileDamaged, entry, err
	case errors.As(err, new(*content.DigestError)):
		return fileForeign, entry, nil
	case err != nil:
		return 0, entry, err
	case ours:
		return filePresent, entry, nil
	}
	return fileAdopted, ledger.Entry{Path: f.Path, Size: st.Size, MTime: st.Mtim.Nano(), Digest: ledger.Content(f)}, nil
}

// recorded finds the ledger's entry of a file on the disk; ours says that the file is still as the entry has
// it. After a kill a path may have two entries: of the file before and after.
func (e *Engine) recorded(dir, p string, st unix.Stat_t, known *ledger.Build) (entry ledger.Entry, ours bool, err error) {
	target := ""
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if target, err = e.top.Readlink(dir + "/" + p); err != nil {
			return entry, false, err
		}
	}
	i, _ := slices.BinarySearchFunc(known.Entries, p, func(e ledger.Entry, p string) int { return strings.Compare(e.Path, p) })
	for ; i < len(known.Entries) && known.Entries[i].Path == p; i++ {
		if known.Entries[i].Is(st, target) {
			return known.Entries[i], true, nil
		}
	}
	return entry, false, nil
}

// decide chooses the way to make a file. It returns an error that absent recognizes if no source has the
// file.
func (d *differ) decide(b volumes.Build, f *volumes.File, listed *listing) (FileAction, error) {
	fa := FileAction{Path: f.Path, File: f, Bytes: f.Size}
	var err error
	if f.Size < 0 || !listed.has(f.Path) {
		fa.Bytes, err = d.sources.Stat(b, f.Path)
	}
	switch {
	case err == nil && fa.Bytes < 0:
		fa.Op, fa.Bytes = OpFetch, f.Size
		return fa, nil
	case err == nil:
		fa.Op = OpCopy
		if d.sameMount && d.tree.Fits() {
			fa.Op = OpLink
		}
		return fa, nil
	case !source.Absent(err) || f.Key == "" || f.AsIs:
		return fa, err
	}
	if _, err := d.sources.Stat(b, f.Sig); err != nil {
		return fa, err
	}
	fa.Op = OpSplice
	fa.Bytes, err = d.sources.Stat(b, f.Unsigned)
	return fa, err
}
