package hardlink

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

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
