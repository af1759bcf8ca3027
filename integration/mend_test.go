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

	"kojisnap/dbsync/dbtest"
)

// TestKojiFails does in staging what Koji's own tools do to builds of the read-only volume, and
// fail, and what they do to copied builds, and succeed. The next plain sync puts right what the
// first broke, and names it; what staging decided stays, by audits and by copies of hosts that do
// not reach the database, too.
func TestKojiFails(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	if w.readOnly(t); exec.Command("touch", filepath.Join(w.prodTree, "x")).Run() == nil {
		t.Skip("needs a read-only mount: moves in Koji would succeed")
	}
	c := w.config(t, "f42-compose")
	sync := func(more ...string) outcome {
		t.Helper()
		o := kojisnapRun(t, append([]string{"sync", "-c", c, "--no-verify"}, more...)...)
		if o.code != 0 {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
		return o
	}
	sync()
	before := w.checkSymlinks(t)
	on := func(volume string) (nvrs []string) {
		for _, nvr := range slices.Sorted(mapsKeys(before)) {
			if info, err := os.Lstat(filepath.Join(w.prodTree, "packages", nvr)); err == nil && info.IsDir() && before[nvr] == volume {
				nvrs = append(nvrs, nvr)
			}
		}
		return nvrs
	}
	prod, staged := on("prod"), on("staged")
	if len(prod) < 4 || len(staged) < 2 {
		t.Fatalf("on prod %q, on staged %q", prod, staged)
	}
	at := func(volume, nvr string) string { return filepath.Join(w.topdir, volume, "packages", nvr) }
	move := func(nvr, volume string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(at(volume, nvr)), 0o755))
		if out, err := exec.Command("cp", "-a", filepath.Join(w.prodTree, "packages", nvr), at(volume, nvr)).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v: %s", err, out)
		}
	}
	// deleteBuild, and changeBuildVolume to DEFAULT and to the copy volume, up to where they fail.
	must(t, os.Remove(at("", prod[0])))
	must(t, os.Remove(at("", prod[1])))
	move(prod[1], "")
	move(prod[2], "vol/staged")
	// One into which somebody has put a file.
	must(t, os.Remove(at("", prod[3])))
	move(prod[3], "")
	must(t, os.WriteFile(filepath.Join(at("", prod[3]), "notes"), nil, 0o644))
	// deleteBuild of a copied build.
	deleted := staged[0]
	must(t, errors.Join(os.Remove(at("", deleted)), os.RemoveAll(at("vol/staged", deleted))))
	dbtest.Exec(t, w.dsn, `UPDATE build b SET state = 2 FROM package p WHERE p.id = b.pkg_id AND p.name || '/' || b.version || '/' || b.release = '`+deleted+`'`)

	o := sync()
	for path, told := range map[string]string{
		"packages/" + prod[0]:            "DEFAULT's symlink of a build was gone",
		"packages/" + prod[1]:            "a copy of production's files that a move in Koji left",
		"vol/staged/packages/" + prod[2]: "a copy of production's files that a move in Koji left",
		"packages/" + prod[3]:            "look at it, and remove it if that is so",
	} {
		n := 0
		for line := range strings.Lines(o.stderr) {
			if strings.Contains(line, told) && strings.Contains(strings.ReplaceAll(line, "\n", " "), "path="+path+" ") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s: told %d times: %s", path, n, o.stderr)
		}
	}
	for _, nvr := range prod[:2] {
		if target, err := os.Readlink(at("", nvr)); err != nil || target != "../../../vol/prod/packages/"+nvr {
			t.Errorf("%s -> %q, %v", nvr, target, err)
		}
	}
	if _, err := os.Lstat(at("vol/staged", prod[2])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the copy: %v", err)
	}
	if _, err := os.Stat(filepath.Join(at("", prod[3]), "notes")); err != nil {
		t.Error(err)
	}
	gone := func(what string) {
		t.Helper()
		for _, path := range []string{at("", deleted), at("vol/staged", deleted)} {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s: %v", what, path, err)
			}
		}
	}
	gone("a plain sync")
	must(t, os.RemoveAll(at("", prod[3])))
	if o := sync("--audit"); strings.Contains(o.stderr, deleted) {
		t.Errorf("told: %s", o.stderr)
	}
	gone("a sync with --audit")
	for _, more := range [][]string{nil, {"--audit"}} {
		succeed(t, append([]string{"copy", "-c", c}, more...)...)
		gone("copy")
		succeed(t, w.copyArgs(append([]string{"--env", "stg", "--sigkey", "41526f0e", "--sigkey", ""}, more...)...)...)
		gone("a copy without the database")
	}
	// Told, and not in the way: the database cannot be asked.
	o = kojisnapRun(t, "copy", "-c", c, "--db", "host=/nowhere dbname=koji")
	if o.code != 0 || !strings.Contains(o.stderr, "staging's database cannot be asked what staging decided") {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	gone("a copy whose database is gone")
	// That is undone: the files come back.
	dbtest.Exec(t, w.dsn, `UPDATE build b SET state = 1 FROM package p WHERE p.id = b.pkg_id AND p.name || '/' || b.version || '/' || b.release = '`+deleted+`'`)
	sync("--audit")
	sync("--audit")
	w.checkSymlinks(t)
}
