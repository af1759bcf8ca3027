package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
)

func TestBadDatabase(t *testing.T) {
	t.Parallel()
	pulled := func(t *testing.T, w *env) { w.pullOnce(t, "f42") }
	for _, b := range []bad{
		{"not marked", func(t *testing.T, w *env) []string { pulled(t, w); return w.loadArgs() }, 1, []string{"kojisnap init"}},
		{"not Koji's", func(t *testing.T, w *env) []string {
			pulled(t, w)
			w.dsn = dbtest.Empty(t)
			return w.loadArgs()
		}, 1, []string{"Koji"}},
		{"not Koji's, init", func(t *testing.T, w *env) []string {
			w.dsn = dbtest.Empty(t)
			return []string{"init", "--db", w.dsn}
		}, 1, []string{"Koji"}},
		{"a table is gone", func(t *testing.T, w *env) []string {
			w.init(t)
			pulled(t, w)
			dbtest.Exec(t, w.dsn, "DROP TABLE rpmsigs")
			return w.loadArgs()
		}, 1, []string{"rpmsigs"}},
		{"a newer schema", func(t *testing.T, w *env) []string {
			w.init(t)
			pulled(t, w)
			dbtest.Exec(t, w.dsn, "ALTER TABLE build ADD COLUMN flavor text NOT NULL")
			return w.loadArgs()
		}, 1, []string{"build", "flavor"}},
		{"another environment", func(t *testing.T, w *env) []string {
			w.init(t)
			pulled(t, w)
			return append(w.loadArgs(), "--env", "qa")
		}, 1, []string{`"stg"`, `"qa"`}},
		{"a production database", func(t *testing.T, w *env) []string {
			w.dsn = dbtest.Production(t)
			return []string{"init", "--db", w.dsn}
		}, 1, []string{"--adopt"}},
		{"adopt without the right name", func(t *testing.T, w *env) []string {
			w.dsn = dbtest.Production(t)
			return []string{"init", "--db", w.dsn, "--adopt", "--confirm", "koji@1"}
		}, 1, []string{"koji@1"}},
		{"nobody there", func(t *testing.T, w *env) []string {
			pulled(t, w)
			return append(w.loadArgs(), "--db", "postgres://koji:secret@127.0.0.1:1/koji")
		}, 5, []string{"127.0.0.1"}},
		{"no such database", func(t *testing.T, w *env) []string {
			pulled(t, w)
			return append(w.loadArgs(), "--db", w.dsn+"&dbname=nope")
		}, 1, []string{"nope"}},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			w := newHubEnv(t)
			w.addDatabase(t)
			b.check(t, w)
		})
	}
}
func TestBadSnapshot(t *testing.T) {
	t.Parallel()
	segment := func(t *testing.T, w *env, relation string) string {
		snap := w.pullOnce(t, "f42")
		return filepath.Join(w.store.String(), snap.Relation(relation).Segments[0].Object())
	}
	for _, b := range []bad{
		{"empty store", func(t *testing.T, w *env) []string { return w.loadArgs() }, 1, []string{"kojisnap pull"}},
		{"no such snapshot", func(t *testing.T, w *env) []string { return w.loadArgs("--snapshot", "7-0123456789ab") }, 1, []string{"7-0123456789ab"}},
		{"hostile id", func(t *testing.T, w *env) []string { return w.loadArgs("--snapshot", "../../etc/passwd") }, 2, []string{`"../../etc/passwd"`}},
		{"segment is missing", func(t *testing.T, w *env) []string {
			must(t, os.Remove(segment(t, w, "rpmsigs")))
			return w.loadArgs()
		}, 1, []string{"segments/", "no such file"}},
		{"segment is damaged", func(t *testing.T, w *env) []string {
			path := segment(t, w, "rpminfo")
			body, err := os.ReadFile(path)
			must(t, err)
			body[len(body)/2] ^= 0xff
			must(t, os.WriteFile(path, body, 0o644))
			return w.loadArgs()
		}, 6, []string{"segments/", "damaged"}},
		{"manifest is damaged", func(t *testing.T, w *env) []string {
			snap := w.pullOnce(t, "f42")
			path := filepath.Join(w.store.String(), "snapshots", snap.ID+".json")
			body, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, []byte(strings.Replace(string(body), "f42", "f43", 1)), 0o644))
			return w.loadArgs()
		}, 6, []string{"damaged"}},
		{"manifest of a newer version", func(t *testing.T, w *env) []string {
			must(t, w.store.Put(t.Context(), "snapshots/9-0123456789ab.json", strings.NewReader(`{"format": "kojisnap-snapshot", "version": 99}`)))
			return w.loadArgs()
		}, 1, []string{"9-0123456789ab", "newer"}},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			w := newHubEnv(t)
			w.addMarked(t)
			b.check(t, w)
		})
	}
}
