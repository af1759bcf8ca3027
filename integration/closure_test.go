package integration_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/trial"
)

// planted are the requirements that nothing in the data provides, on purpose.
var planted = map[string][]string{
	"x86_64": {"broken-app-1.0-1.fc42.x86_64: libmissing >= 2.0", "broken-app-1.0-1.fc42.x86_64: no-such-capability"},
	"source": nil,
}

// TestClosure proves a compose: of what sync brought, verify makes repositories with hard links, and
// dnf finds in them the unmet requirements that are planted, no more; the same as in repositories of
// production's own files.
func TestClosure(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"createrepo_c", "dnf"} {
		if _, err := exec.LookPath(program); err != nil {
			skipOutsideCI(t, "needs "+program+": packages createrepo-c, dnf and dnf-plugins-core of Debian")
		}
	}
	if os.Getenv("KOJISNAP_TEST_ALL") == "" { // there it fails below
		if out, err := exec.Command("dnf", "repoclosure", "--help").CombinedOutput(); err != nil {
			skipOutsideCI(t, "needs dnf repoclosure: package dnf-plugins-core: "+string(out))
		}
	}
	w := newMarkedEnv(t)
	w.readOnly(t)
	c := w.config(t, "f42-compose")
	succeed(t, "sync", "-c", c)
	compose := filepath.Join(w.topdir, "compose/trial")
	if out := succeed(t, "verify", "-c", c, "--compose", compose); out != "" {
		t.Fatalf("verify printed %q", out)
	}
	real := w.productionsRPMs(t)
	for arch, want := range planted {
		repo := filepath.Join(compose, "f42-compose", arch)
		var same []string
		must(t, filepath.WalkDir(filepath.Join(repo, "Packages"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if real[d.Name()] == "" {
				t.Errorf("%s is not production's", path)
			}
			same = append(same, real[d.Name()])
			return nil
		}))
		if len(same) < 40 {
			t.Fatalf("%s: only %d rpms", arch, len(same))
		}
		if got := repoclosure(t, repo); !slices.Equal(got, want) {
			t.Errorf("%s: unmet %q, want %q", arch, got, want)
		}
		if !seedtest.Long() && want == nil { // where nothing is unmet, the short form trusts production's own files
			continue
		}
		prod := filepath.Join(t.TempDir(), "compose")
		_, err := trial.Make(t.Context(), trial.Options{Dir: prod, Trees: []trial.Tree{{Dir: arch, RPMs: same}}})
		must(t, err)
		if got := repoclosure(t, filepath.Join(prod, arch)); !slices.Equal(got, want) {
			t.Errorf("%s, production's own files: unmet %q, want %q", arch, got, want)
		}
	}
}

// skipOutsideCI skips a test, but for where nothing may be missing.
func skipOutsideCI(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("KOJISNAP_TEST_ALL") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// productionsRPMs finds the unsigned rpms of production's tree, by file name.
func (w *env) productionsRPMs(t testing.TB) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(w.prodTree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".rpm") && !strings.Contains(path, "/data/") {
			found[d.Name()] = path
		}
		return err
	}))
	return found
}

// repoclosure returns what dnf finds unmet in a repository, sorted: "PACKAGE: REQUIREMENT".
func repoclosure(t testing.TB, repo string) []string {
	t.Helper()
	own := t.TempDir() // no repository, cache or log of this machine's
	cmd := exec.CommandContext(t.Context(), "dnf", "--repofrompath=trial,"+repo, "--repo=trial", "--releasever=42", "--forcearch=x86_64",
		"--setopt=reposdir="+own, "--setopt=cachedir="+own, "--setopt=persistdir="+own, "--setopt=logdir="+own, "--setopt=trial.gpgcheck=0",
		"repoclosure")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + own, "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var unmet []string
	var pkg string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		if p, ok := strings.CutPrefix(line, "package: "); ok {
			pkg, _, _ = strings.Cut(p, " ")
		} else if r, ok := strings.CutPrefix(line, "    "); ok && pkg != "" {
			unmet = append(unmet, pkg+": "+r)
		}
	}
	if err != nil && len(unmet) == 0 {
		t.Fatalf("dnf repoclosure: %v\n%s", err, out)
	}
	slices.Sort(unmet)
	return unmet
}
