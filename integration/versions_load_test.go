package integration_test

import (
	"os"
	"path/filepath"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store/dir"
)

// storedV1 are the snapshots of kojisnap/snapfile/testdata/v1, as an early kojisnap wrote them.
var storedV1 = []string{"380-925c87086f09", "419-2e7bcce11d5e"}

// copyStore copies a store of testdata, which nothing may write into.
func copyStore(t testing.TB, version string) *dir.Store {
	t.Helper()
	at := t.TempDir()
	must(t, os.CopyFS(at, os.DirFS(filepath.Join("..", "kojisnap", "snapfile", "testdata", version))))
	s, err := dir.Open(at)
	must(t, err)
	return s
}

// TestLoadV1 loads the snapshots of a store of version 1, the second over the first, and compares the
// database with one that has the second alone.
func TestLoadV1(t *testing.T) {
	t.Parallel()
	s := copyStore(t, "v1")
	load := func(dsn string, ids ...string) {
		t.Helper()
		for i, id := range ids {
			snap, err := repository.Open(t.Context(), s, id)
			must(t, err)
			r, err := kojisnap.Load(t.Context(), snap, s, kojisnap.LoadOptions{DSN: dsn, Topdir: t.TempDir()})
			must(t, err)
			if i > 0 && r.Base != ids[i-1] {
				t.Errorf("%s was loaded over %q, want %s", id, r.Base, ids[i-1])
			}
		}
	}
	one, both := marked(t), marked(t)
	load(both, storedV1...)
	load(one, storedV1[1])
	for name, query := range map[string]string{
		"taggings": `SELECT count(*)::text || md5(string_agg(build_id || ' ' || tag_id, ',' ORDER BY build_id, tag_id)) FROM tag_listing WHERE active`,
		"builds":   `SELECT count(*)::text || md5(string_agg(id || ' ' || version || ' ' || release || ' ' || state, ',' ORDER BY id)) FROM build`,
		"rpms":     `SELECT count(*)::text || md5(string_agg(id || ' ' || payloadhash, ',' ORDER BY id)) FROM rpminfo`,
		"tags":     `SELECT count(*)::text || md5(string_agg(name, ',' ORDER BY name)) FROM tag`,
	} {
		if got, want := text(t, both, query), text(t, one, query); got != want || len(want) < 33 || want[0] == '0' {
			t.Errorf("%s: %s, loaded at once %s", name, got, want)
		}
	}
}

// TestLoadV4 loads the snapshots of a store of version 4, which have the optional relation rpm_checksum: the second brings
// one checksum under another type, which is taken, and four new ones.
func TestLoadV4(t *testing.T) {
	t.Parallel()
	s, dsn := copyStore(t, "v4"), marked(t)
	base := ""
	for _, stored := range []struct{ id, sums string }{{"400-5bf20228886c", "336"}, {"419-fa9dccd12052", "340"}} {
		snap, err := repository.Open(t.Context(), s, stored.id)
		must(t, err)
		r, err := kojisnap.Load(t.Context(), snap, s, kojisnap.LoadOptions{DSN: dsn, Topdir: t.TempDir()})
		must(t, err)
		if r.Base != base {
			t.Errorf("%s was loaded over %q, want %q", stored.id, r.Base, base)
		}
		if n := text(t, dsn, "SELECT count(*)::text FROM rpm_checksum"); n != stored.sums {
			t.Errorf("%s: %s checksums, want %s", stored.id, n, stored.sums)
		}
		base = stored.id
	}
}

// marked is a staging database as addMarked makes it.
func marked(t testing.TB) string {
	w := env{topdir: t.TempDir()}
	w.addMarked(t)
	return w.dsn
}

func text(t testing.TB, dsn, query string) (s string) {
	t.Helper()
	must(t, dbtest.Connect(t, dsn).QueryRow(t.Context(), query).Scan(&s))
	return s
}
