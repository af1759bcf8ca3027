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

// The ledger is a text file: a line "kojisnap-ledger TAB 4" (5: see G), then batches. A batch consists of lines with fields
// that are separated by tabs, and a line "= TAB count TAB digest" with the number of its lines and the first 16
// hex digits of their SHA-256. kojisnap only appends to the file, with one fsync for each batch, or writes a new
// file and renames it. A batch is on the disk before kojisnap does what the batch says. So the actions of lines
// after the last "=" line were never done.
//
//	B volume name version release   the build that the next lines are about
//	F path size mtime digest        its regular file; mtime in ns since 1970
//	S path target                   its symlink
//	D path                          a symlink has replaced its directory of that path:
//	                                the entries below are gone
//	N path digest                   an optional file that production does not have
//	C                               all of the build is in place
//	U time                          no plan has wanted the build since then; s since 1970
//	W                               a plan wants it again
//	R                               it is about to be removed
//	X                               it is gone
//	K path target                   a symlink below topdir
//	L count                         the symlinks of the last count K lines are in place
//	k path                          that symlink is gone
//	T path                          the targets of all S lines before this one are below path,
//	                                the hub's path of topdir; "": some are not
//	G                               shards have ledgers of their own, see shards.go, and builds may
//	                                be there in place of here; format 5
//
// Fields hold no control characters: the names were checked. The package also reads formats 1 (without N, U,
// W and L), 2 (without T) and 3 (without D); it rewrites such a file before it appends anything. Format 5 is that of a
// topdir with shards: earlier versions, which would take their files for somebody else's, refuse it.
const (
	Dir       = ".kojisnap"
	File      = Dir + "/ledger"
	magicName = "kojisnap-ledger"
	Format    = 5
)

// ErrDamaged says that the ledger's text has changed since it was written. Only an audit works on such a
// topdir: it rebuilds the ledger from the files on the disk.
var ErrDamaged = errors.New("ledger is damaged")

// Ledger lists the files and symlinks that kojisnap made below a topdir.
type Ledger struct {
	Builds map[string]*Build // by directory relative to topdir
	// Links has the targets of symlinks by their paths relative to topdir. The last is the current one;
	// after a kill the symlink may still have an earlier one.
	Links map[string][]string
	// Made has the paths of Links whose symlink is in place: the ledger has an L line for it.
	Made   map[string]bool
	Hub    string // the path of topdir in the targets of all builds' symlinks; "": some are relative
	Shards bool   // shards have ledgers of their own
	format int    // of the file
}

// Build is a build on the copy volume.
type Build struct {
	Build    volumes.Build // Volume is the copy volume
	Complete bool          // all of its files are in place
	Unwanted int64         // since when no plan has wanted it, in s since 1970; 0: it is wanted
	// Entries are sorted by path. A kill while a file was replaced may leave two entries for a path: of the
	// old file and the new one.
	Entries []Entry
	Pending bool // entries were added since it was complete
}

// Entry is a file, a symlink (with a Target), or an optional file that production does not have (with
// Absent).
type Entry struct {
	Path   string
	Size   int64
	MTime  int64  // ns since 1970
	Digest string // the planned digest; for a signed copy also that of its signature header, after a "+"
	Target string
	Absent bool
}

// Read reads the ledger of a topdir. A missing ledger is empty. A newer format and a damaged ledger are
// errors.
func Read(topdir string) (*Ledger, error) { return ReadFile(topdir, File) }

// ReadFile is Read for one of a topdir's ledgers: File, or that of a shard.
func ReadFile(topdir, file string) (*Ledger, error) {
	path := filepath.Join(topdir, file)
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

// State identifies the state of a topdir's ledger file without reading it; "" if there is none.
func State(topdir string) (string, error) { return StateOf(topdir, File) }

// StateOf is State for one of a topdir's ledgers: File, or that of a shard.
func StateOf(topdir, file string) (string, error) {
	info, err := os.Lstat(filepath.Join(topdir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ledger: %w", err)
	}
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano()), nil
}

// readText reads a file, and has it in memory only once.
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

// Parse reads a ledger from elsewhere, such as a copy in a store.
func Parse(r io.Reader) (*Ledger, error) {
	var text strings.Builder
	if _, err := io.Copy(&text, r); err != nil {
		return nil, err
	}
	l, _, err := parse(text.String())
	return l, err
}

// Staged returns the builds that are complete and wanted, sorted: those that the database should have on the
// copy volume.
func (l *Ledger) Staged() []Build {
	var builds []Build
	for _, dir := range slices.Sorted(maps.Keys(l.Builds)) {
		if b := l.Builds[dir]; b.Complete && b.Unwanted == 0 {
			builds = append(builds, *b)
		}
	}
	return builds
}

// WriteTo writes the ledger in its shortest form. The same state gives the same bytes.
func (l *Ledger) WriteTo(w io.Writer) (int64, error) {
	var b Batch
	for _, dir := range slices.Sorted(maps.Keys(l.Builds)) {
		b.all(l.Builds[dir])
	}
	paths := slices.Sorted(maps.Keys(l.Links))
	b.links(l, paths)
	if l.Hub != "" {
		b.Hub(l.Hub)
	}
	if l.Shards {
		b.Shards()
	}
	n, err := io.WriteString(w, firstLine(l.needs())+b.String())
	return int64(n), err
}

func New() *Ledger {
	return &Ledger{Builds: map[string]*Build{}, Links: map[string][]string{}, Made: map[string]bool{}, format: Format}
}

// needs returns the format that a file with this content needs: earlier versions can read what does not need the newest.
func (l *Ledger) needs() int {
	if l.Shards {
		return Format
	}
	return withoutShards
}

const withoutShards = 4

func firstLine(format int) string { return fmt.Sprintf("%s\t%d\n", magicName, format) }
