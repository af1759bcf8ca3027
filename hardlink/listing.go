package hardlink

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/prodtree"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/retry"
	"kojisnap/volumes"
)

// listing is what the read-only volume has of one build. It is read at the first request.
type listing struct {
	*differ
	build volumes.StagedBuild

	done     bool
	paths    []string            // files and symlinks; empty if production has no such build
	unlisted []prodtree.Unlisted // directories that cannot be read
	regular  map[string]bool     // paths that are files; only if the first source is the read-only volume
	volume   string              // staging's volume that leads to the build
}

func (l *listing) read() {
	if l.done {
		return
	}
	l.done, l.volume = true, l.build.SourceVolume
	if l.opts.ReadOnly == "" {
		return
	}
	production := source.Dir(l.opts.ReadOnly)
	roots := production.BuildDirs(l.build.Build)
	for i, root := range roots {
		t := prodtree.NewListing(root)
		t.Above, t.Whole = above(l.build.Files), logsDir
		t.List(".")
		if t.Missing() && i+1 < len(roots) {
			continue
		}
		if i > 0 { // production has moved the build: its own symlink leads there
			l.volume = l.plan.Prod
		}
		if t.Missing() {
			break // production does not have the build
		}
		l.paths, l.unlisted = t.Paths, t.Unlisted
		if l.sources.First() == production {
			l.regular = t.Regular
		}
		break
	}
}

// has reports that the first source has a file, without a request. false: unknown.
func (l *listing) has(path string) bool {
	l.read()
	return l.regular[path]
}

// hides reports whether a file may be in a directory that cannot be read.
func (l *listing) hides(file string) bool {
	l.read()
	for _, u := range l.unlisted {
		for dir := path.Dir(file); ; dir = path.Dir(dir) {
			if dir == u.Path {
				return true
			}
			if dir == "." {
				break
			}
		}
	}
	return false
}

// above returns the directories above files.
func above(files []volumes.File) map[string]bool {
	dirs := map[string]bool{}
	for i := range files {
		for dir := path.Dir(files[i].Path); dir != "." && !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	return dirs
}

// find returns the paths of those files of a build whose directories the plan does not know. It looks in the
// ledger; at the path without a directory; in the content generator's metadata; and in a listing, for the
// file with the right digest. lost are the files that it does not find.
func (d *differ) find(ctx context.Context, b volumes.Build, files []volumes.File, known *ledger.Build) (found, lost []volumes.File, err error) {
	if !slices.ContainsFunc(files, func(f volumes.File) bool { return f.SubdirUnknown }) {
		return files, nil, nil
	}
	search := subdirSearch{differ: d, build: b, known: known, metadata: d.metadata(ctx, b), listed: d.listSources(b, files)}
	taken := map[string]bool{}
	twice := map[string]bool{}
	for i, f := range files {
		twice[f.Path] = i > 0 && files[i-1].Path == f.Path
	}
	for _, f := range files {
		if !f.SubdirUnknown {
			taken[f.Path] = true
			found = append(found, f)
			continue
		}
		where, err := search.find(ctx, &f, twice[f.Path])
		if err != nil {
			return nil, nil, err
		}
		if where == "" || taken[where] {
			lost = append(lost, f)
			continue
		}
		taken[where] = true
		f.Path = where
		found = append(found, f)
	}
	slices.SortFunc(found, func(a, b volumes.File) int { return cmp.Compare(a.Path, b.Path) })
	return found, lost, nil
}

// subdirSearch looks for files of one build whose directories are unknown.
type subdirSearch struct {
	*differ
	build    volumes.Build
	known    *ledger.Build
	metadata func() map[string]string
	listed   func() (source.Source, []string, error)
}

// find returns the path of a file, or "". twice: another file of the build has the same path in the plan.
func (s *subdirSearch) find(ctx context.Context, f *volumes.File, twice bool) (string, error) {
	if e := s.known.InSubdir(f); e != nil && !e.Absent {
		return e.Path, nil
	}
	size, err := s.sources.Stat(s.build, f.Path)
	if err != nil && !source.Absent(err) {
		return "", err
	}
	flat := err == nil && (size < 0 || size == f.Size) && !twice
	if flat && size >= 0 {
		return f.Path, nil
	}
	dir, name := path.Split(f.Path)
	if sub, ok := s.metadata()[name+" "+f.Digest]; ok {
		return path.Join(dir, sub, name), nil
	}
	from, paths, err := s.listed()
	if err != nil {
		return "", err
	}
	if p, err := s.candidate(ctx, s.build, f, from, paths); p != "" || err != nil {
		return p, err
	}
	if flat {
		return f.Path, nil // if it is another file, fetching it will show
	}
	return "", nil
}

// candidate returns which of the listed paths is the file, at this source or, failing that, at another one;
// "" if none is.
func (d *subdirSearch) candidate(ctx context.Context, b volumes.Build, f *volumes.File, from source.Source, paths []string) (string, error) {
	others := d.sources.But(from)
	for _, sources := range [][]source.Source{{from}, others} {
		for _, p := range paths {
			if len(sources) == 0 || !f.Matches(p) || volumes.CheckPath("file name", p) != nil {
				continue
			}
			err := d.sources.AskOf(ctx, sources, b, p, &source.Attempts{Build: b, Path: p}, func(in *source.Input) error {
				if in.Size >= 0 && in.Size != f.Size {
					return &content.DigestError{Path: in.Name, What: "size", Want: fmt.Sprint(f.Size), Have: fmt.Sprint(in.Size)}
				}
				_, err := content.Copy(discard{}, in, *f, p)
				return err
			})
			if err == nil {
				return p, nil
			}
			var different *content.DigestError
			var missing *source.MissingError
			if !errors.As(err, &different) && !errors.As(err, &missing) {
				return "", err
			}
		}
	}
	return "", nil
}

// metadata returns a function that reads, at its first call, the content generator's metadata: directories by
// file name and digest, which no database has. Metadata that cannot be read, or that lead outside the build,
// are ignored.
func (d *differ) metadata(ctx context.Context, b volumes.Build) func() map[string]string {
	var subdirs map[string]string
	return func() map[string]string {
		if subdirs != nil {
			return subdirs
		}
		subdirs = map[string]string{}
		const name, limit = "metadata.json", 64 << 20
		type metadata struct {
			Output []struct {
				Filename, Subdir, Checksum string
				ChecksumType               string `json:"checksum_type"`
			}
		}
		var m metadata
		err := d.sources.Ask(ctx, b, name, &source.Attempts{Build: b, Path: name}, func(in *source.Input) error {
			m = metadata{}
			if err := json.NewDecoder(io.LimitReader(in, limit)).Decode(&m); err != nil {
				return &content.ReadError{Err: fmt.Errorf("read %s: %w", in.Name, err)}
			}
			return nil
		})
		if errors.As(err, new(*source.MissingError)) || errors.As(err, new(*source.GoneError)) || errors.As(err, new(*retry.TemporaryError)) {
			return subdirs // fetching the build's files reports a failing source, once
		}
		if err != nil {
			d.opts.Log.WarnContext(ctx, "a build's metadata.json cannot be read", "build", b.NVR(), "err", err)
			return subdirs
		}
		for _, o := range m.Output {
			if volumes.CheckName("file name", o.Filename) == nil && (o.Subdir == "" || volumes.CheckPath("subdir", o.Subdir) == nil) {
				subdirs[fmt.Sprintf("%s %s:%s", o.Filename, o.ChecksumType, o.Checksum)] = o.Subdir
			}
		}
		return subdirs
	}
}

// listSources returns a function that lists, at its first call, a build's directory at the first source that
// is a directory.
func (d *differ) listSources(b volumes.Build, files []volumes.File) func() (source.Source, []string, error) {
	var from source.Source
	var paths []string
	var err error
	done := false
	return func() (source.Source, []string, error) {
		if done {
			return from, paths, err
		}
		done = true
		for _, dir := range d.sources.Dirs() {
			for _, root := range dir.BuildDirs(b) {
				t := prodtree.NewListing(root)
				t.Above = above(files)
				if t.List("."); !t.Missing() {
					from, paths = dir, t.Paths
					for _, u := range t.Unlisted {
						if err == nil && strings.HasPrefix(u.Path+"/", "files/") || u.Path == "." {
							err = u.Err // wanted files may be in what was listed
						}
					}
					return from, paths, err
				}
			}
		}
		return from, paths, err
	}
}
