package pgdump

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/progress"
)

// Formats of dumps.
const (
	formatText = iota
	formatArchive
)

// input is a dump that was opened, with what is known of it from its first bytes.
type input struct {
	format   int
	path     string    // of an archive that pg_restore can open by itself; else empty
	dir      bool      // the path is a directory
	tar      bool      // the archive is a tar
	version  string    // of an archive
	r        io.Reader // the text, or the archive, unpacked
	estimate int64     // of bytes of temporary files
	cancel   func()    // ends what reads
	closers  []func()
}

func (in *input) close() {
	in.cancel()
	for i := len(in.closers) - 1; i >= 0; i-- {
		in.closers[i]()
	}
	in.closers = nil
}

// sniffed is how many bytes of a dump are looked at.
const sniffed = 4096

// openInput opens a dump and finds out what it is.
func openInput(ctx context.Context, o Options) (in *input, err error) {
	ctx, cancel := context.WithCancel(ctx)
	in = &input{cancel: cancel}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	raw, size := o.Stdin, int64(-1)
	if o.Path != "-" {
		f, err := os.Open(o.Path)
		if err != nil {
			return in, fmt.Errorf("cannot be opened: %w", pathless(err))
		}
		in.closers = append(in.closers, func() { f.Close() })
		info, err := f.Stat()
		if err != nil {
			return in, fmt.Errorf("cannot be opened: %w", pathless(err))
		}
		if info.IsDir() {
			return in, in.directory(o.Path)
		}
		if raw = f; info.Mode().IsRegular() {
			size, in.path = info.Size(), o.Path
		}
	}
	bar := o.Progress.Begin("dump", size)
	in.closers = append(in.closers, bar.End)
	raw = ahead(ctx, &counted{raw, bar})
	head, err := peek(raw)
	if err != nil {
		return in, err
	}
	in.r = io.MultiReader(bytes.NewReader(head), raw)
	packed, err := in.unpack(ctx, head)
	if err != nil {
		return in, err
	}
	if in.estimate = size / 8; packed {
		in.path, in.estimate = "", size/2
		// Errors of the unpacker are those of the text.
		unpacked := ahead(ctx, in.r)
		if head, err = peek(unpacked); err != nil {
			return in, fmt.Errorf("cannot be unpacked: %w", err)
		}
		in.r = io.MultiReader(bytes.NewReader(head), unpacked)
	}
	return in, in.recognize(head, size)
}

// peek reads the first bytes.
func peek(r io.Reader) ([]byte, error) {
	head := make([]byte, sniffed)
	n, err := readFull(r, head)
	switch {
	case n == 0 && err == io.EOF:
		return nil, errors.New("is empty")
	case err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF): // that comes again where it is read on
		return nil, err
	case errors.Is(err, io.ErrUnexpectedEOF) && n == 0:
		return nil, errors.New("ends within the first bytes of its compression: it was cut off")
	}
	return head[:n], nil
}

// unpack puts what unpacks before the reader, if the first bytes are those of a compression.
func (in *input) unpack(ctx context.Context, head []byte) (packed bool, err error) {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in.r)
		if err != nil {
			return true, fmt.Errorf("cannot be unpacked: gzip: %w", err)
		}
		in.r = z
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(head) > 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		z, err := zstd.NewReader(in.r, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(1<<27))
		if err != nil {
			return true, fmt.Errorf("cannot be unpacked: zstd: %w", err)
		}
		in.r, in.closers = z, append(in.closers, z.Close)
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		p, err := start(ctx, program{name: "xz", args: []string{"-dc", "-T0"}, stdin: in.r,
			missing: "needs the program xz, which is not there: install it, or unpack elsewhere and give the dump by a pipe (--from-dump -)"})
		if err != nil {
			return true, err
		}
		in.r, in.closers = p, append(in.closers, p.stop)
	default:
		return false, nil
	}
	return true, nil
}

// others are files that are no dump, or one in a shape that is not read.
var others = []struct{ magic, what string }{
	{"BZh", "is compressed by bzip2: give it by a pipe (bzcat FILE | kojisnap pull --from-dump -)"},
	{"\x04\x22\x4d\x18", "is compressed by lz4: give it by a pipe (lz4 -dc FILE | kojisnap pull --from-dump -)"},
	{"PK\x03\x04", "is a zip archive: give what is in it by a pipe (unzip -p FILE | kojisnap pull --from-dump -)"},
	{"\x1f\x8b", "is compressed twice: unpack it once"},
	{"\x28\xb5\x2f\xfd", "is compressed twice: unpack it once"},
	{"\xfd7zXZ\x00", "is compressed twice: unpack it once"},
	{"SQLite format 3\x00", "is a database of SQLite: a dump by pg_dump is wanted"},
	{"PRAGMA ", "is a dump of SQLite: one by pg_dump, of Koji's database, is wanted"},
	{"-- MySQL dump", "is a dump of MySQL: one by pg_dump, of Koji's database, is wanted"},
	{"-- MariaDB dump", "is a dump of MariaDB: one by pg_dump, of Koji's database, is wanted"},
	{"/*M!", "is a dump of MariaDB: one by pg_dump, of Koji's database, is wanted"},
	{"\x85\x02", "is encrypted by OpenPGP: decrypt it, and give it by a pipe (gpg -d FILE | kojisnap pull --from-dump -)"},
	{"-----BEGIN PGP", "is encrypted by OpenPGP: decrypt it, and give it by a pipe (gpg -d FILE | kojisnap pull --from-dump -)"},
}

// recognize finds the format.
func (in *input) recognize(head []byte, size int64) error {
	if v, ok := archiveVersion(head); ok {
		in.format, in.version, in.estimate = formatArchive, v, max(in.estimate, size/2)
		return nil
	}
	if len(head) > 262 && bytes.HasPrefix(head, []byte("toc.dat\x00")) && bytes.HasPrefix(head[257:], []byte("ustar")) {
		if in.path == "" {
			return errors.New("is an archive in tar format, which pg_restore reads only from a file that is not compressed")
		}
		in.format, in.tar = formatArchive, true
		in.version, _ = archiveVersion(head[min(512, len(head)):])
		return nil
	}
	for _, o := range others {
		if bytes.HasPrefix(head, []byte(o.magic)) {
			return errors.New(o.what)
		}
	}
	for line := range bytes.Lines(head) {
		switch text := string(bytes.TrimRight(line, "\n")); text {
		case header, clusterHeader:
			return nil
		case header + "\r":
			return errors.New("has lines that end in CR LF: copy it as it is, not as text")
		}
	}
	if len(head) < sniffed && bytes.HasPrefix([]byte("--\n"+header+"\n"), head) {
		return fmt.Errorf("ends within its first lines, at byte %d: it was cut off", len(head))
	}
	return fmt.Errorf("is none that pg_dump made: its first lines have no %q", header)
}

// archiveVersion reads the version of an archive, as 1.14.
func archiveVersion(head []byte) (string, bool) {
	if len(head) < 7 || !bytes.HasPrefix(head, []byte("PGDMP")) {
		return "", false
	}
	return fmt.Sprintf("%d.%d", head[5], head[6]), true
}

// directory looks at a directory that pg_dump -Fd made.
func (in *input) directory(path string) error {
	f, err := os.Open(filepath.Join(path, "toc.dat"))
	if err != nil {
		return fmt.Errorf("is a directory without a readable toc.dat, so none that pg_dump -Fd made: %w", pathless(err))
	}
	defer f.Close()
	head := make([]byte, 16)
	n, _ := readFull(f, head)
	v, ok := archiveVersion(head[:n])
	if !ok {
		return errors.New("is a directory whose toc.dat is not pg_dump's")
	}
	in.format, in.path, in.dir, in.version = formatArchive, path, true, v
	return nil
}

// pathless is an error without the path, which the message has already.
func pathless(err error) error {
	if e := (*os.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// counted tells progress of the bytes that pass.
type counted struct {
	io.Reader
	bar progress.Counter
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bar.Add(int64(n))
	return n, err
}
