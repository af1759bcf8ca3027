package prodtree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"kojisnap/hardlink/source"
)

// Unlisted is a directory that cannot be read.
type Unlisted struct {
	Path string // below the root; "." is that
	Err  error
}

// Listing is what is below a directory and is no directory, and one directory that is as good as a file.
type Listing struct {
	root     string
	Above    map[string]bool // symlinks to directories that are taken for the directories
	Whole    string          // a directory that counts as a file, unless it is above something wanted; "": none
	Paths    []string
	Regular  map[string]bool
	Unlisted []Unlisted
}

func NewListing(root string) *Listing { return &Listing{root: root, Regular: map[string]bool{}} }

// List reads a directory and what is below it. What cannot be read is noted, all else is listed.
func (t *Listing) List(dir string) {
	entries, err := os.ReadDir(path.Join(t.root, dir))
	if err != nil {
		t.Unlisted = append(t.Unlisted, Unlisted{dir, fmt.Errorf("list %s: %w", path.Join(t.root, dir), errnoOf(err))})
	}
	for _, e := range entries { // those that were read
		p := path.Join(dir, e.Name())
		switch {
		case e.IsDir() && (p != t.Whole || t.Above[p]):
			t.List(p)
		case e.Type()&fs.ModeSymlink != 0 && t.Above[p] && t.follow(p):
		default:
			t.Paths = append(t.Paths, p)
			if e.Type().IsRegular() {
				t.Regular[p] = true
			}
		}
	}
}

// follow lists the directory to which a symlink leads in the symlink's place, and tells whether it is
// one. One that leads to a directory above itself is noted.
func (t *Listing) follow(p string) bool {
	info, err := os.Stat(path.Join(t.root, p))
	if err != nil || !info.IsDir() {
		return false
	}
	for dir := p; dir != "."; {
		dir = path.Dir(dir)
		if up, err := os.Stat(path.Join(t.root, dir)); err == nil && os.SameFile(up, info) {
			t.Unlisted = append(t.Unlisted, Unlisted{p, fmt.Errorf("list %s: %w", path.Join(t.root, p), syscall.ELOOP)})
			return true
		}
	}
	t.List(p)
	return true
}

// Missing tells that there is no such directory.
func (t *Listing) Missing() bool {
	return len(t.Unlisted) > 0 && t.Unlisted[0].Path == "." && source.Absent(t.Unlisted[0].Err)
}

// Err is why not all of it is listed.
func (t *Listing) Err() error {
	if len(t.Unlisted) == 0 {
		return nil
	}
	return t.Unlisted[0].Err
}

// errnoOf is err without the path that it names.
func errnoOf(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
