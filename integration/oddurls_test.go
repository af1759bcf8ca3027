package integration_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/store/s3/s3test"
)

// oddPrefix has what means something in a URL, a pattern, a shell, XML or SQL.
const oddPrefix = `%41%2F+ #?;[x]*&='"<$(y)` + "`\\é"

// oddNames puts oddPrefix before the names of all rpms and archives.
func (w *env) oddNames(t *testing.T) {
	t.Helper()
	archives := map[string]bool{}
	for table, column := range map[string]string{"rpminfo": "name", "archiveinfo": "filename"} {
		rows, err := w.prodRows.Select(table, hubtest.Values{})
		must(t, err)
		for _, r := range rows {
			if table == "archiveinfo" {
				if strings.HasPrefix(r[column].(string), "modulemd.") {
					continue // Koji finds these by their names
				}
				archives[r[column].(string)] = true
			}
			w.update(t, table, hubtest.Values{"id": r["id"]}, hubtest.Values{column: oddPrefix + r[column].(string)})
		}
	}
	renamed := 0
	must(t, filepath.WalkDir(w.prodTree, func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err != nil || d.IsDir() || !archives[name] && !strings.HasSuffix(name, ".rpm") && !strings.HasSuffix(name, ".rpm.sig") {
			return err
		}
		renamed++
		return os.Rename(path, filepath.Join(filepath.Dir(path), oddPrefix+name))
	}))
	if renamed < 200 || len(archives) == 0 {
		t.Fatalf("%d files renamed, %d archives", renamed, len(archives))
	}
}

// plusIsSpace serves a directory and reads + in a path as a space, as S3 does.
func plusIsSpace(t *testing.T, dir func() string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			t.Errorf("asked for %s", r.URL)
		}
		if strings.Contains(r.URL.EscapedPath(), "+") {
			r.URL.Path = strings.ReplaceAll(r.URL.Path, "+", " ")
		}
		http.FileServer(http.Dir(dir())).ServeHTTP(rw, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestOddNamesEverywhere: whatever a name holds, each kind of source is asked for that file, and each
// reader finds it: the copy, verify, topurl, a trial repository, an audit.
func TestOddNamesEverywhere(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	w.oddNames(t)
	w.pull(t, lastEvent, "f42-compose")
	s3 := s3test.StartParallel(t).Upload(t, w.prodTree)
	environ := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	for _, setting := range os.Environ() {
		if strings.HasPrefix(setting, "AWS_") {
			environ = append(environ, setting)
		}
	}
	for name, source := range map[string]string{
		"directory": w.prodTree,
		"http":      plusIsSpace(t, func() string { return w.prodTree }),
		"S3":        s3,
	} {
		t.Run(name, func(t *testing.T) {
			w.topdir = filepath.Join(t.TempDir(), "koji")
			must(t, os.Mkdir(w.topdir, 0o755))
			topurl := plusIsSpace(t, func() string { return w.topdir })
			c := w.config(t, "f42-compose")
			run := func(args ...string) {
				t.Helper()
				if o := runWith(t, environ, append(args, "-c", c, "--source", source)...); o.code != 0 || o.stderr != "" {
					t.Errorf("%s: exit code %d: %s%s", args, o.code, o.stdout, o.stderr)
				}
			}
			run("sync", "--new-topdir", "--topurl", topurl)
			if found := glob(t, filepath.Join(w.topdir, "vol/staged/packages/bash/*/*/data/signed/41526f0e/x86_64/*.rpm")); len(found) == 0 || !strings.HasPrefix(filepath.Base(found[0]), oddPrefix) {
				t.Errorf("found %q", found)
			}
			if name != "directory" && !seedtest.Long() {
				return // what reads the copies is the same for all sources
			}
			run("copy", "--verify", "digest")
			args := []string{"verify", "-c", c, "--topurl", topurl}
			if _, err := exec.LookPath("createrepo_c"); err == nil {
				args = append(args, "--compose", filepath.Join(w.topdir, "compose/trial"))
			}
			succeed(t, args...)
		})
	}
}
