package ops_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDNF: dnf solves the rpm's requirements, installs it with its scriptlets, and removes it. The root is a made one,
// no Fedora's: one rpm without files stands for its programs.
func TestDNF(t *testing.T) {
	t.Parallel()
	need(t, "dnf", "createrepo_c", "rpmbuild", "useradd", "systemctl")
	file := rpm(t)
	r := newRoot(t)
	dnf := func(repo string, args ...string) outcome {
		t.Helper()
		own := t.TempDir() // no repository, cache or log of this machine's
		return run(t, "", []string{"SYSTEMD_OFFLINE=1"}, "dnf", append([]string{"-y", "-q", "--installroot=" + string(r), "--repofrompath=made," + repo, "--repo=made", "--nogpgcheck",
			"--releasever=42", "--setopt=install_weak_deps=False", "--setopt=reposdir=" + own, "--setopt=cachedir=" + own, "--setopt=logdir=" + own}, args...)...)
	}
	repository := func(define string) string {
		t.Helper()
		dir := t.TempDir()
		succeed(t, "cp", file, dir)
		succeed(t, "rpmbuild", "--define", "_topdir "+filepath.Join(dir, "made"), "--define", define, "-bb", "testdata/made-root.spec")
		succeed(t, "createrepo_c", "-q", dir)
		return dir
	}
	if o := dnf(repository("users 0"), "install", "kojisnap", "made-root"); o.code == 0 || !strings.Contains(o.stderr, "nothing provides shadow-utils") {
		t.Errorf("without a requirement of its own: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	repo := repository("users 1")
	if o := dnf(repo, "install", "kojisnap", "made-root"); o.code != 0 || strings.Contains(o.stdout+o.stderr, "scriptlet failed") {
		t.Fatalf("dnf install: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if line := r.run(t, nil, "getent", "passwd", "kojisnap").done(t).stdout; !strings.Contains(line, ":/var/lib/kojisnap:") {
		t.Errorf("the user %q", line)
	}
	if out := r.run(t, nil, "kojisnap", "config", "check").done(t); out.stdout+out.stderr != "" {
		t.Errorf("kojisnap says of the package's configuration: %s%s", out.stdout, out.stderr)
	}
	if o := dnf(repo, "remove", "kojisnap"); o.code != 0 || strings.Contains(o.stdout+o.stderr, "scriptlet failed") {
		t.Fatalf("dnf remove: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if _, err := os.Lstat(r.at("usr/bin/kojisnap")); !os.IsNotExist(err) {
		t.Errorf("after the removal: %v", err)
	}
}
