package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/durable"
	"kojisnap/volumes/topdir"
)

// Writer appends batches to a topdir's ledger. Its user holds the lock.
type Writer struct {
	top  *topdir.Dir
	file string
	f    *os.File
	size int64
}

// Open reads the ledger and opens it for appending. It cuts off an incomplete batch at the end. It rewrites a
// ledger of an older format, and one that is mostly history. If instead is given, it becomes the ledger, and
// the old file gets another name.
func Open(top *topdir.Dir, instead *Ledger) (*Ledger, *Writer, error) {
	return OpenFile(top, File, instead)
}

// OpenFile is Open for one of a topdir's ledgers: File, or that of a shard.
func OpenFile(top *topdir.Dir, file string, instead *Ledger) (*Ledger, *Writer, error) {
	if err := top.Mkdir(filepath.Dir(file)); err != nil { // this also checks that it is no symlink
		return nil, nil, err
	}
	path := top.Join(file)
	l, good := instead, 0
	if instead != nil {
		if err := setAside(top, file); err != nil {
			return nil, nil, err
		}
	} else {
		text, err := readText(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("ledger: %w", err)
		}
		if l, good, err = parse(text); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	var short int64
	if good > 1<<20 {
		short, _ = l.WriteTo(io.Discard)
	}
	if good == 0 || l.format < l.needs() || short > 0 && short*2 < int64(good) {
		err := durable.WriteFile(path, func(w io.Writer) error {
			n, err := l.WriteTo(w)
			good = int(n)
			return err
		})
		if err != nil {
			return nil, nil, fmt.Errorf("ledger: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("ledger: %w", err)
	}
	w := &Writer{top, file, f, int64(good)}
	if err := errors.Join(top.Own(f), w.cut()); err != nil {
		f.Close()
		return nil, nil, err
	}
	return l, w, nil
}

// setAside gives a damaged ledger a second name, the first free one. The file keeps its first name until the
// new ledger is renamed over it.
func setAside(top *topdir.Dir, file string) error {
	f, err := top.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.damaged-%d", file, n)
		err := top.LinkFile(f, name)
		if err != nil && !errors.Is(err, fs.ErrExist) { // the file system has no hard links
			err = top.RenameNew(file, name)
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// Append makes the batch durable, or leaves the ledger as it was.
func (w *Writer) Append(b *Batch) error {
	text := b.String()
	if text == "" {
		return nil
	}
	var err error
	if w.top.Hook != nil {
		err = w.top.Hook("append", w.file)
	}
	if err == nil {
		_, err = w.f.WriteAt([]byte(text), w.size)
	}
	if err == nil {
		err = w.f.Sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("ledger: %w", err), w.cut())
	}
	w.size += int64(len(text))
	return nil
}

func (w *Writer) cut() error {
	if err := w.f.Truncate(w.size); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

func (w *Writer) Close() error { return w.f.Close() }
