package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"

	"kojisnap/hardlink/content"
)

// fileState is the file that a compose takes for an rpm.
type fileState struct {
	path   string // absolute; empty: there is none
	rel    string // below topdir
	size   int64  // bytes
	class  fileClass
	err    error  // why a compose cannot take it
	stale  string // why the clone of production's tree no longer has it as it was
	digest bool   // err says that its content is not as the database says
	wanted string // below topdir: the file that should be there, if its build is on the copy volume
	none   bool   // err says that production has no copy that a compose may take
	away   bool   // err says that this site does not have the volume, as Want.Unmounted says
}

// fileClass is what decides whether a file can be linked. Of each class one file is tried.
type fileClass struct {
	volume   string
	dev      uint64
	uid, gid uint32
	mode     fs.FileMode
}

// readFiles looks at the file of every rpm, once, as the compose user.
func (v *fileChecks) readFiles(ctx context.Context) error {
	var rpms []*taggedRPM
	v.eachListing(func(_ string, l *listing) {
		for i := range l.rpms {
			r := &l.rpms[i]
			if v.states[r.id] == nil && v.takes(r.arch) && !r.metadataOnly {
				v.states[r.id] = &fileState{}
				rpms = append(rpms, r)
			}
		}
	})
	counter := v.progress.Begin("verify files", int64(len(rpms)))
	defer counter.End()
	// The goroutines fill states that exist already, and only read the map.
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range v.Jobs {
		g.Go(func() error {
			return v.user.Do(func() error {
				for ctx.Err() == nil {
					i := int(next.Add(1)) - 1
					if i >= len(rpms) {
						return nil
					}
					*v.states[rpms[i].id] = v.look(rpms[i])
					counter.Add(1)
				}
				return ctx.Err()
			})
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, r := range rpms {
		switch s := v.states[r.id]; {
		case s.err != nil && s.wanted != "":
			v.needsRecheck(s.wanted)
		case s.err == nil && s.path != "":
			v.count(s)
		}
	}
	return nil
}

// look finds the file that a compose takes for an rpm, as Pungi does: the first that exists of the signed
// copies, in the order of the keys, and of the unsigned rpm if "" is among the keys or there are none. It must
// be the copy that production's signatures give, because that is the one that was copied.
func (v *fileChecks) look(r *taggedRPM) fileState {
	s, wanted := v.find(r)
	if wanted != nil && r.build.volume == v.CopyVolume {
		s.wanted = wanted.dir + "/" + wanted.file.Path
	}
	s.away = s.err != nil && !s.none && v.unmounted(r.build.volume)
	if s.stale = v.verifier.stale(v.clone, s); s.stale != "" {
		s.err, s.digest = fmt.Errorf("clone stale: %s: %w", s.stale, s.err), false
	}
	return s
}

// unmounted reports whether a volume of staging's stands for one of production's that this site never mounts.
func (v *fileChecks) unmounted(volume string) bool {
	return slices.ContainsFunc(v.Unmounted, func(name string) bool { return v.Mapping().Staging(name) == volume })
}

// find is look without what the volume adds. It also returns the copy that is expected, nil if there is none.
func (v *fileChecks) find(r *taggedRPM) (s fileState, expected *candidate) {
	copies, err := v.copies(r)
	if err != nil {
		return fileState{err: err}, nil
	}
	wanted := slices.IndexFunc(copies, func(c candidate) bool { return c.wanted })
	if wanted < 0 {
		return fileState{err: v.errUnsigned(), none: true}, nil
	}
	expected = &copies[wanted]
	var missing error
	for i, c := range copies {
		path := filepath.Join(v.Topdir, c.dir, c.file.Path)
		err := v.exists(path)
		switch {
		case err == nil && missing != nil && !c.wanted:
			return fileState{err: fmt.Errorf("%w; a compose takes %s instead", missing, c.what())}, expected
		case err == nil && !c.known:
			return fileState{err: fmt.Errorf("%s is there, and a compose takes it, but nobody has a signature row of key %s", path, c.file.Key)}, expected
		case err == nil:
			return v.examine(path, c, r.build.volume), expected
		case isSymlink(path):
			return fileState{err: fmt.Errorf("%s is a symlink that leads nowhere", path)}, expected
		case i < wanted || missing != nil:
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			missing = fmt.Errorf("%s is not there", path)
		default:
			missing = err
		}
	}
	return fileState{err: missing}, expected
}

// exists returns nil if a path leads to a file. A symlink to a path below the hub's topdir is followed below
// topdir here.
func (v *fileChecks) exists(path string) error {
	if v.HubTopdir != "" {
		target, err := os.Readlink(path)
		if below, ok := strings.CutPrefix(target, v.HubTopdir+"/"); err == nil && ok {
			path = filepath.Join(v.Topdir, below)
		}
	}
	_, err := os.Stat(path)
	return err
}

func isSymlink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// examine checks a file that exists.
func (v *fileChecks) examine(path string, c candidate, volume string) fileState {
	s := fileState{path: path, rel: c.dir + "/" + c.file.Path}
	fail := func(err error) fileState {
		s.err = err
		var digest *content.DigestError
		s.digest = errors.As(err, &digest)
		return s
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fail(err)
	}
	if !info.Mode().IsRegular() {
		// link(2) does not follow a symlink: the repository would have a symlink, or nothing.
		return fail(fmt.Errorf("%s is not a regular file but %s", path, kindOf(info.Mode())))
	}
	st := info.Sys().(*syscall.Stat_t)
	s.size = info.Size()
	s.class = fileClass{volume: volume, dev: uint64(st.Dev), uid: st.Uid, gid: st.Gid, mode: info.Mode()}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if err := content.Check(f, info.Size(), c.file, path, v.Digest); err != nil {
		return fail(err)
	}
	return s
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symlink"
	case m.IsDir():
		return "a directory"
	}
	return "a special file"
}
