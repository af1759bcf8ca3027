package ops_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dpkg makes dpkg's database, in which are these packages of this machine: what they are and which files they have. All
// packages of a machine take dpkg longer than the one that is tested, with the triggers that they have.
func (r root) dpkg(t *testing.T, packages ...string) {
	t.Helper()
	const database = "/var/lib/dpkg"
	for _, dir := range []string{"info", "triggers", "updates"} {
		must(t, os.MkdirAll(r.at(filepath.Join(database, dir)), 0o755))
	}
	var status strings.Builder
	for paragraph := range strings.SplitSeq(read(t, database+"/status"), "\n\n") {
		first, _, _ := strings.Cut(strings.TrimSpace(paragraph), "\n")
		name, _ := strings.CutPrefix(first, "Package: ")
		if !slices.Contains(packages, name) {
			continue
		}
		status.WriteString(paragraph + "\n\n")
		for _, file := range glob(t, database+"/info/"+name+"*.list") {
			succeed(t, "cp", file, r.at(database+"/info"))
		}
	}
	write(t, r.at(database+"/status"), status.String())
	if _, err := os.Stat(database + "/info/format"); err == nil {
		succeed(t, "cp", database+"/info/format", r.at(database+"/info"))
	}
}

// TestDeb: the Debian package has the files of the rpm. dpkg installs it into a made root, where its scripts make the
// user and the store's directory; removed, it leaves an edited configuration; purged, nothing of its own.
func TestDeb(t *testing.T) {
	t.Parallel()
	need(t, "dpkg-deb", "dpkg", "systemd-sysusers")
	build := func() string {
		t.Helper()
		environ := []string{"DPKG_DEB_COMPRESSOR_TYPE=none"} // xz takes its time
		return strings.TrimSpace(run(t, "", environ, scripts+"/packaging/deb", program(t), t.TempDir()).done(t).stdout)
	}
	file, again := build(), build()
	if read(t, file) != read(t, again) {
		t.Errorf("two packages of the same program differ")
	}
	r := newRoot(t, "www-data")
	r.dpkg(t, "systemd", "adduser")
	succeed(t, "cp", file, r.at("srv/kojisnap.deb"))
	if o := r.run(t, nil, "dpkg", "-i", "/srv/kojisnap.deb"); o.code != 0 || o.stderr != "" && !strings.Contains(o.stderr, "Creating ") {
		t.Fatalf("dpkg -i: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if want, got := staged(t, "debian", "www-data"), listed(string(r), r.run(t, nil, "dpkg", "-L", "kojisnap").stdout); !slices.Equal(got, want) {
		t.Errorf("the package has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if o := r.run(t, nil, "dpkg", "-V", "kojisnap"); o.code != 0 || o.stdout != "" {
		t.Errorf("dpkg -V: exit code %d\n%s", o.code, o.stdout)
	}
	if out := r.run(t, nil, "kojisnap", "--version").done(t).stdout; out != succeed(t, program(t), "--version") {
		t.Errorf("its program prints %q", out)
	}
	if line := r.run(t, nil, "getent", "passwd", "kojisnap").done(t).stdout; !strings.Contains(line, ":/var/lib/kojisnap:") {
		t.Errorf("the user %q", line)
	}
	if state := succeed(t, "find", r.at("var/lib/kojisnap"), "-maxdepth", "0", "-printf", "%m"); state != "755" {
		t.Errorf("the store's directory has mode %s", state)
	}
	write(t, r.at("etc/kojisnap/kojisnap.toml"), "env = \"stg\"\n")
	r.run(t, nil, "dpkg", "-r", "kojisnap").done(t)
	if got := read(t, r.at("etc/kojisnap/kojisnap.toml")); got != "env = \"stg\"\n" {
		t.Errorf("after the removal the configuration is %q", got)
	}
	r.run(t, nil, "dpkg", "-P", "kojisnap").done(t)
	if left := succeed(t, "find", r.at("etc"), r.at("usr/lib/systemd"), r.at("usr/lib/sysusers.d"), r.at("usr/bin"), r.at("usr/share/doc"), "-name", "*kojisnap*"); left != "" {
		t.Errorf("left after purging:\n%s", left)
	}
}
