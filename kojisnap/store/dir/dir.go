// Package dir is a store in a directory: an object is a file, its name the path.
package dir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/store"
)

// Store is a directory. Objects are written beside their place, synced and
// renamed, so that a crash leaves no part of one.
type Store struct{ dir string }

// Open returns the store in dir, which is created if its parent exists: a wrong
// path or a mount that is missing is an error, not a new empty store far away.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(abs, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("store %s: not a directory", dir)
	}
	return &Store{abs}, nil
}

// OpenExisting is Open for readers: a store that is not there is fs.ErrNotExist.
func OpenExisting(dir string) (*Store, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, &missingError{dir}
	} else if err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	return Open(dir)
}

// missingError says that the store to read does not exist.
type missingError struct{ dir string }

func (e *missingError) Error() string {
	return fmt.Sprintf("store %s: there is no such directory; kojisnap pull makes it, if its parent is there", e.dir)
}
func (e *missingError) Unwrap() error { return fs.ErrNotExist }

func (s *Store) String() string { return s.dir }

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, src io.ReadSeeker) error {
	return s.write(ctx, "put", name, src, durable.WriteFile)
}

// Create implements store.Creator.
func (s *Store) Create(ctx context.Context, name string, src io.ReadSeeker) error {
	return s.write(ctx, "create", name, src, durable.CreateFile)
}

func (s *Store) write(ctx context.Context, op, name string, src io.Reader, to func(string, func(io.Writer) error) error) error {
	path, err := s.path(ctx, name)
	if err != nil {
		return err
	}
	if err = durable.MkdirAll(filepath.Dir(path), 0o755); err == nil {
		err = to(path, func(w io.Writer) error {
			_, err := io.Copy(w, contextReader{ctx, src})
			return err
		})
	}
	return s.fail(op, name, err)
}

// fail says in one line what went wrong. It leaves out paths in the store, which may be those of
// temporary files: the object's name says more.
func (s *Store) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path) && strings.HasPrefix(path.Path, s.dir):
		err = path.Err
	case errors.As(err, &link) && strings.HasPrefix(link.New, s.dir):
		err = link.Err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: make room, or remove old snapshots with kojisnap prune", err)
	}
	return fmt.Errorf("%s %s in %s: %w", op, name, s.dir, err)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	path, err := s.path(ctx, name)
	if err != nil {
		return nil, err
	}
	// Opening a FIFO blocks until somebody writes to it, and would hold up a load's transaction.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, cmp.Or(err, fmt.Errorf("%s is no regular file: nothing that kojisnap makes; remove it", path))
	}
	return f, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	var entries []store.Entry
	err := s.walk(ctx, prefix, func(name string, info fs.FileInfo) error {
		if strings.HasPrefix(name, prefix) && store.CheckName(name) == nil { // else a temporary file, or not ours
			entries = append(entries, store.Entry{Name: name, Size: info.Size(), ModTime: info.ModTime()})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.dir, err)
	}
	// The walk goes by path element; names sort as strings.
	return store.Sort(entries), nil
}

// Clean implements store.Cleaner: it finds temporary files.
func (s *Store) Clean(ctx context.Context, prefix string, before time.Time, remove bool) ([]string, error) {
	var left []string
	err := s.walk(ctx, prefix, func(name string, info fs.FileInfo) error {
		dir, base := path.Split(name)
		// A temporary file's name is a dot, the object's and more.
		if !durable.IsTemp(base) || !strings.HasPrefix(dir+base[1:], prefix) || !info.ModTime().Before(before) {
			return nil
		}
		left = append(left, name)
		if !remove {
			return nil
		}
		return durable.Remove(filepath.Join(s.dir, filepath.FromSlash(name)))
	})
	if err != nil {
		return nil, fmt.Errorf("clean %s: %w", s.dir, err)
	}
	slices.Sort(left)
	return left, nil
}

// walk calls fn for the files in directories where names with a prefix can be.
func (s *Store) walk(ctx context.Context, prefix string, fn func(name string, info fs.FileInfo) error) error {
	return filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(path, s.dir), string(filepath.Separator)))
		if d.IsDir() {
			if name != "" && !strings.HasPrefix(prefix, name+"/") && !strings.HasPrefix(name+"/", prefix) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		return fn(name, info)
	})
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	path, err := s.path(ctx, name)
	if err != nil {
		return err
	}
	return s.fail("delete", name, durable.Remove(path))
}

func (s *Store) path(ctx context.Context, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := store.CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, filepath.FromSlash(name)), nil
}

// contextReader ends a copy when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
