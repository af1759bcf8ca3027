package ledger

import (
	"strconv"

	"kojisnap/volumes"
)

// Batch collects lines to append together. The zero value is empty.
type Batch struct{ text []byte }

// Build begins the lines about a build on the copy volume. They end at the next Build.
func (b *Batch) Build(v volumes.Build) { b.line("B", v.Volume, v.Name, v.Version, v.Release) }

// Entry adds a file or a symlink of the build, or an optional file that production does not have.
func (b *Batch) Entry(e Entry) {
	switch {
	case e.Absent:
		b.line("N", e.Path, e.Digest)
	case e.Target != "":
		b.line("S", e.Path, e.Target)
	default:
		b.line("F", e.Path, strconv.FormatInt(e.Size, 10), strconv.FormatInt(e.MTime, 10), e.Digest)
	}
}

// DirLinked says that a symlink has replaced a directory of the build.
func (b *Batch) DirLinked(dir string) { b.line("D", dir) }

// Complete says that the whole build is in place.
func (b *Batch) Complete() { b.line("C") }

// Unwanted says that no plan has wanted the build since a time, in s since 1970.
func (b *Batch) Unwanted(since int64) { b.line("U", strconv.FormatInt(since, 10)) }

// Wanted says that a plan wants the build again.
func (b *Batch) Wanted() { b.line("W") }

// Removing says that the build is about to be removed.
func (b *Batch) Removing() { b.line("R") }

// Gone says that the build is gone.
func (b *Batch) Gone() { b.line("X") }

// Rewrite replaces everything that the ledger has about a build: only the build's present entries remain.
func (b *Batch) Rewrite(build *Build) {
	b.Build(build.Build)
	b.Gone()
	b.all(build)
}

// all adds everything about a build that the ledger does not have.
func (b *Batch) all(build *Build) {
	b.Build(build.Build)
	if build.Complete && build.Pending {
		b.Complete()
	}
	for _, e := range build.Entries {
		b.Entry(e)
	}
	if build.Complete && !build.Pending {
		b.Complete()
	}
	if build.Unwanted != 0 {
		b.Unwanted(build.Unwanted)
	}
}

// Link adds a symlink below topdir that is about to be made.
func (b *Batch) Link(path, target string) { b.line("K", path, target) }

// LinksMade says that the symlinks of the last count Link lines are in place.
func (b *Batch) LinksMade(count int) {
	if count > 0 {
		b.line("L", strconv.Itoa(count))
	}
}

// Unlink says that a symlink below topdir is gone.
func (b *Batch) Unlink(path string) { b.line("k", path) }

// Hub says that the targets of all symlinks of builds so far begin with this path of topdir; "": some do not.
func (b *Batch) Hub(path string) { b.line("T", path) }

// Shards says that shards have ledgers of their own. Only Split may append it.
func (b *Batch) Shards() { b.line("G") }

// Add adds the lines of another batch.
func (b *Batch) Add(more *Batch) { b.text = append(b.text, more.text...) }

// Empty reports whether there is nothing to append.
func (b *Batch) Empty() bool { return len(b.text) == 0 }

// String returns the batch in the form of the ledger, with its seal; "" if it is empty.
func (b *Batch) String() string {
	if b.Empty() {
		return ""
	}
	lines := string(b.text)
	return lines + seal(lines) + "\n"
}

func (b *Batch) line(fields ...string) {
	for i, f := range fields {
		if i > 0 {
			b.text = append(b.text, '\t')
		}
		b.text = append(b.text, f...)
	}
	b.text = append(b.text, '\n')
}

// links notes some of a ledger's symlinks, first those that kojisnap made: the line that says so is about the ones before it.
func (b *Batch) links(l *Ledger, paths []string) {
	for _, made := range []bool{true, false} {
		said := 0
		for _, path := range paths {
			if l.Made[path] != made {
				continue
			}
			for _, target := range l.Links[path] {
				b.Link(path, target)
				said++
			}
		}
		if made {
			b.LinksMade(said)
		}
	}
}
