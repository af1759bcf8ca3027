package hardlink

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kojisnap/volumes"
)

// source is a place that holds production's files.
type source interface {
	// open opens a file of a build. fs.ErrNotExist: it is not there.
	open(ctx context.Context, b volumes.Build, path string) (*input, error)
	// stat tells the size of a file of a build, -1 if that would cost a request.
	stat(b volumes.Build, path string) (int64, error)
}

// input is an open file of a source.
type input struct {
	io.Reader
	close func() error
	file  *os.File // nil: not a local file
	name  string   // for messages
	dev   uint64
	size  int64 // -1: not known
	mode  fs.FileMode
	mtime time.Time
	// limited makes a reader keep to the source's limits.
	limited func(io.Reader) io.Reader
}

// unchanged checks that a local file still is what it was when it was opened.
func (in *input) unchanged() error {
	info, err := in.file.Stat()
	if err != nil {
		return &sourceError{err}
	}
	if info.Size() != in.size || !info.ModTime().Equal(in.mtime) {
		return &sourceError{fmt.Errorf("read %s: %w", in.name, errChanged)}
	}
	return nil
}

// sourceOptions are of sources. RetryInterval and Log are needed.
type sourceOptions struct {
	// Open opens URLs that are not http or https; nil: there are none.
	Open          func(url string) (ObjectSource, error)
	Client        *http.Client // for URLs; nil: a default one
	Jobs          int          // requests at a time
	RetryInterval time.Duration
	SlowAfter     time.Duration
	BwLimit       int64            // bytes a second from all sources together; 0: no limit
	Limits        map[string]int64 // bytes a second of single sources, by name
	Log           *slog.Logger
}

// sourceSet is production's files at several sources, asked in turn. Its methods may be called
// concurrently.
type sourceSet struct {
	names  []string
	all    []source
	limit  *limiter
	limits map[source]*limiter
}

// openSources opens sources by their names, directories and URLs. A URL of no use is a *BadSourceError.
func openSources(names []string, o sourceOptions) (*sourceSet, error) {
	l := &sourceSet{names: names, limit: newLimiter(o.BwLimit), limits: map[source]*limiter{}}
	for _, name := range names {
		s, err := openSource(name, o)
		if err != nil {
			return nil, err
		}
		l.all = append(l.all, s)
		l.limits[s] = newLimiter(o.Limits[name])
	}
	return l, nil
}

// limited makes a reader keep to the limit that all sources have together.
func (l *sourceSet) limited(ctx context.Context, r io.Reader) io.Reader {
	return l.limit.reader(ctx, r)
}

// Waited are the names of the sources whose limit something that was read kept to, and "all" if it
// kept to that of all.
func (l *sourceSet) Waited() (names []string) {
	for i, s := range l.all {
		if own := l.limits[s]; own != nil && own.begun.Load() {
			names = append(names, l.names[i])
		}
	}
	if l.limit != nil && l.limit.begun.Load() {
		names = append(names, "all")
	}
	return names
}

// dirs are the sources that are directories.
func (l *sourceSet) dirs() (dirs []dirSource) {
	for _, s := range l.all {
		if dir, ok := s.(dirSource); ok {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// first is the first source if that is a directory, else "".
func (l *sourceSet) first() dirSource {
	dir, _ := l.all[0].(dirSource)
	return dir
}

// but are all sources but one.
func (l *sourceSet) but(one source) []source {
	return slices.DeleteFunc(slices.Clone(l.all), func(s source) bool { return s == one })
}

func openSource(name string, o sourceOptions) (source, error) {
	if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
		return newWebSource(name, o)
	}
	if strings.Contains(name, "://") {
		return newObjectSource(name, o)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("source %s: is not a directory", name)
	}
	return dirSource(filepath.Clean(name)), nil
}

// dirSource is production's topdir as a directory. It is only read. Symlinks in it
// are followed: sites have volumes on other mounts, and content is verified anyhow.
type dirSource string

func (d dirSource) open(_ context.Context, b volumes.Build, path string) (*input, error) {
	var first error
	for _, dir := range d.buildDirs(b) {
		in, err := openFile(dir + "/" + path)
		if err == nil {
			return in, nil
		}
		if first == nil {
			first = err
		}
		if !absent(err) {
			return nil, err
		}
	}
	return nil, first
}

// openFile opens a regular file, symlinks followed.
func openFile(name string) (*input, error) {
	// O_NONBLOCK: a FIFO must not hold the run.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &notRegularError{name, info.Mode().Type()}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &input{Reader: f, close: f.Close, file: f, name: name, dev: info.Sys().(*syscall.Stat_t).Dev,
		size: info.Size(), mode: info.Mode().Perm(), mtime: info.ModTime()}, nil
}

func (d dirSource) stat(b volumes.Build, path string) (int64, error) {
	var first error
	for _, dir := range d.buildDirs(b) {
		info, err := os.Stat(filepath.Join(dir, path))
		if err == nil {
			return info.Size(), nil
		}
		if first == nil {
			first = err
		}
		if !absent(err) {
			return 0, err
		}
	}
	return 0, first
}

// buildDirs are where production may have the build: on its volume, or, if it was
// moved since the snapshot, where DEFAULT's symlink leads.
func (d dirSource) buildDirs(b volumes.Build) []string {
	rel, err := b.Rel()
	if err != nil {
		return nil // the plan checked it
	}
	own := string(d) + "/" + rel
	volume, err := volumes.VolumeDir(b.Volume)
	if err != nil {
		return nil
	}
	if volume == "." {
		return []string{own}
	}
	return []string{string(d) + "/" + volume + "/" + rel, own}
}
