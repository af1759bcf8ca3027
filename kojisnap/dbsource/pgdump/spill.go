package pgdump

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/klauspost/compress/s2"
)

// spill is a temporary file with the wanted columns of one table: lines of COPY, compressed by S2: that takes a quarter
// of the time of zstd's fastest level, for files less than twice as large. It has no name, so that nobody else finds it and
// it vanishes with the process.
type spill struct {
	f       *os.File
	dir     string
	columns []string
	size    int64
	rows    int64
}

// newSpill makes an empty one.
func newSpill(dir string, columns []string) (*spill, error) {
	f, err := os.CreateTemp(dir, ".kojisnap-dump-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("temporary file (--tmpdir, or TMPDIR, names the directory): %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("temporary file: %w", err)
	}
	return &spill{f: f, dir: dir, columns: columns}, nil
}

// Write implements io.Writer.
func (s *spill) Write(p []byte) (int, error) {
	n, err := s.f.Write(p)
	s.size += int64(n)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("no room for temporary files in %s (--tmpdir, or TMPDIR, names another directory): %w", s.dir, err)
	}
	return n, err
}

// spillBlock is how much of a spill is compressed at once.
const spillBlock = 256 << 10

// spillReader reads spills, one at a time.
type spillReader struct {
	unpack *s2.Reader
	buf    []byte
}

func newSpillReader() *spillReader {
	return &spillReader{s2.NewReader(nil, s2.ReaderMaxBlockSize(spillBlock)), make([]byte, textBuffer)}
}

// each gives a spill's lines to fn, which may change them.
func (r *spillReader) each(s *spill, fn func(line []byte) error) error {
	r.unpack.Reset(io.NewSectionReader(s.f, 0, s.size))
	t := &text{r: r.unpack, buf: r.buf}
	for rows := int64(0); ; rows++ {
		line, err := t.line(maxLine)
		if err == io.EOF && rows == s.rows {
			return nil
		}
		if err != nil {
			return fmt.Errorf("temporary file: %d rows of %d can be read: %w", rows, s.rows, err)
		}
		if err := fn(line); err != nil {
			return err
		}
	}
}

// spiller writes spills one after another.
type spiller struct {
	dir  string
	pack *s2.Writer
}

func newSpiller(dir string) *spiller {
	if dir == "" {
		dir = os.TempDir()
	}
	return &spiller{dir, s2.NewWriter(nil, s2.WriterBlockSize(spillBlock), s2.WriterConcurrency(2))}
}

// begin makes a spill that the next lines go into.
func (s *spiller) begin(columns []string) (*spill, error) {
	to, err := newSpill(s.dir, columns)
	if err != nil {
		return nil, err
	}
	s.pack.Reset(to)
	return to, nil
}

// checkRoom refuses a directory that has less room than a dump is likely to need there at least: how much of it is rows
// that no compose needs is not known before.
func checkRoom(dir string, need int64) error {
	if dir == "" {
		dir = os.TempDir()
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("temporary files (--tmpdir, or TMPDIR, names the directory): %w", &os.PathError{Op: "statfs", Path: dir, Err: err})
	}
	if room := int64(st.Bavail) * int64(st.Bsize); room < need {
		return fmt.Errorf("%s has room for %d MiB of temporary files, and at least %d MiB are likely to be needed: name another directory (--tmpdir, or TMPDIR)", dir, room>>20, need>>20)
	}
	return nil
}
