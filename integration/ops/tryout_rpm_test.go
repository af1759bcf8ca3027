package ops_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestTryoutRPM follows the guide on a host of the rpm family, from dnf's installation to a configuration without a
// fault. The host is a made root, no Fedora's: its repository has one rpm that stands for the programs that it has.
func TestTryoutRPM(t *testing.T) {
	t.Parallel()
	need(t, "dnf", "createrepo_c", "rpmbuild", "useradd", "systemctl")
	r := newRoot(t, "apache")
	succeed(t, "cp", rpm(t), r.at("root"))
	repository := r.at("srv/repository")
	succeed(t, "rpmbuild", "--define", "_topdir "+filepath.Join(t.TempDir(), "made"), "--define", "_rpmdir "+repository, "--define", "users 1", "-bb", "testdata/made-root.spec")
	succeed(t, "createrepo_c", "-q", repository)
	write(t, r.at("etc/dnf/dnf.conf"), "[main]\nplugins=0\n") // the plugins of this machine want their own files
	write(t, r.at("etc/dnf/vars/releasever"), "42\n")
	write(t, r.at("etc/yum.repos.d/made.repo"), "[made]\nname=made\nbaseurl=file:///srv/repository\ngpgcheck=0\n")

	checked := false
	for _, b := range guide(t, "install.md") {
		switch {
		case b.words[0] == "toml":
			write(t, r.at(b.words[1]), b.text)
		case b.forHost("fedora") && !checked:
			o := r.run(t, nil, "bash", "-ec", "cd /root\n"+b.text)
			t.Logf("exit code %d\n%s\n%s%s", o.code, b.text, o.stdout, o.stderr)
			if o.code != b.exit {
				t.Fatalf("exit code %d, want %d", o.code, b.exit)
			}
			if checked = strings.Contains(b.text, "kojisnap config check"); checked && o.stdout+o.stderr != "" {
				t.Errorf("kojisnap says of the guide's configuration: %s%s", o.stdout, o.stderr)
			}
		}
	}
	if !checked {
		t.Error("the guide does not check the configuration")
	}
	if out := r.run(t, nil, "kojisnap", "--version").done(t).stdout; out != succeed(t, program(t), "--version") {
		t.Errorf("the program prints %q", out)
	}
	if out := r.run(t, nil, "rpm", "-q", "kojisnap").done(t).stdout; !strings.HasPrefix(out, "kojisnap-") {
		t.Errorf("rpm -q prints %q", out)
	}
}
