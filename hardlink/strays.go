package hardlink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/prodtree"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// changeBuildVolume copies a build, writes its new volume to the database, and removes the old directory. On
// a read-only volume the last step fails and the database rolls back, but the copy stays: a stray. It blocks
// each later move of the build. On DEFAULT it is in the place of the symlink that Koji removed before.

// Stray is such a directory.
type Stray struct {
	Path   string        `json:"path"` // below topdir
	Build  volumes.Build `json:"build"`
	Volume string        `json:"volume"` // the database's volume of the build
	Files  int           `json:"files"`
	Bytes  int64         `json:"bytes"`
	// Keep says why it stays. "": production has everything that is in it, so it goes; on DEFAULT the
	// build's symlink takes its place.
	Keep string `json:"keep,omitempty"`
}

// settling is how long a copy must be unchanged before it counts as abandoned.
const settling = time.Hour

// strayCheck compares a directory in the place of a symlink with production's build.
type strayCheck struct{ *Engine }

// examine finds out whether a stray may go: production's directory of the build has everything that is in it,
// by name and size, and by mtime or content. A move that is still running looks the same. A move from the
// read-only volume is certain to fail once it has copied everything; any other move, or one that has not
// copied everything, is given time: the copy must be unchanged for a while.
func (e strayCheck) examine(s *Stray, readOnly bool) {
	if err := e.compareStray(s, readOnly); err != nil {
		s.Keep = "it cannot be compared with production's: " + err.Error()
	}
}

func (e strayCheck) compareStray(s *Stray, readOnly bool) error {
	root := ""
	for _, r := range e.productionDirs(s.Build) {
		if info, err := os.Stat(r); err == nil && info.IsDir() {
			root = r
			break
		}
	}
	if root == "" {
		s.Keep = "production does not have the build"
		return nil
	}
	var newest time.Time
	seen := func(st unix.Stat_t) {
		if t := time.Unix(st.Ctim.Unix()); t.After(newest) {
			newest = t
		}
	}
	have := map[string]bool{}
	err := e.walk(s.Path, "", func(p string) error {
		st, err := e.top.Lstat(s.Path + "/" + p)
		if err != nil {
			return err
		}
		seen(st)
		s.Files++
		s.Bytes += st.Size
		have[p] = true
		if s.Keep != "" {
			return nil
		}
		same, err := e.sameFile(s.Path+"/"+p, st, filepath.Join(root, p))
		if err == nil && !same {
			s.Keep = fmt.Sprintf("%q in it is not production's", p)
		}
		return err
	})
	if err != nil || s.Keep != "" {
		return err
	}
	if st, err := e.top.Lstat(s.Path); err == nil {
		seen(st)
	}
	all := prodtree.NewListing(root)
	if all.List("."); all.Err() != nil {
		return all.Err()
	}
	whole := !slices.ContainsFunc(all.Paths, func(p string) bool { return !have[p] })
	switch {
	case e.tree.IsWritable() || e.opts.Clone != "":
		s.Keep = "a move may be under way, since production's tree is writable"
	case !(whole && readOnly) && e.opts.Now().Sub(newest) < settling:
		s.Keep = fmt.Sprintf("a move may be under way: something in it changed less than %v ago", settling)
	}
	return nil
}

// productionDirs returns where production may have a build: on DEFAULT, where a symlink leads to its volume,
// or on the volumes that staging shows.
func (e strayCheck) productionDirs(b volumes.Build) []string {
	rel, err := b.Rel()
	if err != nil {
		return nil
	}
	dirs := []string{filepath.Join(e.opts.ReadOnly, rel)}
	for _, source := range e.volumeDirs {
		dirs = append(dirs, filepath.Join(e.opts.ReadOnly, source, rel))
	}
	return dirs
}

// sameFile reports whether a file below topdir is production's, by content or mtime.
func (e strayCheck) sameFile(rel string, st unix.Stat_t, path string) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil {
		if source.Absent(err) {
			err = nil
		}
		return false, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := e.top.Readlink(rel)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return false, err
		}
		want, err := os.Readlink(path)
		return want == target, err
	case unix.S_IFREG:
		if !info.Mode().IsRegular() || info.Size() != st.Size {
			return false, nil
		}
		if st.Mtim.Nano() == info.ModTime().UnixNano() {
			return true, nil
		}
		return e.sameContent(rel, path)
	}
	return false, nil
}

func (e strayCheck) sameContent(rel, path string) (bool, error) {
	a, err := e.top.Open(rel)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := source.OpenFile(path)
	if err != nil {
		return false, err
	}
	defer b.Close()
	var x, y [64 << 10]byte
	for {
		n, err := io.ReadFull(a, x[:])
		m, berr := io.ReadFull(b, y[:])
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		for _, err := range []error{err, berr} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return false, err
			}
		}
		if err != nil {
			return true, nil
		}
	}
}

// copiesLeft finds directories of builds on the copy volume and on other volumes of staging's own, where the
// database does not have the build.
func (d *differ) copiesLeft(ctx context.Context, a *Actions) error {
	if d.opts.Rows == nil || d.opts.ReadOnly == "" {
		return nil
	}
	own, err := d.ownVolumes()
	if err != nil {
		return err
	}
	known := slices.Clone(d.plan.Linked)
	for link := range d.ledger.Made {
		if b, ok := linkBuild(link); ok {
			known = append(known, b) // most are in both lists
		}
	}
	var found []Stray
	var builds []volumes.Build
	seen := map[string]bool{}
	for _, volume := range own {
		names, err := d.packages(volume)
		if err != nil && volume != d.plan.CopyVolume {
			a.hold(held("directory", "", "vol/"+volume+"/packages", err, asIs))
			continue
		}
		if err != nil {
			return err
		}
		for _, b := range known {
			if !names[b.Name] {
				continue
			}
			b.Volume = volume
			dir, err := b.Dir()
			if err != nil {
				return err
			}
			if d.ledger.Builds[dir] != nil || seen[dir] {
				continue
			}
			seen[dir] = true
			if st, err := d.top.Lstat(dir); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
				found = append(found, Stray{Path: dir, Build: b})
				builds = append(builds, b)
			}
		}
	}
	rows, err := d.rowsOf(ctx, builds)
	if err != nil {
		return err
	}
	for _, s := range found {
		s.Volume = rows[s.Build.NVR()]
		if s.Volume == s.Build.Volume || !d.managed[s.Volume] {
			continue // the database has it there, or could not tell, or staging decided
		}
		strayCheck{d.Engine}.examine(&s, s.Volume != d.plan.CopyVolume)
		d.going[s.Path] = s.Keep == ""
		a.Strays = append(a.Strays, s)
	}
	return nil
}

// ownVolumes returns the names below vol that are directories of staging's.
func (d *differ) ownVolumes() (own []string, err error) {
	list, err := d.top.ReadDir("vol")
	if source.Absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if name := e.Name(); e.IsDir() && (name == d.plan.CopyVolume || !d.managed[name]) && volumes.CheckName("volume", name) == nil {
			own = append(own, name)
		}
	}
	return own, nil
}

// packages returns the names in a volume's packages directory, if that is staging's own.
func (d *differ) packages(volume string) (map[string]bool, error) {
	names, err := d.names("vol/" + volume + "/packages")
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) { // a symlink or another mount: kojisnap changes nothing there
		return nil, nil
	}
	return names, err
}

// removeStrays removes the strays that are unchanged since Diff found them.
func (r *run) removeStrays(strays []Stray) error {
	for _, s := range strays {
		if s.Keep != "" || s.Build.Volume == "" { // a symlink replaces one on DEFAULT
			continue
		}
		again := Stray{Path: s.Path, Build: s.Build}
		strayCheck{r.Engine}.examine(&again, s.Volume != r.volume)
		if again.Keep != "" {
			r.report.Kept = append(r.report.Kept, Kept{Path: s.Path, Why: again.Keep})
			continue
		}
		temp := r.tempName()
		if err := r.top.Rename(s.Path, temp); err != nil {
			if !ofOne(context.Background(), err) {
				return err
			}
			r.broken = append(r.broken, held("directory", "", s.Path, err, notRemoved))
			continue
		}
		r.discard(temp)
		r.report.Strays++
	}
	return nil
}
