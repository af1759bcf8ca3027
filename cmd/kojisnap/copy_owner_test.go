package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
)

// TestCopyOwnerLater: an owner and a mode that are given at a later copy are those of all that is there,
// and what somebody changed of them an audit tells and puts right.
func TestCopyOwnerLater(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: gives files to another user")
	}
	s := newCopySite(t)
	kojisnapOK(t, s.copy()...)
	check := func() {
		t.Helper()
		n := 0
		err := filepath.WalkDir(s.topdir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == s.topdir || path == filepath.Join(s.topdir, "vol") || strings.Contains(path, ".kojisnap") {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid != 48 || st.Gid != 49 || info.Mode().IsRegular() && info.Mode() != 0o640 {
				t.Errorf("%s is %d:%d's, mode %v", path, st.Uid, st.Gid, info.Mode())
			}
			n++
			return nil
		})
		if err != nil || n < 200 {
			t.Errorf("%d paths, %v", n, err)
		}
	}
	given := []string{"--owner", "48:49", "--mode", "0640"}
	_, errs, code := kojisnapRun(t, s.copy(given...)...)
	if code != exit.Done || strings.Count(errs, "owners and modes were not as they are to be") != 1 {
		t.Errorf("exit code %d: %s", code, errs)
	}
	check()
	kojisnapOK(t, s.copy(given...)...)
	kojisnapOK(t, s.copy(append(given, "--audit")...)...)
	rpms, err := filepath.Glob(filepath.Join(s.topdir, "vol/staged/packages/*/*/*/src/*.rpm"))
	if err != nil || len(rpms) == 0 {
		t.Fatal(err)
	}
	if err := os.Chmod(rpms[0], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(rpms[0], 7, 7); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(rpms[0], s.topdir+"/")
	out, _, code := kojisnapRun(t, s.copy("--audit", "--dry-run")...)
	if code != exit.NotReady || !strings.Contains(out, "own "+name+" 7:7 0600 -> 48:49 0640\n") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if _, errs, code := kojisnapRun(t, s.copy(append(given, "--audit")...)...); code != exit.Done || !strings.Contains(errs, name) {
		t.Errorf("exit code %d: %s", code, errs)
	}
	check()
}
