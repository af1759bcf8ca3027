package hardlink

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// With Options.Whole, what a source has in a build's directory and no row names (logs, metadata.json, what old signatures
// left) becomes regular files, too. Such a file is production's as long as its size and its time are those at the source:
// nothing says more about it. So these count as planned files from here on, optional ones, with that as their digest.

// addOthers adds to a build's files what the first source lists that has the build. What cannot be copied is held alone.
func (b *buildDiff) addOthers(ctx context.Context, known *ledger.Build) error {
	planned := make(map[string]bool, len(b.build.Files))
	for i := range b.build.Files {
		planned[b.build.Files[i].Path] = true
	}
	dirs := above(b.build.Files)
	listed, from, err := b.sources.List(ctx, b.build.Build, func(p string) bool { return planned[p] || dirs[p] })
	switch {
	case errors.Is(err, source.ErrNoListing):
		b.unlisted.Do(func() {
			b.opts.Log.WarnContext(ctx, "no source lists directories: files that no row of the database names, such as logs, are not copied")
		})
		return nil
	case source.Absent(err) || source.Denied(err):
		return nil // the planned files will say so
	case err != nil:
		return err
	}
	b.listed.done, b.listed.volume = true, b.build.SourceVolume
	b.listed.regular = map[string]bool{}
	for _, l := range listed {
		if planned[l.Path] || dirs[l.Path] {
			b.listed.regular[l.Path] = planned[l.Path] && from == source.Source(b.sources.First())
			continue
		}
		err := cmp.Or(volumes.CheckPath("file name", l.Path), l.Err)
		switch {
		case err != nil:
			b.actions.hold(held("file", b.build.Build.NVR(), printable(l.Path), err, noOther))
			b.action.again = true
		case l.Target != "":
			b.links = append(b.links, l)
		default:
			at := int64(0)
			if !l.Mtime.IsZero() {
				at = l.Mtime.UnixNano()
			}
			b.build.Files = append(b.build.Files, volumes.File{Path: l.Path, Kind: volumes.KindOther, Size: l.Size,
				Digest: volumes.StatDigest(l.Size, at), Optional: true})
		}
	}
	slices.SortFunc(b.build.Files, func(x, y volumes.File) int { return cmp.Compare(x.Path, y.Path) })
	return nil
}

const noOther = "it is not copied; put it right in production, and the next run copies it"

// compareLinks decides about production's symlinks in the build: they become the same symlinks.
func (b *buildDiff) compareLinks(there *topdir.Subdir, known *ledger.Build) error {
	for _, l := range b.links {
		fa := FileAction{Op: OpSymlink, Path: l.Path, Target: l.Target}
		if b.action.New || b.action.replaces(l.Path) {
			b.action.Files = append(b.action.Files, fa)
			continue
		}
		st, err := there.Lstat(l.Path)
		if source.Absent(err) {
			b.action.Files = append(b.action.Files, fa)
			continue
		}
		if err != nil {
			return err
		}
		_, ours, err := b.recorded(b.dir, l.Path, st, known)
		if err != nil {
			return err
		}
		have := ""
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			if have, err = b.top.Readlink(b.dir + "/" + l.Path); err != nil {
				return err
			}
		}
		switch {
		case ours && have == l.Target:
		case ours:
			fa.Replace = true
			b.action.Files = append(b.action.Files, fa)
			b.ours = true
		case have == l.Target && b.audit:
			b.adopted = append(b.adopted, ledger.Entry{Path: l.Path, Target: have})
		default:
			b.actions.Kept = append(b.actions.Kept, Kept{Path: b.dir + "/" + l.Path, Why: "not as kojisnap left it"})
		}
	}
	return nil
}

// hasSymlinks reports whether a build has symlinks of kojisnap's into the read-only volume, as a copy of some tags makes them.
func (d *differ) hasSymlinks(b volumes.Build, known *ledger.Build) bool {
	return slices.ContainsFunc(known.Entries, func(e ledger.Entry) bool {
		if e.Target == "" {
			return false
		}
		_, _, ok := d.retarget(b, e.Path, e.Target)
		return ok
	})
}

// hasStat reports whether a file on the disk has the size and the time of one that no row names. A file system may keep whole
// seconds alone.
func hasStat(st unix.Stat_t, f *volumes.File) bool {
	at, ok := volumes.StatTime(f.Digest)
	if !ok || f.Size >= 0 && st.Size != f.Size {
		return false
	}
	have := st.Mtim.Nano()
	return at == 0 || have == at || have%1e9 == 0 && have/1e9 == at/1e9
}

// isListed returns an error if the file at a source is not the one that was listed.
func isListed(in *source.Input, f volumes.File) error {
	at, _ := volumes.StatTime(f.Digest)
	if f.Size >= 0 && in.Size >= 0 && in.Size != f.Size || at != 0 && in.Mtime.UnixNano() != at {
		return &content.ReadError{Err: &changedError{path.Base(in.Name)}}
	}
	return nil
}

// changedError says that production has another file in the place of one that was listed.
type changedError struct{ name string }

func (e *changedError) Error() string { return "it changed since it was listed: " + e.name }

func (e *changedError) Unwrap() error { return source.ErrChanged }
