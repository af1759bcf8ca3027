package integration_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
)

// TestNamesInURLs: whatever is in the name of an rpm, a copy from a web server asks for that very file.
func TestNamesInURLs(t *testing.T) {
	t.Parallel()
	const odd = "%41%zz b#c?d;e[f]+g&h"
	w := newEnv(t)
	const build = "packages/bash/5.3.0/2.fc42"
	rpms, err := filepath.Glob(filepath.Join(w.prodTree, build, "x86_64/bash*.rpm"))
	if err != nil || len(rpms) == 0 {
		t.Fatalf("rpms: %v, %v", rpms, err)
	}
	file := filepath.Base(rpms[0])
	name := strings.TrimSuffix(file, "-5.3.0-2.fc42.x86_64.rpm")
	must(t, filepath.WalkDir(filepath.Join(w.prodTree, build), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(e.Name(), file) {
			return err
		}
		return os.Rename(path, filepath.Join(filepath.Dir(path), name+odd+strings.TrimPrefix(e.Name(), name)))
	}))
	w.update(t, "rpminfo", hubtest.Values{"build_id": w.buildID(t, "bash/5.3.0/2.fc42"), "name": name, "arch": "x86_64"}, hubtest.Values{"name": name + odd})
	web := httptest.NewServer(http.FileServer(http.Dir(w.prodTree)))
	defer web.Close()

	c := w.config(t, "f42-compose")
	succeed(t, "pull", "-c", c)
	if o := kojisnapRun(t, "copy", "-c", c, "--source", web.URL); o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	found := 0
	must(t, filepath.WalkDir(filepath.Join(w.topdir, "vol/staged", build), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && strings.HasPrefix(e.Name(), name+odd) {
			found++
		}
		return err
	}))
	if found == 0 {
		t.Error("the rpm is not there")
	}
}
