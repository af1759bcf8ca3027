package hardlink

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/lockfile"
)

// tempDirName is what directories of temporary names are called, on the copy volume. The first has no
// number; where one cannot be removed (a file that is open on NFS, one that is immutable, a mount)
// the next run uses another.
const tempDirName = ".kojisnap-tmp"

// temps are the directories of temporary names that are there.
func (e *Engine) temps(volume string) []string {
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
func (e *Engine) clearTemp(volume string) {
	for _, dir := range e.temps(volume) {
		e.removeTemp(dir)
	}
}

// freeTemp is a name of a directory of temporary names that is free.
func (e *Engine) freeTemp(volume string) (string, error) {
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
func (e *Engine) removeTemp(dir string) {
	if err := e.top.RemoveAll(dir); err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the path is said
		}
		e.opts.Log.Warn("temporary files are left; the next run tries again to remove them", "path", e.top.Join(dir), "err", err)
	}
}

// tidy removes what a run left that was killed when all was done but that.
func (e *Engine) tidy(volume string) {
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
