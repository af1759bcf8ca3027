package source

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

	"golang.org/x/time/rate"

	"kojisnap/hardlink/content"
	"kojisnap/volumes"
)

// Source is a place that holds production's files.
type Source interface {
	// Open opens a file of a build. If there is none, it returns fs.ErrNotExist.
	Open(ctx context.Context, b volumes.Build, path string) (*Input, error)
	// Stat returns the size of a file of a build, or -1 if finding out takes a request.
	Stat(b volumes.Build, path string) (int64, error)
}

// Input is an open file of a source.
type Input struct {
	io.Reader
	Close func() error
	File  *os.File // nil if it is not a local file
	Name  string   // for messages
	Dev   uint64
	Size  int64 // -1: unknown
	Mode  fs.FileMode
	Mtime time.Time
	// Limited makes a reader keep the source's limits.
	Limited func(io.Reader) io.Reader
}

// Unchanged checks that a local file has not changed since it was opened.
func (in *Input) Unchanged() error {
	info, err := in.File.Stat()
	if err != nil {
		return &content.ReadError{Err: err}
	}
	if info.Size() != in.Size || !info.ModTime().Equal(in.Mtime) {
		return &content.ReadError{Err: fmt.Errorf("read %s: %w", in.Name, ErrChanged)}
	}
	return nil
}

// Options of a Set. RetryInterval and Log are required.
type Options struct {
	// Open opens URLs other than http and https; nil: there are none.
	Open          func(url string) (Objects, error)
	Client        *http.Client // for URLs; nil: a default one
	Jobs          int          // requests at a time
	RetryInterval time.Duration
	SlowAfter     time.Duration
	BwLimit       int64            // bytes a second from all sources together; 0: no limit
	Limits        map[string]int64 // bytes a second of single sources, by name
	// Requests are files a second of single sources, by name. A download that is resumed does not count again.
	Requests map[string]float64
	Log      *slog.Logger
}

// Set gives production's files from several sources, asked in turn. Its methods may be called concurrently.
type Set struct {
	names  []string
	All    []Source
	limit  *limiter
	limits map[Source]*limiter

	requests map[Source]*rate.Limiter
}

// Open opens sources by their names: directories, as paths or file:// URLs, and other URLs. An unusable URL is a *URLError.
func Open(names []string, o Options) (*Set, error) {
	l := &Set{names: names, limit: newLimiter(o.BwLimit), limits: map[Source]*limiter{}, requests: map[Source]*rate.Limiter{}}
	for _, name := range names {
		s, err := openSource(name, o)
		if err != nil {
			return nil, err
		}
		if w, ok := s.(*webSource); ok {
			w.turn = func(ctx context.Context) error { return l.turn(ctx, w) }
		}
		l.All = append(l.All, s)
		l.limits[s] = newLimiter(o.Limits[name])
		l.requests[s] = newRequests(o.Requests[name])
	}
	return l, nil
}

// Limit makes a reader keep the limit of all sources together.
func (l *Set) Limit(ctx context.Context, r io.Reader) io.Reader {
	return l.limit.reader(ctx, r)
}

// Waited returns the names of the sources whose limit slowed a reader, and "all" if the common limit did.
func (l *Set) Waited() (names []string) {
	for i, s := range l.All {
		if own := l.limits[s]; own != nil && own.begun.Load() {
			names = append(names, l.names[i])
		}
	}
	if l.limit != nil && l.limit.begun.Load() {
		names = append(names, "all")
	}
	return names
}

// Dirs returns the sources that are directories.
func (l *Set) Dirs() (dirs []Dir) {
	for _, s := range l.All {
		if dir, ok := s.(Dir); ok {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// First returns the first source if it is a directory, otherwise "".
func (l *Set) First() Dir {
	dir, _ := l.All[0].(Dir)
	return dir
}

// But returns all sources except one.
func (l *Set) But(one Source) []Source {
	return slices.DeleteFunc(slices.Clone(l.All), func(s Source) bool { return s == one })
}

func openSource(name string, o Options) (Source, error) {
	if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
		return newWebSource(name, o)
	}
	if dir, ok := strings.CutPrefix(name, partScheme); ok {
		if !filepath.IsAbs(dir) {
			return nil, &URLError{fmt.Errorf("%q: want %s and an absolute path, as file:///srv/carried", name, partScheme)}
		}
		name = dir
	} else if strings.Contains(name, "://") {
		return newObjectSource(name, o)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("source %s: is not a directory", name)
	}
	return Dir(filepath.Clean(name)), nil
}

// partScheme begins the name of a directory that has only a part of production's tree, such as what was carried over.
// Such a directory is never taken for the read-only volume, as a path without a scheme can be.
const partScheme = "file://"

// Dir is a directory with production's topdir. It is only read. Symlinks in it are followed: sites have
// volumes on other mounts, and all content is verified.
type Dir string

func (d Dir) Open(_ context.Context, b volumes.Build, path string) (*Input, error) {
	return d.first(b, func(dir string) (*Input, error) { return OpenFile(dir + "/" + path) })
}

// first opens a file in the first of a build's directories that has it.
func (d Dir) first(b volumes.Build, open func(dir string) (*Input, error)) (*Input, error) {
	var first error
	for _, dir := range d.BuildDirs(b) {
		in, err := open(dir)
		if err == nil {
			return in, nil
		}
		if first == nil {
			first = err
		}
		if !Absent(err) {
			return nil, err
		}
	}
	return nil, first
}

// OpenFile opens a regular file. It follows symlinks.
func OpenFile(name string) (*Input, error) {
	// O_NONBLOCK: opening a FIFO must not block.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return inputOf(f, name)
}

// inputOf returns an open file as an Input, if it is a regular one; otherwise it closes it.
func inputOf(f *os.File, name string) (*Input, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &notRegularError{name, info.Mode().Type()}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Input{Reader: f, Close: f.Close, File: f, Name: name, Dev: info.Sys().(*syscall.Stat_t).Dev,
		Size: info.Size(), Mode: info.Mode().Perm(), Mtime: info.ModTime()}, nil
}

func (d Dir) Stat(b volumes.Build, path string) (int64, error) {
	var first error
	for _, dir := range d.BuildDirs(b) {
		info, err := os.Stat(filepath.Join(dir, path))
		if err == nil {
			return info.Size(), nil
		}
		if first == nil {
			first = err
		}
		if !Absent(err) {
			return 0, err
		}
	}
	return 0, first
}

// BuildDirs returns where production may have the build: on its volume or, if it was moved since the
// snapshot, where the symlink on DEFAULT leads.
func (d Dir) BuildDirs(b volumes.Build) []string {
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
