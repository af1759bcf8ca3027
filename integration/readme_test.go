package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
)

// TestReadmeExample runs the README's own configuration by its own cron lines, as a user who is not root,
// with the privileges of scripts/grants.sql: only what names a site is put in its place.
func TestReadmeExample(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	block := func(pattern string) []string {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatch(string(readme))
		if found == nil {
			t.Fatalf("README.md has nothing like %s", pattern)
		}
		return found[1:]
	}
	toml := block("(?s)```toml\n(.*?)```")[0]
	cron := block(`(?m)^\*/30 \* \* \* \*  (\S+)  kojisnap (sync .*)$\n^10 3 \* \* \*    (\S+)  kojisnap (prune .*)$`)
	user, sync, prune := cron[0], strings.Fields(cron[1]), strings.Fields(cron[3])
	if cron[2] != user || user != "root" && regexp.MustCompile(`(?m)^owner\b`).MatchString(toml) {
		t.Errorf("the cron lines are of %q and %q, the configuration is\n%s", user, cron[2], toml)
	}

	w := newMarkedEnv(t)
	nobody := w.nobody(t)
	w.readOnly(t)
	etc := t.TempDir()
	for dir := etc; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	example, err := os.ReadFile("../scripts/overlay.example.toml")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(etc, "overlay.toml"), example, 0o644))
	store := strings.TrimPrefix(w.store.String(), "file://")

	role := w.name(t) + "_loader"
	grants, err := os.ReadFile("../scripts/grants.sql")
	must(t, err)
	dbtest.Exec(t, w.dsn, "CREATE ROLE "+role+" LOGIN NOSUPERUSER")
	t.Cleanup(func() { dbtest.Exec(t, w.dsn, "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role) })
	dbtest.Exec(t, w.dsn, strings.ReplaceAll(string(grants), "TO kojisnap", "TO "+role))
	for from, to := range map[string]string{
		`"/var/lib/kojisnap"`:                          fmt.Sprintf("%q", store),
		`"/mnt/koji"`:                                  fmt.Sprintf("%q", w.topdir),
		`"host=db.stg dbname=koji user=kojisnap"`:      fmt.Sprintf("%q", w.as(t, role)),
		`"https://koji.fedoraproject.org/kojihub"`:     fmt.Sprintf("%q\nevent = %d", w.prodURL, lastEvent),
		`"https://koji.stg.fedoraproject.org/kojihub"`: fmt.Sprintf("%q", w.stagingURL),
		`["/mnt/fedora_koji_prod/koji"]`:               fmt.Sprintf("[%q]", w.prodTree),
		`"/etc/kojisnap/overlay.toml"`:                 fmt.Sprintf("%q", etc+"/overlay.toml"),
		`sigkey = ["105ef944"]`:                        `sigkey = ["41526f0e", ""]`,
	} {
		if !strings.Contains(toml, from) {
			t.Fatalf("README.md's configuration has no %s", from)
		}
		toml = strings.ReplaceAll(toml, from, to)
	}
	must(t, os.WriteFile(filepath.Join(etc, "kojisnap.toml"), []byte(toml), 0o644))
	run := func(args ...string) string {
		t.Helper()
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "/var/lib/kojisnap", store)
		}
		o := nobody(append(args, "-c", filepath.Join(etc, "kojisnap.toml"))...)
		if o.code != 0 {
			t.Errorf("kojisnap %q: exit code %d: %s%s", args, o.code, o.stdout, o.stderr)
		}
		return o.stdout + o.stderr
	}
	run("doctor")
	for range 2 {
		if out := run(sync...); out != "" {
			t.Errorf("cron would send: %s", out)
		}
	}
	if out := run(prune...); out != "" {
		t.Errorf("cron would send: %s", out)
	}
	run("verify")
}
