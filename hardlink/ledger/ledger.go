// Package ledger keeps the list of the files and symlinks that kojisnap made below a topdir. kojisnap replaces
// or removes only these, and only if nobody has changed them. The package reads and writes the file
// .kojisnap/ledger, locks the topdir, and compares entries with a plan and with the disk.
package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kojisnap/volumes"
)

// The ledger is a text file: a line "kojisnap-ledger TAB 4", then batches. A batch
// is lines of fields separated by tabs, and a line "= TAB count TAB digest" with the
// number of its lines and the first 16 hex digits of their SHA-256. It is only
// appended to (or a new file is written and renamed), with one fsync a batch. A batch is
// on the disk before kojisnap does anything that it records, so the actions of lines after
// the last "=" line were never done.
//
//	B volume name version release   the build that the next lines are about
//	F path size mtime digest        its regular file; mtime in ns since 1970
//	S path target                   its symlink
//	D path                          a symlink has replaced its directory of that path:
//	                                the entries below are gone
//	N path digest                   wanted if production has it, which it had not
//	C                               all of that is in place
//	U time                          no plan has wanted the build since then; s since 1970
//	W                               a plan wants it again
//	R                               it is about to be removed
//	X                               it is gone
//	K path target                   a symlink below topdir
//	L count                         the symlinks of so many K lines before are in place
//	k path                          that symlink is gone
//	T path                          the targets of all S lines before are below path, which is
//	                                the hub's path of topdir; "": some are not
//
// Fields hold no control characters: the names were checked. The package also reads formats 1 (without N, U,
// W and L), 2 (without T) and 3 (without D); it rewrites such a file before it appends anything.
const (
	Dir       = ".kojisnap"
	File      = Dir + "/ledger"
	magicName = "kojisnap-ledger"
	Format    = 4
)

// ErrDamaged is a ledger whose text is not as it was written. Only an audit works with
// such a topdir: it rebuilds the ledger from the files on the disk.
var ErrDamaged = errors.New("ledger is damaged")

// Ledger has the files and symlinks that kojisnap made below a topdir.
type Ledger struct {
	Builds map[string]*Build // by directory relative to topdir
	// Links are symlinks by path relative to topdir: what each says last, and before
	// that what it said earlier (a kill may have left that).
	Links map[string][]string
	// Made has the paths of Links whose symlink is in place: the ledger has an L line for it.
	Made   map[string]bool
	Hub    string // the path of topdir that all symlinks of builds say; "": some are relative
	format int    // of the file
}

// Build is a build on the copy volume.
type Build struct {
	Build    volumes.Build // Volume is the copy volume
	Complete bool          // all of its files are in place
	Unwanted int64         // no plan has wanted it since then, in s since 1970; 0: it is wanted
	// Entries are sorted by path. After a kill during the replacement of a file there may be
	// two entries of a path, for the old file and the new one.
	Entries []Entry
	Pending bool // entries were added since it was complete
}

// Entry is a file or, if Target is not empty, a symlink; or, if Absent, an
// optional file that production does not have.
type Entry struct {
	Path   string
	Size   int64
	MTime  int64  // ns since 1970
	Digest string // as planned; of a signed copy with that of its signature header behind a "+"
	Target string
	Absent bool
}

// Read reads the ledger of a topdir. Without one it is empty. A newer format
// and a damaged ledger are errors.
func Read(topdir string) (*Ledger, error) {
	path := filepath.Join(topdir, File)
	text, err := readText(path)
	if errors.Is(err, fs.ErrNotExist) {
		return New(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l, _, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// State returns a text that differs between states of a topdir's ledger, without
// reading the ledger; "" if there is none.
func State(topdir string) (string, error) {
	info, err := os.Lstat(filepath.Join(topdir, File))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ledger: %w", err)
	}
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano()), nil
}

// readText reads a file, in memory once.
func readText(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var text strings.Builder
	if info, err := f.Stat(); err == nil {
		text.Grow(int(info.Size()))
	}
	_, err = io.Copy(&text, f)
	return text.String(), err
}

// Parse reads a ledger from elsewhere: a copy of it in a store.
func Parse(r io.Reader) (*Ledger, error) {
	var text strings.Builder
	if _, err := io.Copy(&text, r); err != nil {
		return nil, err
	}
	l, _, err := parse(text.String())
	return l, err
}

// Staged returns the builds that are complete and wanted, sorted: the database is to
// have these on the copy volume.
func (l *Ledger) Staged() []Build {
	var builds []Build
	for _, dir := range slices.Sorted(maps.Keys(l.Builds)) {
		if b := l.Builds[dir]; b.Complete && b.Unwanted == 0 {
			builds = append(builds, *b)
		}
	}
	return builds
}

// WriteTo writes the ledger in its shortest form: the same state, the same bytes.
func (l *Ledger) WriteTo(w io.Writer) (int64, error) {
	var b Batch
	for _, dir := range slices.Sorted(maps.Keys(l.Builds)) {
		b.all(l.Builds[dir])
	}
	paths := slices.Sorted(maps.Keys(l.Links))
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
	if l.Hub != "" {
		b.Hub(l.Hub)
	}
	n, err := io.WriteString(w, firstLine()+b.String())
	return int64(n), err
}

func New() *Ledger {
	return &Ledger{Builds: map[string]*Build{}, Links: map[string][]string{}, Made: map[string]bool{}, format: Format}
}

func firstLine() string { return fmt.Sprintf("%s\t%d\n", magicName, Format) }
