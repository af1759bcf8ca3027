package hardlink

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// buildDiff compares one build with the disk, in three steps: classify, compareFiles, settle.
type buildDiff struct {
	*differ
	actions *Actions
	build   volumes.StagedBuild
	dir     string
	known   *ledger.Build // the ledger's entries of what is there
	listed  *listing
	action  BuildAction

	ours     bool            // kojisnap made what is there, or has adopted it
	complete bool            // all files are there, or can be made
	foreign  int             // files of others in the place of ours: they stay
	links    []source.Listed // with Options.Whole, production's symlinks in the build
	adopted  []ledger.Entry  // files that are as planned, and were not in the ledger
}

// classify finds out what is at the build's path: nothing, a stub, a directory of kojisnap's, or something
// that stays.
func (b *buildDiff) classify() (stays bool, err error) {
	st, err := b.top.Lstat(b.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && b.going[b.dir]:
		if b.known != nil { // even if the build cannot be made again
			b.forget()
			if own, err := b.movedAway(b.build.Build); own || err != nil {
				b.keep("staging moved the build to DEFAULT, it seems", false)
				return true, err
			}
		}
	case err != nil:
		return false, err
	case st.Mode&unix.S_IFMT == unix.S_IFLNK && b.isStub(b.dir):
		if b.known != nil {
			b.forget()
		}
		b.action.Stub = true
	case b.known == nil && !b.audit || st.Mode&unix.S_IFMT != unix.S_IFDIR:
		b.keep("not made by kojisnap", true)
		b.leaveOut()
		return true, nil
	default:
		b.action.New = false
	}
	return false, nil
}

// forget removes a build from the ledger that is not on the disk.
func (b *buildDiff) forget() {
	b.actions.notes.Build(b.known.Build)
	b.actions.notes.Gone()
	b.known = nil
}

func (b *buildDiff) keep(why string, wanted bool) {
	b.actions.Kept = append(b.actions.Kept, Kept{Path: b.dir, Why: why, Wanted: wanted})
}

// leaveOut keeps the build on production's volume.
func (b *buildDiff) leaveOut() {
	left := b.build.Build
	left.Volume = b.build.SourceVolume
	b.actions.LeftOut = append(b.actions.LeftOut, left)
}

// compareFiles compares each planned file with the disk, and decides how to make those that are missing or
// differ.
func (b *buildDiff) compareFiles(ctx context.Context) (err error) {
	b.ours = b.known != nil
	known := b.known
	if known == nil {
		known = &ledger.Build{}
	}
	var there *topdir.Subdir
	if !b.action.New {
		if there, err = b.top.OpenDir(b.dir); err != nil {
			return err
		}
		defer there.Close()
	}
	var lost []volumes.File
	if b.build.Files, lost, err = b.find(ctx, b.build.Build, b.build.Files, known); err != nil {
		return err
	}
	if b.opts.Whole {
		if err := b.addOthers(ctx, known); err != nil {
			return err
		}
	}
	if !b.action.New {
		if b.action.Dirs, err = b.linkedDirs(b.dir, b.build.Files, known); err != nil {
			return err
		}
	}
	b.listed.build = b.build
	for i := range lost {
		b.notThere(&lost[i])
	}
	if err := b.compareLinks(there, known); err != nil {
		return err
	}
	for i := range b.build.Files {
		f := &b.build.Files[i]
		state := fileAbsent
		if !b.action.New && !b.action.replaces(f.Path) {
			if state, err = b.lookAt(ctx, there, f, known); err != nil {
				return err
			}
		}
		switch state {
		case fileAbsent, fileReplace, fileDamaged:
			if err := b.make(ctx, f, state != fileAbsent); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookAt compares a file. It notes a file that differs and stays.
func (b *buildDiff) lookAt(ctx context.Context, there *topdir.Subdir, f *volumes.File, known *ledger.Build) (fileState, error) {
	a, path := b.actions, b.dir+"/"+f.Path
	state, entry, err := b.compare(ctx, there, b.build, b.dir, f, known)
	var damaged *content.DigestError
	if err != nil && !(state == fileDamaged && errors.As(err, &damaged)) {
		return state, err
	}
	switch state {
	case filePresent:
		a.Present++
	case fileAdopted:
		a.Present++
		b.adopted = append(b.adopted, entry)
		b.ours = true
	case fileForeign:
		a.Kept = append(a.Kept, Kept{Path: path, Why: "not as kojisnap left it", Wanted: true})
		b.foreign++
	case fileDamaged:
		if !b.repairs(path) {
			a.Held = append(a.Held, unrepaired(path, damaged))
			b.foreign++
			return fileForeign, nil
		}
		a.Damaged = append(a.Damaged, Damaged{Path: path, Why: damaged.Says()})
		b.ours = true
	case fileReplace:
		b.ours = true
	}
	return state, nil
}

// make decides how to make a file. A file that no source has is missing, unless it is optional.
func (b *buildDiff) make(ctx context.Context, f *volumes.File, replace bool) error {
	a := b.actions
	fa, err := b.decide(b.build.Build, f, b.listed)
	switch {
	case err == nil:
		fa.Replace = replace
		b.action.Files = append(b.action.Files, fa)
	case source.Absent(err) && f.Optional:
		b.notThere(f)
	case f.Optional && ofOne(ctx, err):
		if b.action.again = true; !b.listed.hides(f.Path) { // otherwise the error names its directory
			a.Held = append(a.Held, held("file", b.build.Build.NVR(), f.Path, err, noOptional))
		}
	case source.Absent(err):
		a.Missing = append(a.Missing, &source.MissingError{Build: b.build.Build.NVR(), Path: f.Path, Err: err})
		b.complete = false
	default:
		return err
	}
	return nil
}

// notThere notes that production does not have an optional file.
func (b *buildDiff) notThere(f *volumes.File) {
	b.actions.Absent++
	b.action.entries = append(b.action.entries, ledger.Entry{Path: f.Path, Digest: ledger.Content(f), Absent: true})
}

// settle decides what to do with the build, and what the ledger learns about it.
func (b *buildDiff) settle() error {
	a := b.actions
	if !b.action.New && !b.ours {
		b.keep("not made by kojisnap", true)
		b.leaveOut()
		return nil
	}
	whole := b.known != nil && b.known.Complete
	known := b.known
	if known == nil {
		known = &ledger.Build{}
	}
	if !b.complete || b.foreign > 0 && !whole && b.audit {
		// A file of ours that staging replaced is staging's business. If no ledger says that it was ours,
		// it may just as well be half a file.
		if !whole {
			b.leaveOut()
		}
		b.note(a, b.build.Build, b.adopted, false)
		return nil
	}
	if len(b.action.Files) > 0 || !whole || known.Pending || b.audit {
		found, err := b.symlinks(a, &b.action, b.build, b.listed, known)
		if err != nil {
			return err
		}
		b.adopted = append(b.adopted, found...)
	}
	if len(b.action.Files) > 0 || b.action.New || !whole && len(b.adopted) == 0 {
		b.note(a, b.build.Build, b.adopted, false)
		a.Builds = append(a.Builds, b.action)
	} else {
		b.noteWhole(known)
	}
	a.Adopted += len(b.adopted)
	return nil
}

// noteWhole adds to the ledger what it lacks of a build that needs no work.
func (b *buildDiff) noteWhole(known *ledger.Build) {
	b.action.entries = slices.DeleteFunc(b.action.entries, func(e ledger.Entry) bool { return slices.Contains(known.Entries, e) })
	switch entries := append(b.adopted, b.action.entries...); {
	case b.action.again:
		b.note(b.actions, b.build.Build, entries, false)
	case len(entries) == 0 && known.Pending:
		b.actions.notes.Build(known.Build)
		b.actions.notes.Complete()
	default:
		b.note(b.actions, b.build.Build, entries, true)
	}
}
