package hardlink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"kojisnap/hardlink/source"
)

// unlisted is a directory that cannot be read.
type unlisted struct {
	path string // below the root; "." is that
	err  error
}

// tree is what is below a directory and is no directory, and one directory that is as good as a file.
type tree struct {
	root     string
	above    map[string]bool // symlinks to directories that are taken for the directories
	whole    string          // a directory that counts as a file, unless it is above something wanted; "": none
	paths    []string
	regular  map[string]bool
	unlisted []unlisted
}

func newTree(root string) *tree { return &tree{root: root, regular: map[string]bool{}} }

// list reads a directory and what is below it. What cannot be read is noted, all else is listed.
func (t *tree) list(dir string) {
	entries, err := os.ReadDir(path.Join(t.root, dir))
	if err != nil {
		t.unlisted = append(t.unlisted, unlisted{dir, fmt.Errorf("list %s: %w", path.Join(t.root, dir), errnoOf(err))})
	}
	for _, e := range entries { // those that were read
		p := path.Join(dir, e.Name())
		switch {
		case e.IsDir() && (p != t.whole || t.above[p]):
			t.list(p)
		case e.Type()&fs.ModeSymlink != 0 && t.above[p] && t.follow(p):
		default:
			t.paths = append(t.paths, p)
			if e.Type().IsRegular() {
				t.regular[p] = true
			}
		}
	}
}

// follow lists the directory to which a symlink leads in the symlink's place, and tells whether it is
// one. One that leads to a directory above itself is noted.
func (t *tree) follow(p string) bool {
	info, err := os.Stat(path.Join(t.root, p))
	if err != nil || !info.IsDir() {
		return false
	}
	for dir := p; dir != "."; {
		dir = path.Dir(dir)
		if up, err := os.Stat(path.Join(t.root, dir)); err == nil && os.SameFile(up, info) {
			t.unlisted = append(t.unlisted, unlisted{p, fmt.Errorf("list %s: %w", path.Join(t.root, p), syscall.ELOOP)})
			return true
		}
	}
	t.list(p)
	return true
}

// missing tells that there is no such directory.
func (t *tree) missing() bool {
	return len(t.unlisted) > 0 && t.unlisted[0].path == "." && source.Absent(t.unlisted[0].err)
}

// err is why not all of it is listed.
func (t *tree) err() error {
	if len(t.unlisted) == 0 {
		return nil
	}
	return t.unlisted[0].err
}

// errnoOf is err without the path that it names.
func errnoOf(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
