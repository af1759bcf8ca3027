package ledger

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/volumes"
)

// Content returns the ledger's digest of a file: the plan's, and for a signed copy after a "+" the digest of
// its signature header, which the first does not cover. Production sometimes signs rpms again with the same
// key, usually because the first signature was bad.
func Content(f *volumes.File) string {
	if f.Kind == volumes.KindSigned && f.SigDigest != "" {
		return f.Digest + "+" + f.SigDigest
	}
	return f.Digest
}

// MadeOf reports whether a file of the ledger has the planned content. If an earlier version wrote the
// entry, its signature header is unknown: it counts as the planned one, until an audit reads the file.
func (e *Entry) MadeOf(f *volumes.File) bool {
	rest, ok := strings.CutPrefix(e.Digest, f.Digest)
	if !ok || rest == "" {
		return ok
	}
	sig, ok := strings.CutPrefix(rest, "+")
	return ok && (f.SigDigest == "" || sig == f.SigDigest)
}

// Has reports whether the files of a plan are those of a complete build.
func (b *Build) Has(files []volumes.File) (present, absent int, ok bool) {
	entries := b.Entries
	for i := range files {
		f := &files[i]
		if f.SubdirUnknown {
			e := b.InSubdir(f)
			switch {
			case e == nil:
				return 0, 0, false
			case e.Absent:
				absent++
			default:
				present++
			}
			continue
		}
		for len(entries) > 0 && entries[0].Path < f.Path {
			entries = entries[1:]
		}
		if len(entries) == 0 {
			return 0, 0, false
		}
		e := &entries[0]
		switch {
		case e.Path != f.Path || !e.MadeOf(f) || e.Target != "":
			return 0, 0, false
		case !e.Absent:
			present++
		case f.Optional:
			absent++
		default:
			return 0, 0, false
		}
	}
	return present, absent, true
}

// InSubdir finds the entry of a file whose directory the plan does not know.
func (b *Build) InSubdir(f *volumes.File) *Entry {
	for i := range b.Entries {
		if e := &b.Entries[i]; e.Target == "" && e.MadeOf(f) && f.Matches(e.Path) {
			return e
		}
	}
	return nil
}

// Is reports whether the file on the disk is still the one of the entry.
func (e Entry) Is(st unix.Stat_t, target string) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return e.Target != "" && e.Target == target
	case unix.S_IFREG:
		return e.Target == "" && e.Size == st.Size && e.MTime == st.Mtim.Nano()
	}
	return false
}

// Wrote reports whether kojisnap wrote a file of a plan, even if something else is in its place now.
func (b *Build) Wrote(f *volumes.File) bool {
	for i := range b.Entries {
		if e := &b.Entries[i]; e.Path == f.Path && e.Target == "" && !e.Absent && e.MadeOf(f) {
			return true
		}
	}
	return false
}

// Find returns the entry of a planned file, nil if there is none.
func (b *Build) Find(f *volumes.File) *Entry {
	if f.SubdirUnknown {
		return b.InSubdir(f)
	}
	i, ok := slices.BinarySearchFunc(b.Entries, f.Path, func(e Entry, p string) int { return cmp.Compare(e.Path, p) })
	if !ok {
		return nil
	}
	return &b.Entries[i]
}

// Below returns the entries below a directory. Entries are sorted by path.
func (b *Build) Below(dir string) []Entry {
	dir += "/"
	from, _ := slices.BinarySearchFunc(b.Entries, dir, func(e Entry, p string) int { return cmp.Compare(e.Path, p) })
	to := from
	for to < len(b.Entries) && strings.HasPrefix(b.Entries[to].Path, dir) {
		to++
	}
	return b.Entries[from:to]
}

// Ours reports whether the ledger has a symlink at path with this target.
func (l *Ledger) Ours(path string) func(string) bool {
	return func(target string) bool {
		return slices.Contains(l.Links[path], target)
	}
}
