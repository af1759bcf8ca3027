package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kojisnap/volumes"
	"kojisnap/volumes/clone"
)

// CloneStale reports whether the clone of production's tree can no longer be used, or does not show what it was made of.
func (r *Result) CloneStale() bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Name == "clone" && c.Status == StatusFailed })
}

// cloneFinder knows the clone of production's tree that staging's volume shows, if it shows one.
type cloneFinder struct {
	note *clone.Note // nil: there is none
	err  error       // why that is not known
}

func (v *verifier) findClone() cloneFinder {
	n, err := clone.Current(v.Topdir, v.Mapping().Staging(volumes.DefaultVolume))
	return cloneFinder{n, err}
}

// stale returns why a file that a compose cannot take is not as the clone had it: the tree below is gone, or was changed.
// Empty: the clone is not to blame.
func (v *verifier) stale(f cloneFinder, s fileState) string {
	if f.note == nil || s.err == nil {
		return ""
	}
	if errors.Is(s.err, syscall.ESTALE) {
		return s.err.Error()
	}
	var failed *fs.PathError
	path := s.path
	if path == "" && errors.As(s.err, &failed) {
		path = failed.Path
	}
	rel, inside := strings.CutPrefix(path, filepath.Join(v.Topdir, "vol", f.note.Volume)+"/")
	if !inside || f.note.Lower == nil {
		return ""
	}
	if errors.Is(s.err, syscall.EIO) { // the clone has the inode, and no content
		if _, err := os.Lstat(filepath.Join(f.note.Lower.Path, rel)); err != nil {
			return fmt.Sprintf("%s is gone, or cannot be read: %v", rel, err)
		}
	}
	have, _ := os.Lstat(path)
	return f.note.Lower.FileStale(rel, have, f.note.Made)
}

// checkClone reports the clone: that it is there, and shows what it was made of.
func (v *fileChecks) checkClone() {
	c := Check{Name: "clone", Count: 1}
	switch {
	case v.clone.err != nil:
		c.bad("%v", v.clone.err)
		c.Detail = "what the volume shows cannot be found out"
	case v.clone.note == nil:
		return
	default:
		c.Detail = fmt.Sprintf("%s, by %s", v.clone.note.ID, v.clone.note.Provider)
		if err := v.clone.note.Check(); err != nil {
			c.Detail, c.Bad = err.Error(), 1
		}
		v.eachStale(&c)
	}
	v.add(c, StatusFailed)
}

// eachStale adds the files that the clone no longer has as it was made.
func (v *fileChecks) eachStale(c *Check) {
	n := 0
	for _, s := range v.states {
		if s.stale == "" {
			continue
		}
		if n++; c.Bad < n {
			c.Count, c.Bad = max(c.Count, n), n-1
			c.bad("%s: %s", s.rel, s.stale)
		}
	}
	if n > 0 && !strings.Contains(c.Detail, "clone stale") {
		c.Detail = (&clone.StaleError{ID: v.clone.note.ID, Reason: fmt.Sprintf("%d files are not as they were when it was made", n)}).Error()
	}
}

// besides returns the directories of production's tree, as a compose directory must not be in. All else in a clone is
// for composes.
func besides(note *clone.Note, tree string) []string {
	if note == nil || !sameDir(note.Path, tree) {
		return []string{tree}
	}
	return []string{filepath.Join(tree, "packages"), filepath.Join(tree, "vol"), filepath.Join(tree, "repos"), filepath.Join(tree, "repos-dist"),
		filepath.Join(tree, "work"), filepath.Join(tree, "scratch")}
}

func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	y, berr := os.Stat(b)
	return err == nil && berr == nil && os.SameFile(x, y)
}

// base returns the directory in which links are tried if there is no compose directory: in a clone, where composes are
// made, or else topdir.
func (f cloneFinder) base(topdir string) string {
	switch {
	case f.note == nil:
		return topdir
	case f.note.Compose != "":
		return f.note.Compose
	}
	return f.note.Path
}

// inClone reports whether a directory is in the clone.
func (f cloneFinder) inClone(dir string) bool {
	if f.note == nil {
		return false
	}
	rel, err := filepath.Rel(f.note.Path, dir)
	return err == nil && filepath.IsLocal(rel)
}

// meter measures what a trial writes on the disk of the clone.
type meter struct {
	dir    string
	before int64
	err    error
}

func newMeter(dir string) *meter {
	m := &meter{dir: dir}
	m.before, m.err = usedBytes(dir)
	return m
}

// written returns the bytes that are in use now and were not before; other writers on the disk count, too.
func (m *meter) written() (int64, error) {
	if m.err != nil {
		return 0, m.err
	}
	after, err := usedBytes(m.dir)
	return max(0, after-m.before), err
}

// usedBytes returns how many bytes the file system that takes what is written in a directory has in use.
func usedBytes(dir string) (int64, error) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return 0, &os.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize, nil
}

// checkCloneLinks reports whether the trial's links in a clone are links, and what they cost. Copies of data, though
// link(2) worked, are a warning: composes take that much room, and time.
func (v linkChecks) checkCloneLinks(m *meter, trees []string, copied int) {
	c := Check{Name: "clone links"}
	var linked, own int64
	var single []string
	for _, dir := range trees {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			if !strings.HasSuffix(path, ".rpm") { // metadata
				own += info.Size()
				return nil
			}
			c.Count++
			linked += info.Size()
			if info.Sys().(*syscall.Stat_t).Nlink < 2 {
				single = append(single, path)
			}
			return nil
		})
		if err != nil {
			c.bad("%v", err)
		}
	}
	if len(single) > copied { // what is on another mount than the clone is copied
		for _, path := range single {
			c.bad("%s: is no hard link", path)
		}
	}
	written, err := m.written()
	switch {
	case err != nil:
		c.bad("%v", err)
	case linked > 0 && written > own+linked/2+64<<20:
		c.bad("links copy the data: %d bytes were written for links of %d; was the clone made by this kojisnap?", written, linked)
	}
	c.Detail = fmt.Sprintf("links of %d bytes; %d bytes were written on the disk, %d of them metadata", linked, written, own)
	v.add(c, StatusWarning)
}
