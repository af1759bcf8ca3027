package ops_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

// packed is the rpm that rpm has built.
var packed struct {
	once sync.Once
	path string
}

// rpm returns the path of the rpm of the checkout, in a directory that everybody can read. It is built once.
func rpm(t *testing.T) string {
	t.Helper()
	need(t, "rpmbuild", "rpm")
	packed.once.Do(func() { packed.path = buildRPM(t) })
	if packed.path == "" {
		t.Fatal("another test could not build the rpm")
	}
	return packed.path
}

// buildRPM builds the rpm with kojisnap.spec. The short form takes the program that was built; the long form makes the
// vendored tarball of HEAD, and compiles it without a network.
func buildRPM(t *testing.T) string {
	t.Helper()
	top := filepath.Join(filepath.Dir(program(t)), "rpm")
	sources := filepath.Join(top, "SOURCES")
	must(t, os.MkdirAll(sources, 0o755))
	version := strings.TrimSpace(succeed(t, scripts+"/packaging/version"))
	args := []string{"--load", scripts + "/packaging/macros", "--define", "_topdir " + top, "--define", "_binary_payload w1T2.zstdio",
		"--nodeps", "-bb", scripts + "/packaging/kojisnap.spec"}
	if seedtest.Long() {
		succeed(t, scripts+"/packaging/tarball", sources)
	} else {
		succeed(t, "tar", "-C", "../..", "--transform", "s,^,kojisnap-"+version+"/,", "-czf", filepath.Join(sources, "kojisnap-"+version+".tar.gz"),
			"scripts", "cmd/kojisnap/version/version.go", "README.md", "CHANGELOG.md", "ARCHITECTURE.md")
		write(t, filepath.Join(sources, "kojisnap.sysusers"), read(t, scripts+"/packaging/kojisnap.sysusers"))
		args = append(args, "--define", "prebuilt "+program(t))
	}
	if o := run(t, "", []string{"GOPROXY=off"}, "rpmbuild", args...); o.code != 0 {
		t.Fatalf("rpmbuild: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	return glob(t, top+"/RPMS/*/kojisnap-*.rpm")[0]
}

// open is a temporary directory that everybody can read.
func open(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	for dir := top; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	return top
}

// TestRPM: rpmbuild makes the rpm; rpmlint has nothing against it that is not refuted in rpmlintrc.toml. It can be
// installed into an empty root, verified, and removed; a configuration that somebody edited stays.
func TestRPM(t *testing.T) {
	t.Parallel()
	needRoot(t)
	file := rpm(t)
	lint(t, file)

	root := t.TempDir()
	rpm := func(args ...string) outcome {
		t.Helper()
		return run(t, "", nil, "rpm", append([]string{"--root", root, "--dbpath", "/var/lib/rpm"}, args...)...)
	}
	rpm("-i", "--nodeps", "--noscripts", file).done(t)
	if o := rpm("-V", "--nodeps", "--noscripts", "kojisnap"); o.code != 0 || o.stdout != "" {
		t.Errorf("rpm -V: exit code %d\n%s", o.code, o.stdout)
	}
	if want, got := staged(t, "fedora", "apache"), listed(root, rpm("-ql", "kojisnap").stdout); !slices.Equal(got, want) {
		t.Errorf("the rpm has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if out := run(t, "", nil, filepath.Join(root, "usr/bin/kojisnap"), "--version").done(t).stdout; out != succeed(t, program(t), "--version") {
		t.Errorf("its program prints %q", out)
	}
	if got := rpm("-qc", "kojisnap").stdout; got != "/etc/kojisnap/kojisnap.toml\n" {
		t.Errorf("configuration files %q", got)
	}
	if got := rpm("-q", "--qf", "%{LICENSE}\n", "kojisnap").stdout; got == "" || strings.Contains(got, "%") {
		t.Errorf("licence %q", got)
	}
	config := filepath.Join(root, "etc/kojisnap/kojisnap.toml")
	write(t, config, "env = \"stg\"\n")
	rpm("-U", "--force", "--nodeps", "--noscripts", file).done(t)
	if got := read(t, config); got != "env = \"stg\"\n" {
		t.Errorf("after an update the configuration is %q", got)
	}
	rpm("-e", "--noscripts", "kojisnap").done(t)
	if left := succeed(t, "find", root, "-name", "*kojisnap*", "-printf", "/%P\n"); left != "/etc/kojisnap\n/etc/kojisnap/kojisnap.toml.rpmsave\n" {
		t.Errorf("left after the removal:\n%s", left)
	}
}

// TestRPMScriptlets: installed with its scriptlets, the rpm makes the user and the store's directory, and enables
// nothing. Its removal disables the timers that somebody enabled.
func TestRPMScriptlets(t *testing.T) {
	t.Parallel()
	need(t, "systemctl", "systemd-tmpfiles", "useradd")
	file := rpm(t)
	r := newRoot(t)
	succeed(t, "cp", file, r.at("srv/kojisnap.rpm"))
	silently := func(name string, args ...string) { // rpm's exit code is 0 if a %post fails: it only says so
		t.Helper()
		o := r.run(t, []string{"SYSTEMD_LOG_LEVEL=warning"}, name, args...)
		o.stderr = regexp.MustCompile(`(?m)^rpm: (RPM should|However assuming).*\n`).ReplaceAllString(o.stderr, "") // Debian's advice
		if o.code != 0 || o.stderr != "" {
			t.Errorf("%s %q: exit code %d\n%s%s", name, args, o.code, o.stdout, o.stderr)
		}
	}
	silently("rpm", "-i", "--nodeps", "/srv/kojisnap.rpm")
	if line := r.run(t, nil, "getent", "passwd", "kojisnap").done(t).stdout; !strings.Contains(line, ":/var/lib/kojisnap:") || !strings.HasSuffix(line, "/nologin\n") {
		t.Errorf("the user %q", line)
	}
	if state := r.files(t, "var/lib/kojisnap"); state != "d 755 kojisnap:kojisnap" && !regexp.MustCompile(`^d 755 (kojisnap|\d+):(kojisnap|\d+)$`).MatchString(state) {
		t.Errorf("the store's directory is %q", state)
	}
	if left := succeed(t, "find", r.at("etc/systemd"), "-name", "*kojisnap*"); left != "" {
		t.Errorf("the package enables %s", left)
	}
	silently("systemctl", "enable", "kojisnap@stg.timer")
	if o := r.run(t, nil, "systemctl", "is-enabled", "kojisnap@stg.timer"); o.stdout != "enabled\n" {
		t.Fatalf("kojisnap@stg.timer is %s%s", o.stdout, o.stderr)
	}
	silently("rpm", "-U", "--force", "--nodeps", "/srv/kojisnap.rpm")
	if o := r.run(t, nil, "systemctl", "is-enabled", "kojisnap@stg.timer"); o.stdout != "enabled\n" {
		t.Errorf("after an update kojisnap@stg.timer is %s%s", o.stdout, o.stderr)
	}
	silently("rpm", "-e", "kojisnap")
	if left := succeed(t, "find", r.at("etc/systemd"), "-name", "*kojisnap*"); left != "" {
		t.Errorf("after the removal there is still %s", left)
	}
}

// lint runs rpmlint as a user who can overwrite nothing: it unpacks what it looks at.
func lint(t *testing.T, file string) {
	t.Helper()
	need(t, "rpmlint")
	dir := open(t)
	for _, name := range []string{"kojisnap.spec", "rpmlintrc.toml"} {
		write(t, filepath.Join(dir, name), read(t, filepath.Join(scripts, "packaging", name)))
	}
	own := t.TempDir()
	must(t, os.Chown(own, 65534, 65534))
	cmd := exec.CommandContext(t.Context(), "rpmlint", "-c", filepath.Join(dir, "rpmlintrc.toml"), filepath.Join(dir, "kojisnap.spec"), file)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin", "HOME=" + own, "TMPDIR=" + own, "LC_ALL=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if text := out.String(); err != nil || !strings.Contains(text, "1 packages and 1 specfiles checked; 0 errors, 0 warnings") {
		t.Errorf("rpmlint: %v\n%s", err, text)
	}
}

// staged lists what scripts/packaging/install installs, and the documents that packages add.
func staged(t *testing.T, family, user string) []string {
	t.Helper()
	root := t.TempDir()
	o := run(t, "", []string{"FAMILY=" + family}, scripts+"/packaging/install", program(t), root).done(t)
	if o.stdout+o.stderr != "" {
		t.Errorf("install says %s%s", o.stdout, o.stderr)
	}
	for _, name := range []string{"README.md", "CHANGELOG.md", "ARCHITECTURE.md"} {
		write(t, filepath.Join(root, "usr/share/doc/kojisnap", name), "")
	}
	if unit := read(t, filepath.Join(root, "usr/lib/systemd/system/kojisnap@.service")); !strings.Contains(unit, "\nUser="+user+"\n") {
		t.Errorf("the unit is not of the user %s", user)
	}
	for _, name := range []string{"share/man/man1/kojisnap-sync.1.gz", "share/man/man5/kojisnap.toml.5.gz", "share/bash-completion/completions/kojisnap",
		"share/kojisnap/kojisnap.example.toml", "lib/systemd/system/kojisnap-apply@.timer"} {
		if body := read(t, filepath.Join(root, "usr", name)); len(body) < 100 {
			t.Errorf("%s is %q", name, body)
		}
	}
	return listed(root, succeed(t, "find", root, "-type", "f", "-printf", "/%P\n"))
}

// listed returns the paths that a package manager lists which are no directories of the root, sorted.
func listed(root, text string) (files []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if info, err := os.Lstat(filepath.Join(root, line)); err != nil || !info.IsDir() {
			files = append(files, line)
		}
	}
	slices.Sort(files)
	return files
}
