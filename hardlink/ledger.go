package hardlink

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kojisnap/volumes"
)

// The ledger is a text file: a line "kojisnap-ledger TAB 1", then batches. A batch
// is lines of fields separated by tabs, and a line "= TAB count TAB digest" with the
// number of its lines and the first 16 hex digits of their SHA-256. It is only
// appended to (or rewritten beside and renamed), one fsync a batch, and a batch is on
// the disk before anything that it tells of is done, so that what stands after the
// last "=" line was never acted on.
//
//	B volume name version release   the build that the next lines are about
//	F path size mtime digest        its regular file; mtime in ns since 1970
//	S path target                   its symlink
//	C                               all of that is in place
//	R                               it is about to be removed
//	X                               it is gone
//	K path target                   a symlink below topdir
//	k path                          that symlink is gone
//
// Fields hold no control characters: the names were checked.
const (
	ledgerDir    = ".kojisnap"
	ledgerFile   = ledgerDir + "/ledger"
	ledgerMagic  = "kojisnap-ledger"
	ledgerFormat = 1
)

// ErrLedgerDamaged is a ledger that is not as it was written. Nothing is done with
// such a topdir.
var ErrLedgerDamaged = errors.New("ledger is damaged")

// Ledger is what kojisnap put below a topdir.
type Ledger struct {
	Builds map[string]*LedgerBuild // by directory relative to topdir
	// Links are symlinks by path relative to topdir: what each says last, and before
	// that what it said earlier (a kill may have left that).
	Links map[string][]string
}

// LedgerBuild is a build on the copy volume.
type LedgerBuild struct {
	Build    volumes.Build // Volume is the copy volume
	Complete bool          // all of its files are in place
	// Entries are by path. After a kill in the midst of replacing a file there may be
	// two of a path, before and after.
	Entries []LedgerEntry
	pending bool // entries were added since it was complete
}

// LedgerEntry is a file or, if Target is not empty, a symlink.
type LedgerEntry struct {
	Path   string
	Size   int64
	MTime  int64 // ns since 1970
	Digest string
	Target string
}

// ReadLedger reads the ledger of a topdir. Without one it is empty. A newer format
// and a damaged ledger are errors.
func ReadLedger(topdir string) (*Ledger, error) {
	f, err := os.Open(filepath.Join(topdir, ledgerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return newLedger(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer f.Close()
	l, err := ParseLedger(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return l, nil
}

// ParseLedger reads a ledger from elsewhere: a copy of it in a store.
func ParseLedger(r io.Reader) (*Ledger, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	l, _, err := parseLedger(string(b))
	return l, err
}

// Staged are the builds that are in place completely, sorted.
func (l *Ledger) Staged() []LedgerBuild {
	var builds []LedgerBuild
	for _, dir := range slices.Sorted(maps.Keys(l.Builds)) {
		if b := l.Builds[dir]; b.Complete {
			builds = append(builds, *b)
		}
	}
	return builds
}

// WriteTo writes the ledger in its shortest form: the same state, the same bytes.
func (l *Ledger) WriteTo(w io.Writer) (int64, error) {
	var b batch
	for _, dir := range slices.Sorted(maps.Keys(l.Builds)) {
		build := l.Builds[dir]
		b.build(build.Build)
		if build.Complete && build.pending {
			b.line("C")
		}
		for _, e := range build.Entries {
			b.entry(e)
		}
		if build.Complete && !build.pending {
			b.line("C")
		}
	}
	for _, path := range slices.Sorted(maps.Keys(l.Links)) {
		for _, target := range l.Links[path] {
			b.line("K", path, target)
		}
	}
	n, err := io.WriteString(w, ledgerHeader()+b.String())
	return int64(n), err
}

func newLedger() *Ledger {
	return &Ledger{Builds: map[string]*LedgerBuild{}, Links: map[string][]string{}}
}

func ledgerHeader() string { return fmt.Sprintf("%s\t%d\n", ledgerMagic, ledgerFormat) }

// parseLedger also returns up to where the text was acted on.
func parseLedger(text string) (l *Ledger, good int, err error) {
	l = newLedger()
	header, rest, ok := strings.Cut(text, "\n")
	if !ok && strings.HasPrefix(ledgerHeader(), text) {
		return l, 0, nil // killed before the first batch
	}
	magic, version, _ := strings.Cut(header, "\t")
	if magic != ledgerMagic {
		return nil, 0, fmt.Errorf("%w: begins with %.40q", ErrLedgerDamaged, header)
	}
	if version != strconv.Itoa(ledgerFormat) {
		return nil, 0, fmt.Errorf("ledger has format %.20q, this kojisnap reads %d: a newer one is needed", version, ledgerFormat)
	}
	good = len(header) + 1
	begin, number := 0, 0 // of the batch in rest
	for at := 0; ; {
		end := strings.IndexByte(rest[at:], '\n')
		if end < 0 {
			return l.sorted(), good, nil // the rest was never acted on
		}
		line := rest[at : at+end]
		if strings.HasPrefix(line, "=\t") {
			if line != seal(rest[begin:at], number) {
				return nil, 0, fmt.Errorf("%w: bytes %d to %d do not have the digest %.40q", ErrLedgerDamaged,
					len(header)+1+begin, len(header)+1+at, line)
			}
			if err := l.apply(rest[begin:at]); err != nil {
				return nil, 0, fmt.Errorf("%w: %w", ErrLedgerDamaged, err)
			}
			begin, number = at+end+1, 0
			good = len(header) + 1 + begin
		} else {
			number++
		}
		at += end + 1
	}
}

func seal(lines string, number int) string {
	sum := sha256.Sum256([]byte(lines))
	return "=\t" + strconv.Itoa(number) + "\t" + hex.EncodeToString(sum[:8])
}

func (l *Ledger) apply(lines string) error {
	var build *LedgerBuild
	var dir string
	var fields [5]string
	for line := range strings.Lines(lines) {
		n := 0
		for field := range strings.SplitSeq(strings.TrimSuffix(line, "\n"), "\t") {
			if n == len(fields) {
				return fmt.Errorf("line %.80q has too many fields", line)
			}
			fields[n] = field
			n++
		}
		need := map[string]int{"B": 5, "F": 5, "S": 3, "C": 1, "R": 1, "X": 1, "K": 3, "k": 2}[fields[0]]
		if n != need {
			return fmt.Errorf("line %.80q has %d fields", line, n)
		}
		if build == nil && strings.Contains("FSCRX", fields[0]) {
			return fmt.Errorf("line %.80q belongs to no build", line)
		}
		switch fields[0] {
		case "B":
			b := volumes.Build{Volume: fields[1], Name: fields[2], Version: fields[3], Release: fields[4]}
			var err error
			if dir, err = b.Dir(); err != nil {
				return err
			}
			if build = l.Builds[dir]; build == nil {
				build = &LedgerBuild{Build: b}
				l.Builds[dir] = build
			}
		case "F":
			size, err1 := strconv.ParseInt(fields[2], 10, 64)
			mtime, err2 := strconv.ParseInt(fields[3], 10, 64)
			if err := errors.Join(err1, err2, volumes.CheckPath("path", fields[1])); err != nil {
				return err
			}
			build.Entries = append(build.Entries, LedgerEntry{Path: fields[1], Size: size, MTime: mtime, Digest: fields[4]})
			build.pending = true
		case "S":
			if err := volumes.CheckPath("path", fields[1]); err != nil {
				return err
			}
			build.Entries = append(build.Entries, LedgerEntry{Path: fields[1], Target: fields[2]})
			build.pending = true
		case "C":
			build.Complete, build.pending = true, false
		case "R":
			build.Complete = false
		case "X":
			delete(l.Builds, dir)
			build = nil
		case "K":
			if err := volumes.CheckPath("path", fields[1]); err != nil {
				return err
			}
			said := slices.DeleteFunc(l.Links[fields[1]], func(t string) bool { return t == fields[2] })
			l.Links[fields[1]] = append(said, fields[2])
		case "k":
			delete(l.Links, fields[1])
		}
	}
	return nil
}

// sorted puts each build's entries in order. Of two for one path the later counts
// once the build is complete.
func (l *Ledger) sorted() *Ledger {
	byPath := func(a, b LedgerEntry) int { return cmp.Compare(a.Path, b.Path) }
	for _, b := range l.Builds {
		if !slices.IsSortedFunc(b.Entries, byPath) {
			slices.SortStableFunc(b.Entries, byPath)
		}
		if b.pending {
			continue
		}
		kept := b.Entries[:0]
		for _, e := range b.Entries {
			if n := len(kept); n > 0 && kept[n-1].Path == e.Path {
				kept[n-1] = e
			} else {
				kept = append(kept, e)
			}
		}
		b.Entries = kept
	}
	return l
}

// batch collects lines that are appended together.
type batch struct {
	text   strings.Builder
	number int
}

func (b *batch) line(fields ...string) {
	b.text.WriteString(strings.Join(fields, "\t"))
	b.text.WriteByte('\n')
	b.number++
}

// add appends the lines of another.
func (b *batch) add(more *batch) {
	b.text.WriteString(more.text.String())
	b.number += more.number
}

func (b *batch) build(v volumes.Build) { b.line("B", v.Volume, v.Name, v.Version, v.Release) }

func (b *batch) entry(e LedgerEntry) {
	if e.Target != "" {
		b.line("S", e.Path, e.Target)
		return
	}
	b.line("F", e.Path, strconv.FormatInt(e.Size, 10), strconv.FormatInt(e.MTime, 10), e.Digest)
}

func (b *batch) String() string {
	if b.number == 0 {
		return ""
	}
	lines := b.text.String()
	return lines + seal(lines, b.number) + "\n"
}
