package hardlink_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink"
	"kojisnap/hardlink/prodtree"
	"kojisnap/volumes/topdir"
)

// A tree that staging's hub could write is refused before anything is made, whoever the hub's user is, unless
// WritableSource is set.
func TestWritableSource(t *testing.T) {
	needRoot(t)
	bound := func(t *testing.T, s *site) string {
		ro := filepath.Join(t.TempDir(), "prod")
		bindReadOnly(t, s.prod, ro)
		return ro
	}
	writable := func(t *testing.T, s *site) string {
		rw := filepath.Join(t.TempDir(), "prod")
		mount(t, s.prod, rw, "", unix.MS_BIND, "")
		return rw
	}
	plain := func(t *testing.T, s *site) string { return s.prod }
	give := func(rel string, uid, gid int, mode os.FileMode) func(*testing.T, *site) {
		return func(t *testing.T, s *site) {
			path := filepath.Join(s.prod, rel)
			must(t, errors.Join(os.Chown(path, uid, gid), os.Chmod(path, mode)))
		}
	}
	work := func(uid int) func(*testing.T, *site) {
		return func(t *testing.T, s *site) {
			must(t, errors.Join(os.Mkdir(filepath.Join(s.top, "work"), 0o755), os.Chown(filepath.Join(s.top, "work"), uid, uid)))
		}
	}
	for name, c := range map[string]struct {
		tree    func(*testing.T, *site) string
		setup   []func(*testing.T, *site)
		owner   *topdir.Owner
		refused string // the directory that could be written
	}{
		"root's hub, a plain directory":     {tree: plain, refused: "packages"},
		"root's hub, a writable mount":      {tree: writable, refused: "packages"},
		"root's hub, a read-only mount":     {tree: bound},
		"another user's hub":                {tree: plain, setup: []func(*testing.T, *site){work(48)}},
		"the owner is another user":         {tree: plain, owner: &someone},
		"a build of the hub's user":         {tree: plain, owner: &someone, setup: []func(*testing.T, *site){give(bashDir, 48, 0, 0o755)}, refused: bashDir},
		"a build that not even they write":  {tree: plain, owner: &someone, setup: []func(*testing.T, *site){give(bashDir, 48, 0, 0o555)}},
		"a version of the hub's group":      {tree: plain, owner: &someone, setup: []func(*testing.T, *site){give(filepath.Dir(bashDir), 0, 49, 0o775)}, refused: filepath.Dir(bashDir)},
		"another volume of the hub's user":  {tree: plain, owner: &someone, setup: []func(*testing.T, *site){give("vol/archive01/packages", 48, 0, 0o755)}, refused: "vol/archive01/packages"},
		"the hub's user, a read-only mount": {tree: bound, owner: &someone, setup: []func(*testing.T, *site){give(bashDir, 48, 0, 0o755)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			for _, f := range c.setup {
				f(t, s)
			}
			tree := c.tree(t, s)
			options := func(meant bool) func(o *hardlink.Options) {
				return func(o *hardlink.Options) {
					o.ReadOnly, o.WritableSource, o.Attributes.Owner = tree, meant, c.owner
				}
			}
			_, err := s.copy(t, options(false))
			if c.refused == "" {
				must(t, err)
				s.check(t)
				return
			}
			var refused *prodtree.WritableError
			if !errors.As(err, &refused) || refused.Path != filepath.Join(tree, c.refused) || !strings.Contains(err.Error(), "--writable-source") {
				t.Fatalf("error %v, want one of %s", err, c.refused)
			}
			if made := files(t, s.top); len(made) != 0 {
				t.Errorf("made %q", made)
			}
			s.mustCopy(t, options(true))
			s.check(t)
		})
	}
}
