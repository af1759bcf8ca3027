package hardlink_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/volumes/topdir"
)

var someone = topdir.Owner{UID: 48, GID: 49}

func ofSomeone(o *hardlink.Options) { o.Attributes.Owner = &someone }

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: gives files to another user")
	}
}

// owned checks that everything below topdir has the owner, and that staged files and directories have these
// modes.
func (s *site) owned(t testing.TB, file, dir fs.FileMode) {
	t.Helper()
	seen := map[fs.FileMode]int{}
	err := filepath.WalkDir(s.top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == s.top || p == filepath.Join(s.top, "vol") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if have := (topdir.Owner{UID: int(st.Uid), GID: int(st.Gid)}); have != someone {
			t.Errorf("%s is %v's", p, have)
		}
		seen[d.Type()]++
		rel := strings.TrimPrefix(p, s.top+"/")
		switch {
		case strings.HasPrefix(rel, ".kojisnap"):
		case d.IsDir() && info.Mode().Perm() != dir, d.Type().IsRegular() && info.Mode().Perm() != file:
			t.Errorf("%s: mode %v", p, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen[0] < 5 || seen[fs.ModeDir] < 5 || seen[fs.ModeSymlink] < 3 {
		t.Errorf("seen only %v", seen)
	}
}

func strictUmask(t testing.TB) {
	if _, err := extracted(); err != nil { // not under the test's umask
		t.Fatal(err)
	}
	old := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(old) })
}

// Everything that is made has the owner, although it comes from the read-only mount, and whatever the umask.
func TestOwner(t *testing.T) {
	needRoot(t)
	strictUmask(t)
	for name, c := range map[string]struct {
		mode, file, dir fs.FileMode
	}{"mode of the source": {0, 0o644, 0o755}, "mode": {0o664, 0o664, 0o775}} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			ro := filepath.Join(t.TempDir(), "ro")
			bindReadOnly(t, s.prod, ro)
			change := func(o *hardlink.Options) {
				o.ReadOnly, o.Attributes = ro, topdir.Attributes{Owner: &someone, Mode: c.mode}
			}
			s.want.SigKeys, s.want.Arches = []string{"41526f0e"}, []string{"aarch64"}
			s.mustCopy(t, change)
			s.owned(t, c.file, c.dir)
			s.want.SigKeys, s.want.Arches = []string{"41526f0e", "ba2992d4", ""}, nil // files of an existing build
			s.mustCopy(t, change)
			s.owned(t, c.file, c.dir)
			if c.mode == 0 {
				s.check(t)
			}
		})
	}
}

// Without an owner, the umask does not restrict directories, either: the hub must be able to enter.
func TestUmask(t *testing.T) {
	strictUmask(t)
	s := onlyBash(t)
	s.mustCopy(t)
	s.check(t)
	for _, dir := range []string{"vol/staged", "vol/staged/" + bashDir, filepath.Dir(bashDir), "packages"} {
		if info := stat(t, filepath.Join(s.top, dir)); info.Mode().Perm() != 0o755 {
			t.Errorf("%s: mode %v", dir, info.Mode())
		}
	}
}

// Production's inode is linked only if it has the wanted attributes, and never changed.
func TestOwnerOfHardLinks(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		attributes topdir.Attributes
		links      bool
	}{
		"the same owner": {topdir.Attributes{Owner: &topdir.Owner{}}, true},
		"another owner":  {topdir.Attributes{Owner: &someone}, false},
		"the same mode":  {topdir.Attributes{Mode: 0o644}, true},
		"another mode":   {topdir.Attributes{Mode: 0o664}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			before := snapshot(t, s.prod)
			a, err := s.engine(t, func(o *hardlink.Options) { o.Attributes = c.attributes }).Diff(t.Context(), s.plan(t))
			must(t, err)
			for _, f := range a.Builds[0].Files {
				if f.Op != hardlink.OpSymlink && (f.Op == hardlink.OpLink) != c.links {
					t.Errorf("%s: planned as %s", f.Path, f.Op)
				}
			}
			r := s.mustCopy(t, func(o *hardlink.Options) { o.Attributes = c.attributes })
			if made := r.Linked + r.Copied + r.Reflinked; made == 0 || (r.Linked == made) != c.links {
				t.Errorf("report %+v", r)
			}
			if snapshot(t, s.prod) != before {
				t.Error("production's tree changed")
			}
			info := stat(t, filepath.Join(s.prod, bashDir, bashRPM))
			if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 || st.Gid != 0 || info.Mode() != 0o644 {
				t.Errorf("production's file is %d:%d, mode %v", st.Uid, st.Gid, info.Mode())
			}
		})
	}
}
