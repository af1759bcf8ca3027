package verify

import (
	"context"
	"crypto/md5"
	"encoding/hex"
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

	"kojisnap/hardlink"
	"kojisnap/volumes"
)

// fileState is the file that a compose takes for an rpm.
type fileState struct {
	path   string // absolute; empty: there is none
	rel    string // below topdir
	size   int64  // bytes
	class  fileClass
	err    error  // why it will not do
	digest bool   // the error is that its content is another
	wanted string // below topdir: the file that it is to be, where its build is on the copy volume
	none   bool   // the error is that production has no copy that a compose may take
	away   bool   // the error is that this site does not have the volume, as Want.Unmounted says
}

// fileClass is what decides whether a file can be linked: of each class one is tried.
type fileClass struct {
	volume   string
	dev      uint64
	uid, gid uint32
	mode     fs.FileMode
}

// local reports whether files on a volume are staging's own, which a compose links.
func (v *verifier) local(volume string) bool {
	return volume == "" || volume == volumes.DefaultVolume || volume == v.CopyVolume
}

// readFiles looks at the file of every rpm, once, as the compose user.
func (v *verifier) readFiles(ctx context.Context) error {
	var rpms []*taggedRPM
	v.eachTag(func(_ string, l *listing) {
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
	// The goroutines fill states that are there already: the map is only read.
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
			v.result.suspects = append(v.result.suspects, s.wanted)
		case s.err == nil && s.path != "":
			v.class(s)
		}
	}
	return nil
}

// look finds the file that a compose takes for an rpm, as Pungi does: the first that exists of the
// signed copies in the order of the keys, then, if "" is among the keys or there are none, of the
// unsigned rpm. It has to be the very copy that production's signatures give, which is the one that was
// copied.
func (v *verifier) look(r *taggedRPM) fileState {
	s, wanted := v.find(r)
	if wanted != nil && r.build.volume == v.CopyVolume {
		s.wanted = wanted.dir + "/" + wanted.file.Path
	}
	s.away = s.err != nil && !s.none && v.unmounted(r.build.volume)
	return s
}

// unmounted tells whether a volume of staging's leads to one of production's that this site never has.
func (v *verifier) unmounted(volume string) bool {
	return slices.ContainsFunc(v.Unmounted, func(name string) bool { return v.Mapping().Staging(name) == volume })
}

// find also returns the copy that is expected, nil if there is none.
func (v *verifier) find(r *taggedRPM) (s fileState, expected *candidate) {
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

// exists is nil if a path leads to a file, as it does for the hub: what is below its topdir is
// here below ours.
func (v *verifier) exists(path string) error {
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

// errUnsigned says that of an rpm there is no copy that a compose may take.
func (v *verifier) errUnsigned() error {
	return fmt.Errorf("production has no copy signed by these keys (%s); --sigkey '' allows unsigned ones", strings.Join(v.keys(), ", "))
}

// keys are the wanted keys without "".
func (v *verifier) keys() []string {
	return slices.DeleteFunc(slices.Clone(v.SigKeys), func(key string) bool { return key == "" })
}

// candidate is a copy of an rpm that a compose may take.
type candidate struct {
	dir    string // of the build, below topdir
	file   volumes.File
	known  bool // there is a signature row of the key, or it is the unsigned rpm
	wanted bool // the one that the plan of files chose; all, if no hub said which signatures there are
}

func (c candidate) what() string {
	if c.file.Kind == volumes.KindRPM {
		return "the unsigned rpm"
	}
	return "the copy signed by " + c.file.Key
}

// copies are what a compose looks for, in order. Of an rpm that production does not have, staging's
// signatures count.
func (v *verifier) copies(r *taggedRPM) ([]candidate, error) {
	b := volumes.Build{Name: r.build.name, Version: r.build.version, Release: r.build.release, Volume: r.build.volume}
	dir, err := b.Dir()
	if err != nil {
		return nil, err
	}
	rpm := volumes.RPM{Name: r.name, Version: r.version, Release: r.release, Arch: r.arch}
	digest, err := volumes.RPMDigest(r.payloadHash)
	if err != nil {
		return nil, fmt.Errorf("the database's payloadhash: %w: what the file holds cannot be checked", err)
	}
	production, told := v.sigs[r.id]
	if !told {
		production, told = v.rows[r.id]
	}
	chosen := false
	var list []candidate
	for _, key := range v.keys() {
		path, err := rpm.SignedPath(key)
		if err != nil {
			return nil, err
		}
		c := candidate{dir: dir, file: volumes.File{Path: path, Kind: volumes.KindSigned, Size: -1, Digest: digest, Key: strings.ToLower(key)}}
		of := func(s signature) bool { return strings.EqualFold(s.key, key) }
		if i := slices.IndexFunc(production, of); i >= 0 {
			c.known, c.wanted, chosen = true, !chosen, true
			if hash := production[i].hash; isHex(hash, md5.Size) { // a hub does not tell it
				c.file.SigDigest = "md5:" + strings.ToLower(hash)
			}
		}
		c.known = c.known || !told || slices.ContainsFunc(v.rows[r.id], of)
		c.wanted = c.wanted || !told
		list = append(list, c)
	}
	if len(list) == 0 || slices.Contains(v.SigKeys, "") {
		path, err := rpm.Path()
		if err != nil {
			return nil, err
		}
		var headers []volumes.Signature
		for _, s := range production {
			headers = append(headers, volumes.Signature{Key: s.key, Hash: s.hash})
		}
		f := volumes.File{Path: path, Kind: volumes.KindRPM, Size: r.size, Digest: digest, Headers: volumes.Headers(headers)}
		list = append(list, candidate{dir: dir, file: f, known: true, wanted: !chosen})
	}
	return list, nil
}

// isHex reports whether s is so many bytes in hex.
func isHex(s string, bytes int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == bytes
}

// examine checks a file that exists.
func (v *verifier) examine(path string, c candidate, volume string) fileState {
	s := fileState{path: path, rel: c.dir + "/" + c.file.Path}
	fail := func(err error) fileState {
		s.err = err
		var digest *hardlink.DigestError
		s.digest = errors.As(err, &digest)
		return s
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fail(err)
	}
	if !info.Mode().IsRegular() {
		// link(2) does not follow it: the repository would hold a symlink, or nothing.
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
	if err := hardlink.Check(f, info.Size(), c.file, path, v.Digest); err != nil {
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
