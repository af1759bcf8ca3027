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

// reserve returns how much of a file system stays free for staging's own hub, which works while files are
// copied.
func reserve(room topdir.Room) int64 { return min(room.Size/100, 1<<30) }

// checkSpace returns an error if the builds do not fit. It is called for all before anything is written, and
// before each batch, because others write, too. It cannot know how many bytes reflinks will save.
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

// space returns what builds need on the disk. Hard links need nothing.
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

// mayClone reports whether a source may be on a file system that shares blocks with topdir's.
func (e *Engine) mayClone() bool {
	if !canClone(e.top.Path()) {
		return false
	}
	var top, st unix.Statfs_t
	if unix.Statfs(e.top.Path(), &top) != nil {
		return true
	}
	for _, source := range e.opts.Sources { // a URL is no directory
		if unix.Statfs(source, &st) == nil && st.Type == top.Type {
			return true
		}
	}
	return false
}

// full explains an error about a full disk.
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

// tempDirName is the name of the temporary directory on the copy volume. If one cannot be removed (a file in
// it is open on NFS, or immutable, or a mount), the next run appends a number.
const tempDirName = ".kojisnap-tmp"

// tempDirs are the directories of a volume in which files are made before they get their final names.
type tempDirs struct{ *Engine }

// tempSuffix sets the temporary names of a shard apart: several shards are worked on at a time.
func (e *Engine) tempSuffix() string {
	if e.opts.Shard == "" {
		return ""
	}
	return "-shard-" + e.opts.Shard
}

func (e tempDirs) name() string { return tempDirName + e.tempSuffix() }

// temps returns the temporary directories that exist.
func (e tempDirs) temps(volume string) []string {
	names, err := e.top.Names("vol/" + volume)
	if err != nil {
		return nil // making files will report it
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		number, is := strings.CutPrefix(name, e.name())
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

// clearTemp removes what killed runs left, as far as it can.
func (e tempDirs) clearTemp(volume string) {
	for _, dir := range e.temps(volume) {
		e.removeTemp(dir)
	}
}

// freeTemp returns a free name for a temporary directory.
func (e tempDirs) freeTemp(volume string) (string, error) {
	for n := 0; ; n++ {
		dir := "vol/" + volume + "/" + e.name()
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

// removeTemp removes a temporary directory. If it cannot, that is no error: the directory is in nobody's way.
func (e tempDirs) removeTemp(dir string) {
	if err := e.top.RemoveAll(dir); err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the message has the path already
		}
		e.opts.Log.Warn("temporary files are left; the next run tries again to remove them", "path", e.top.Join(dir), "err", err)
	}
}

// tidy removes temporary directories that a run left when it was killed at its very end.
func (e tempDirs) tidy(volume string) {
	left := e.temps(volume)
	if len(left) == 0 {
		return
	}
	if e.opts.Shard != "" { // the caller has its lock
		e.clearTemp(volume)
		return
	}
	unlock, err := ledger.Lock(e.top)
	if errors.Is(err, lockfile.ErrLocked) {
		return // another run uses them
	}
	if err != nil {
		e.opts.Log.Warn("temporary files are left; the next run tries again to remove them", "path", e.top.Join(left[0]), "err", err)
		return
	}
	defer unlock()
	e.clearTemp(volume)
}

// ofName reports whether an error is about a temporary file's name: it is too long for the file system, or
// another file of the build has it, perhaps in another case.
func ofName(err error) bool {
	return errors.Is(err, unix.ENAMETOOLONG) || errors.Is(err, fs.ErrExist)
}

// foldsCase finds out whether topdir's file system ignores case, as ext4 with casefold may.
func (r *run) foldsCase() {
	dir, name := path.Split(r.temp)
	_, err := r.top.Lstat(dir + strings.ToUpper(name))
	r.folds, r.dirs = err == nil, map[string]string{}
}

// collides returns the error for a build whose directory is another build's where case is ignored.
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
