// Package kojiprod is the data of a real Koji hub, for tests and the demo: its recorded answers, the rows of
// its database, the facts of its schema, and its file tree. testdata/README.md says where it comes from and
// what it has.
//
// Everything is embedded, so that a test or a built program needs no path to
// this source tree.
package kojiprod

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

//go:embed testdata
var data embed.FS

// Rows returns the tables as TABLE.tsv: PostgreSQL's text format with a header
// line, ordered by primary key. It is the same value each time.
func Rows() fs.FS { return rows() }

var rows = sync.OnceValue(func() fs.FS { return sub("testdata/rows") })

// Recordings returns the recorded calls: index.json and the raw request and
// response bodies that it names.
func Recordings() fs.FS { return sub("testdata/recordings") }

// Catalog returns catalog.json: the tables, columns, constraints, sequences,
// functions and seeds of a fresh Koji 1.35 schema as PostgreSQL reports them.
func Catalog() []byte {
	b, err := data.ReadFile("testdata/catalog.json")
	if err != nil {
		panic(err) // embedded: without it the package does not build
	}
	return b
}

// ExtractTree writes the hub's topdir (packages, vol, repos, repos-dist) below
// dir, which must exist, with its modes, times and symlinks.
func ExtractTree(dir string) error {
	tree, err := unpacked()
	if err != nil {
		return fmt.Errorf("mnt-koji.tar.gz: %w", err)
	}
	for tr := tar.NewReader(bytes.NewReader(tree)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("mnt-koji.tar.gz: %w", err)
		}
		if err := extract(dir, h, tr); err != nil {
			return fmt.Errorf("extract %s: %w", h.Name, err)
		}
	}
}

// unpacked is the uncompressed archive: tests extract it many times.
var unpacked = sync.OnceValues(func() ([]byte, error) {
	f, err := data.Open("testdata/mnt-koji.tar.gz")
	if err != nil {
		panic(err)
	}
	gz, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(gz)
})

func extract(dir string, h *tar.Header, r io.Reader) error {
	name := filepath.Join(dir, h.Name) // the archive is ours: no name leads out of dir
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return os.Link(filepath.Join(dir, h.Linkname), name)
	case tar.TypeReg:
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, h.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, r); err != nil {
			f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		return os.Chtimes(name, h.ModTime, h.ModTime)
	}
	return fmt.Errorf("unexpected type %q", h.Typeflag)
}

func sub(dir string) fs.FS {
	f, err := fs.Sub(data, dir)
	if err != nil {
		panic(err)
	}
	return f
}
