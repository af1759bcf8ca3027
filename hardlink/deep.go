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

	"kojisnap/volumes"
)

// find says where the files of a build are of which the plan does not know the
// directory: by the ledger; or just there; or where the content generator's metadata
// say; or, of those that a listing has, the one with the right digest. lost are those
// that are nowhere.
func (d *differ) find(ctx context.Context, b volumes.Build, files []volumes.File, known *LedgerBuild) (found, lost []volumes.File, err error) {
	if !slices.ContainsFunc(files, func(f volumes.File) bool { return f.Deep }) {
		return files, nil, nil
	}
	taken := map[string]bool{}
	twice := map[string]bool{}
	for i, f := range files {
		twice[f.Path] = i > 0 && files[i-1].Path == f.Path
	}
	var metadata func() map[string]string
	var listed func() ([]string, error)
	for _, f := range files {
		if !f.Deep {
			taken[f.Path] = true
			found = append(found, f)
			continue
		}
		if metadata == nil {
			metadata, listed = d.metadata(ctx, b), d.deepList(b)
		}
		where, err := d.findOne(ctx, b, &f, known, twice[f.Path], metadata, listed)
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

func (d *differ) findOne(ctx context.Context, b volumes.Build, f *volumes.File, known *LedgerBuild, twice bool, metadata func() map[string]string, listed func() ([]string, error)) (string, error) {
	if e := known.deep(f); e != nil && !e.Absent {
		return e.Path, nil
	}
	size, err := d.stat(b, f.Path)
	if err != nil && !absent(err) {
		return "", err
	}
	flat := err == nil && (size < 0 || size == f.Size) && !twice
	if flat && size >= 0 {
		return f.Path, nil
	}
	dir, name := path.Split(f.Path)
	if sub, ok := metadata()[name+" "+f.Digest]; ok {
		return path.Join(dir, sub, name), nil
	}
	paths, err := listed()
	if err != nil {
		return "", err
	}
	for _, p := range paths {
		if !f.Sits(p) || volumes.CheckPath("file name", p) != nil {
			continue
		}
		in, err := d.open(ctx, b, p)
		if err != nil {
			return "", err
		}
		if in.size >= 0 && in.size != f.Size {
			in.close()
			continue
		}
		_, err = copyVerified(discard{}, in, *f, p)
		in.close()
		if err == nil {
			return p, nil
		}
		if different := (*DigestError)(nil); !errors.As(err, &different) {
			return "", err
		}
	}
	if flat {
		return f.Path, nil // a request will tell
	}
	return "", nil
}

// metadata reads, when asked first, where a content generator said that its files go:
// subdirectories by name and digest. They are in no database. Metadata that cannot be
// read, or lead elsewhere, say nothing.
func (d *differ) metadata(ctx context.Context, b volumes.Build) func() map[string]string {
	var subdirs map[string]string
	return func() map[string]string {
		if subdirs != nil {
			return subdirs
		}
		subdirs = map[string]string{}
		in, err := d.open(ctx, b, "metadata.json")
		if err != nil {
			return subdirs
		}
		defer in.close()
		var m struct {
			Output []struct {
				Filename, Subdir, Checksum string
				ChecksumType               string `json:"checksum_type"`
			}
		}
		const limit = 64 << 20
		if err := json.NewDecoder(io.LimitReader(in, limit)).Decode(&m); err != nil {
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

// deepList lists, when asked first, what the first source that is a directory has
// below a build's files.
func (d *differ) deepList(b volumes.Build) func() ([]string, error) {
	var paths []string
	var err error
	done := false
	return func() ([]string, error) {
		if done {
			return paths, err
		}
		done = true
		for _, s := range d.sources {
			dir, ok := s.(dirSource)
			if !ok {
				continue
			}
			for _, root := range dir.buildDirs(b) {
				if paths, err = list(root); !absent(err) {
					return paths, err
				}
			}
		}
		paths, err = nil, nil
		return paths, err
	}
}
