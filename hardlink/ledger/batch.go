package ledger

import (
	"strconv"

	"kojisnap/volumes"
)

// Batch collects lines that are appended together. The zero value is empty.
type Batch struct{ text []byte }

// Build begins the lines of a build, whose volume is the copy volume: the lines up to the next Build are
// about it.
func (b *Batch) Build(v volumes.Build) { b.line("B", v.Volume, v.Name, v.Version, v.Release) }

// Entry is a file or a symlink of the build, or an optional file that it lacks.
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

// Complete says that all of the build is in place.
func (b *Batch) Complete() { b.line("C") }

// Unwanted says that no plan has wanted the build since a time, in s since 1970.
func (b *Batch) Unwanted(since int64) { b.line("U", strconv.FormatInt(since, 10)) }

// Wanted says that a plan wants the build again.
func (b *Batch) Wanted() { b.line("W") }

// Removing says that the build is about to be removed.
func (b *Batch) Removing() { b.line("R") }

// Gone says that the build is gone.
func (b *Batch) Gone() { b.line("X") }

// Rewrite says all of a build anew, as it is now: entries that it does not have any longer are forgotten.
func (b *Batch) Rewrite(build *Build) {
	b.Build(build.Build)
	b.Gone()
	b.all(build)
}

// all says all of a build that the ledger does not have.
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

// Link is a symlink below topdir that is about to be made.
func (b *Batch) Link(path, target string) { b.line("K", path, target) }

// LinksMade says that the symlinks of the last count Link lines are in place.
func (b *Batch) LinksMade(count int) {
	if count > 0 {
		b.line("L", strconv.Itoa(count))
	}
}

// Unlink says that a symlink below topdir is gone.
func (b *Batch) Unlink(path string) { b.line("k", path) }

// Hub says that the targets of all symlinks of builds so far are below this path of topdir; "": some are not.
func (b *Batch) Hub(path string) { b.line("T", path) }

// Add adds the lines of another batch.
func (b *Batch) Add(more *Batch) { b.text = append(b.text, more.text...) }

// Empty tells whether there is nothing to append.
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
