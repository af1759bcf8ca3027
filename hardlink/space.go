package hardlink

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/volumes/topdir"
)

// reserve is how much of a file system stays free for staging's own hub: it is at
// work while files are copied.
func reserve(room topdir.Room) int64 { return min(room.Size/100, 1<<30) }

// checkSpace refuses what cannot fit: all that is to be made before anything is
// written, and each batch before it is begun, for others write too. Where blocks can
// be shared it cannot know how many bytes that takes.
func (e *Engine) checkSpace(builds []BuildAction) error {
	bytes, files := space(builds)
	if files == 0 {
		return nil
	}
	if e.mayClone() {
		bytes = 0
	}
	room, err := e.top.Room()
	if err != nil {
		return err
	}
	if keep := reserve(room); bytes > room.Bytes-keep {
		return &SpaceError{Topdir: e.top.Path(), Need: bytes, Free: room.Bytes, Reserve: keep}
	}
	if files > room.Inodes {
		return &SpaceError{Topdir: e.top.Path(), Need: files, Free: room.Inodes, Inodes: true}
	}
	return nil
}

// space is what builds need on the disk: hard links need nothing.
func space(builds []BuildAction) (bytes, files int64) {
	for _, b := range builds {
		for _, f := range b.Files {
			if f.Op != OpLink {
				bytes += max(f.Bytes, 0)
				files++
			}
		}
	}
	return bytes, files
}

// mayClone tells whether a source may be on a file system that shares blocks with
// topdir's.
func (e *Engine) mayClone() bool {
	if !canClone(e.top.Path()) {
		return false
	}
	var top, st unix.Statfs_t
	if unix.Statfs(e.top.Path(), &top) != nil {
		return true
	}
	for _, source := range e.opts.Sources { // there is no directory with a URL's name
		if unix.Statfs(source, &st) == nil && st.Type == top.Type {
			return true
		}
	}
	return false
}

// full explains a disk that has become full.
func (e *Engine) full(err error, need int64) error {
	var known *SpaceError
	if errors.As(err, &known) || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	room, rerr := e.top.Room()
	if rerr != nil {
		return errors.Join(err, rerr)
	}
	if room.Inodes == 0 {
		return &SpaceError{Topdir: e.top.Path(), Need: 1, Inodes: true}
	}
	return &SpaceError{Topdir: e.top.Path(), Need: max(need, 1), Free: room.Bytes}
}

// tempDirName is what directories of temporary names are called, on the copy volume. The first has no
// number; where one cannot be removed (a file that is open on NFS, one that is immutable, a mount)
// the next run uses another.
const tempDirName = ".kojisnap-tmp"

// tempDirs are the directories of a volume in which files are made before they get their names.
type tempDirs struct{ *Engine }

// temps are the directories of temporary names that are there.
func (e tempDirs) temps(volume string) []string {
	names, err := e.top.Names("vol/" + volume)
	if err != nil {
		return nil // what is made there will tell
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		number, is := strings.CutPrefix(name, tempDirName)
		_, err := strconv.Atoi(strings.TrimPrefix(number, "-"))
		return !is || number != "" && err != nil
	})
	slices.Sort(names)
	for i := range names {
		names[i] = "vol/" + volume + "/" + names[i]
	}
	if dir := e.top.PackagesTemp(); dir != "" {
		if _, err := e.top.Lstat(dir); err == nil {
			names = append(names, dir)
		}
	}
	return names
}

// clearTemp removes what killed runs left, as far as that can be removed.
func (e tempDirs) clearTemp(volume string) {
	for _, dir := range e.temps(volume) {
		e.removeTemp(dir)
	}
}

// freeTemp is a name of a directory of temporary names that is free.
func (e tempDirs) freeTemp(volume string) (string, error) {
	for n := 0; ; n++ {
		dir := "vol/" + volume + "/" + tempDirName
		if n > 0 {
			dir += "-" + strconv.Itoa(n)
		}
		if _, err := e.top.Lstat(dir); source.Absent(err) {
			return dir, nil
		} else if err != nil {
			return "", err
		}
	}
}

// removeTemp removes a directory of temporary names. That it cannot is no error: it is in nobody's
// way.
func (e tempDirs) removeTemp(dir string) {
	if err := e.top.RemoveAll(dir); err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the path is said
		}
		e.opts.Log.Warn("temporary files are left; the next run tries again to remove them", "path", e.top.Join(dir), "err", err)
	}
}

// tidy removes what a run left that was killed when all was done but that.
func (e tempDirs) tidy(volume string) {
	left := e.temps(volume)
	if len(left) == 0 {
		return
	}
	unlock, err := ledger.Lock(e.top)
	if errors.Is(err, lockfile.ErrLocked) {
		return // they are in use
	}
	if err != nil {
		e.opts.Log.Warn("temporary files are left; the next run tries again to remove them", "path", e.top.Join(left[0]), "err", err)
		return
	}
	defer unlock()
	e.clearTemp(volume)
}

// ofName tells whether an error is about a temporary file's name: it is too long for the file
// system, or there already: another file of the build has it, or one that differs only in case.
func ofName(err error) bool {
	return errors.Is(err, unix.ENAMETOOLONG) || errors.Is(err, fs.ErrExist)
}

// foldsCase finds out whether topdir's file system ignores case, as ext4 with casefold may.
func (r *run) foldsCase() {
	dir, name := path.Split(r.temp)
	_, err := r.top.Lstat(dir + strings.ToUpper(name))
	r.folds, r.dirs = err == nil, map[string]string{}
}

// collides is the error of a build whose directory would be another's.
func (r *run) collides(m *making) error {
	if !r.folds {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	nvr, dir := m.Build.NVR(), strings.ToLower(m.Dir)
	if other, ok := r.dirs[dir]; ok && other != nvr {
		return leftOut(m.Build, fmt.Errorf("its directory differs from that of %q in case alone, and topdir's file system ignores case", other))
	}
	r.dirs[dir] = nvr
	return nil
}
