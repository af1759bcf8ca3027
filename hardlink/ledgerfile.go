package hardlink

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/durable"
	"kojisnap/volumes/topdir"
)

// ledgerFileWriter appends batches to a topdir's ledger. The lock is held.
type ledgerFileWriter struct {
	top  *topdir.Dir
	f    *os.File
	size int64
}

// openLedger reads the ledger and opens it for appending. What was never acted on
// is cut off; one of which most is history, or of an older format, is rewritten.
// With instead that is the ledger from now on, and what is there is set aside.
func openLedger(top *topdir.Dir, instead *Ledger) (*Ledger, *ledgerFileWriter, error) {
	if err := top.Mkdir(ledgerDir); err != nil { // also: it is no symlink
		return nil, nil, err
	}
	path := top.Join(ledgerFile)
	l, good := instead, 0
	if instead != nil {
		if err := setAside(top); err != nil {
			return nil, nil, err
		}
	} else {
		text, err := readText(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("ledger: %w", err)
		}
		if l, good, err = parseLedger(text); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	var short int64
	if good > 1<<20 {
		short, _ = l.WriteTo(io.Discard)
	}
	if good == 0 || l.format < ledgerFormat || short > 0 && short*2 < int64(good) {
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
	w := &ledgerFileWriter{top, f, int64(good)}
	if err := errors.Join(top.Own(f), w.cut()); err != nil {
		f.Close()
		return nil, nil, err
	}
	return l, w, nil
}

// setAside gives a damaged ledger another name too, the first that is free. Under its
// own it stays until the new one is renamed over it.
func setAside(top *topdir.Dir) error {
	f, err := top.Open(ledgerFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.damaged-%d", ledgerFile, n)
		err := top.LinkFile(f, name)
		if err != nil && !errors.Is(err, fs.ErrExist) { // no hard links there
			err = top.RenameNew(ledgerFile, name)
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// append makes the batch durable, or leaves the ledger as it was.
func (w *ledgerFileWriter) append(b *batch) error {
	text := b.String()
	if text == "" {
		return nil
	}
	var err error
	if w.top.Hook != nil {
		err = w.top.Hook("append", ledgerFile)
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

func (w *ledgerFileWriter) cut() error {
	if err := w.f.Truncate(w.size); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

func (w *ledgerFileWriter) close() error { return w.f.Close() }
