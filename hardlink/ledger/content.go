package ledger

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/volumes"
)

// Content is what the ledger has as the digest of a file: the plan's, and for a signed copy behind a "+"
// that of its signature header, which the first does not cover. Production signs rpms again with the same
// key, mostly because the first signature was no good.
func Content(f *volumes.File) string {
	if f.Kind == volumes.KindSigned && f.SigDigest != "" {
		return f.Digest + "+" + f.SigDigest
	}
	return f.Digest
}

// MadeOf tells whether a file of the ledger has the content that is planned. Of what an earlier version
// wrote down the signature header is not known: it counts as the planned one, until an audit reads it.
func (e *Entry) MadeOf(f *volumes.File) bool {
	rest, ok := strings.CutPrefix(e.Digest, f.Digest)
	if !ok || rest == "" {
		return ok
	}
	sig, ok := strings.CutPrefix(rest, "+")
	return ok && (f.SigDigest == "" || sig == f.SigDigest)
}

// Has tells whether the files of a plan are those of a complete build.
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

// InSubdir finds the entry of a file of which the plan does not know the directory.
func (b *Build) InSubdir(f *volumes.File) *Entry {
	for i := range b.Entries {
		if e := &b.Entries[i]; e.Target == "" && e.MadeOf(f) && f.Matches(e.Path) {
			return e
		}
	}
	return nil
}

// Is tells whether what is on the disk is what was put there.
func (e Entry) Is(st unix.Stat_t, target string) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return e.Target != "" && e.Target == target
	case unix.S_IFREG:
		return e.Target == "" && e.Size == st.Size && e.MTime == st.Mtim.Nano()
	}
	return false
}

// Placed tells whether a file of a plan was put there, whatever is in its place now.
func (b *Build) Placed(f *volumes.File) bool {
	for i := range b.Entries {
		if e := &b.Entries[i]; e.Path == f.Path && e.Target == "" && !e.Absent && e.MadeOf(f) {
			return true
		}
	}
	return false
}

// Find is the entry of a planned file, nil if there is none.
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

// Below are the entries below a directory. Entries are sorted by path.
func (b *Build) Below(dir string) []Entry {
	dir += "/"
	from, _ := slices.BinarySearchFunc(b.Entries, dir, func(e Entry, p string) int { return cmp.Compare(e.Path, p) })
	to := from
	for to < len(b.Entries) && strings.HasPrefix(b.Entries[to].Path, dir) {
		to++
	}
	return b.Entries[from:to]
}

// Ours tells whether a symlink at path is one that the ledger knows.
func (l *Ledger) Ours(path string) func(string) bool {
	return func(target string) bool {
		return slices.Contains(l.Links[path], target)
	}
}
