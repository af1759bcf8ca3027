package verify_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/verify"
)

func needCreaterepo(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("createrepo_c"); err != nil {
		t.Skip("needs createrepo_c: package createrepo_c (Fedora, EL) or createrepo-c (Debian, Ubuntu)")
	}
}

// open makes directories passable for other users, up to the test's.
func openDirs(t testing.TB, dir string) {
	t.Helper()
	for ; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		pulltest.Must(t, os.Chmod(dir, 0o755))
	}
}

// ofUser gives files to a user. They are hard links to production's, which other stagings of the
// test share.
func ofUser(t testing.TB, dir string, uid int) {
	t.Helper()
	pulltest.Must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	}))
}

const nobody = 65534

func TestVerifyCompose(t *testing.T) {
	needCreaterepo(t)
	base := newStaging(t, pulltest.NewSource(t, "f42-compose"), compose.Want{})
	trees := []string{"f42-compose/source", "f42-compose/x86_64"}
	for _, test := range []struct {
		name  string
		user  string
		setup func(t *testing.T, s *staging) (compose string)
		not   string
		trial string
	}{
		{name: "links", setup: func(t *testing.T, s *staging) string { return filepath.Join(s.top, "compose/trial") }, trial: "4: repositories of 206 rpms, 206 hard links, 0 files copied, below DIR"},
		{name: "other mount", setup: func(t *testing.T, s *staging) string { return pulltest.Tmpfs(t, "16m") }, not: `warning links: 212 of 212, 0 digests
  volume staged: 212 files on another mount than the compose directory: a compose copies them
`, trial: "4: repositories of 206 rpms, 4 hard links, 202 files copied, below DIR"},
		{name: "full", setup: func(t *testing.T, s *staging) string { return pulltest.Tmpfs(t, "64k") }, not: `warning links: 212 of 212, 0 digests
  volume staged: 212 files on another mount than the compose directory: a compose copies them
failed room: 212 of 212, 0 digests
skipped trial: 0 of 4, 0 digests
`, trial: "4: not tried: there is no room"},
		{name: "user whose files they are", user: "nobody", setup: func(t *testing.T, s *staging) string {
			pulltest.NeedRoot(t)
			ofUser(t, filepath.Join(s.top, "vol/staged"), nobody)
			dir := filepath.Join(s.top, "compose")
			pulltest.Must(t, os.Mkdir(dir, 0o755))
			pulltest.Must(t, os.Chown(dir, nobody, nobody))
			return filepath.Join(dir, "trial")
		}, trial: "4: repositories of 206 rpms, 206 hard links, 0 files copied, below DIR"},
		{name: "user of protected hard links", user: "nobody", setup: func(t *testing.T, s *staging) string {
			pulltest.NeedRoot(t)
			if b, err := os.ReadFile("/proc/sys/fs/protected_hardlinks"); err != nil || strings.TrimSpace(string(b)) != "1" {
				t.Skip("needs fs.protected_hardlinks=1")
			}
			ofUser(t, filepath.Join(s.top, "vol/staged"), 0)
			dir := filepath.Join(s.top, "compose")
			pulltest.Must(t, os.Mkdir(dir, 0o755))
			pulltest.Must(t, os.Chown(dir, nobody, nobody))
			return dir
		}, not: `failed links: 212 of 212, 0 digests
  volume staged: 212 files of owner 0, mode -rw-r--r--: operation not permitted: fs.protected_hardlinks lets a user link only files that are their own, or that they may read and write
skipped trial: 0 of 4, 0 digests
`, trial: "4: not tried: files cannot be linked"},
		{name: "user who may not write there", user: "nobody", setup: func(t *testing.T, s *staging) string {
			pulltest.NeedRoot(t)
			return filepath.Join(s.top, "compose")
		}, not: `failed links: 1 of 1, 0 digests
`},
		{name: "user who may not read a file", user: "nobody", setup: func(t *testing.T, s *staging) string {
			pulltest.NeedRoot(t)
			ofUser(t, filepath.Join(s.top, "vol/staged"), nobody)
			s.rewrite(t, bashRPM, func(b []byte) []byte { return b })
			pulltest.Must(t, os.Chmod(filepath.Join(s.top, bashRPM), 0o600))
			return ""
		}, not: `failed files f42-compose x86_64: 1 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: open TOP/` + bashRPM + `: permission denied
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := base.clone(t)
			openDirs(t, s.top)
			compose := test.setup(t, s)
			r := s.verify(t, func(o *verify.Options) { o.ComposeDir, o.ComposeUser = compose, test.user })
			if got := s.notOK(r); got != test.not {
				t.Errorf("got\n%swant\n%s", got, test.not)
			}
			if test.trial == "" {
				return
			}
			c := check(t, r, "trial", "", "")
			if got := strings.ReplaceAll(c.Detail, compose, "DIR"); got != test.trial {
				t.Errorf("trial: %s, want %s", got, test.trial)
			}
			if c.Status != verify.StatusOK {
				return
			}
			for _, tree := range trees {
				if _, err := os.Stat(filepath.Join(compose, tree, "repodata/repomd.xml")); err != nil {
					t.Error(err)
				}
			}
			composed := filepath.Join(compose, "f42-compose/x86_64/Packages/b/bash-5.3.0-2.fc42.x86_64.rpm")
			info, err := os.Lstat(composed)
			pulltest.Must(t, err)
			original, err := os.Lstat(filepath.Join(s.top, bashRPM))
			pulltest.Must(t, err)
			if linked := os.SameFile(info, original); linked == strings.Contains(test.not, "another mount") {
				t.Errorf("%s is a hard link: %t", composed, linked)
			}
			if test.user == "nobody" && info.Sys().(*syscall.Stat_t).Uid != nobody {
				t.Errorf("%s is not nobody's", composed)
			}
		})
	}
}

// Production's tree is another mount, as it is at every site: its builds are copied.
func TestVerifyPlacement(t *testing.T) {
	s := newStaging(t, pulltest.NewSource(t, "f42-compose"), compose.Want{})
	prod := pulltest.Tmpfs(t, "16m")
	pulltest.Must(t, os.CopyFS(filepath.Join(prod, "packages/bash"), os.DirFS(filepath.Join(s.prod, "packages/bash"))))
	pulltest.Must(t, os.RemoveAll(filepath.Join(s.top, "vol/prod")))
	pulltest.Must(t, os.Symlink(prod, filepath.Join(s.top, "vol/prod")))
	s.update(t, "build", hubtest.Values{"id": 8}, hubtest.Values{"volume_id": floor})
	got := s.notOK(s.verify(t, nil))
	if want := `warning placement f42-compose: 5 of 212, 0 digests
  bash-5.3.0-2.fc42.src: on volume prod
  bash-5.3.0-2.fc42.x86_64: on volume prod
  bash-debuginfo-5.3.0-2.fc42.x86_64: on volume prod
  bash-debugsource-5.3.0-2.fc42.x86_64: on volume prod
  bash-doc-5.3.0-2.fc42.x86_64: on volume prod
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	got = s.notOK(s.verify(t, func(o *verify.Options) { o.Builds = compose.BuildsNone }))
	if got != "" {
		t.Errorf("as wanted: got\n%s", got)
	}
}

// Without createrepo_c links are tried all the same, and verify warns.
func TestVerifyWithoutCreaterepo(t *testing.T) {
	s := newStaging(t, pulltest.NewSource(t, "f42-compose"), compose.Want{})
	t.Setenv("PATH", t.TempDir())
	compose := filepath.Join(s.top, "compose")
	r := s.verify(t, func(o *verify.Options) { o.ComposeDir = compose })
	c := check(t, r, "trial", "", "")
	if c.Status != verify.StatusWarning || !strings.Contains(c.Detail, "206 hard links, 0 files copied") || !strings.Contains(c.Detail, "install the package") {
		t.Errorf("%+v", c)
	}
	if !r.Ready() {
		t.Errorf("not ready: %s", s.notOK(r))
	}
}
