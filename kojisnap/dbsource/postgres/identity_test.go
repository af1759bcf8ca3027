package postgres_test

import (
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/postgres"
	"kojisnap/kojisnap/dbsource/sourcetest"
)

func is(t *testing.T, src *postgres.Source, dsn string, want bool) {
	t.Helper()
	if same, err := src.Is(t.Context(), dsn); same != want || err != nil {
		t.Errorf("it is the database of %s: %v, %v; want %v", dsn, same, err, want)
	}
}

// TestIs: a database is known by any role, and told from others of the same server and from where none can be asked.
// What goes wrong there does not disturb the pull.
func TestIs(t *testing.T) {
	dsn, other := dbtest.Production(t), dbtest.Production(t)
	dbtest.Exec(t, dsn, "DROP ROLE IF EXISTS kojisnap_is; CREATE ROLE kojisnap_is LOGIN")
	t.Cleanup(func() { dbtest.Exec(t, dsn, "DROP ROLE kojisnap_is") })
	as := strings.Replace(dsn, "postgres@", "kojisnap_is@", 1)
	src := open(t, dsn, 2)
	for range 3 { // the lock is free again
		is(t, src, dsn, true)
		is(t, src, as, true)
		is(t, src, other, false)
	}
	for _, bad := range []string{"postgres://u:canary@127.0.0.1:1/koji", "host=127.0.0.1 port=none"} {
		if same, err := src.Is(t.Context(), bad); same || err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, %v", bad, same, err)
		}
	}
	sourcetest.PullSource(t, src, sourcetest.Store(t), dbsource.Options{Hub: "https://koji.example.com/kojihub", Tags: []string{"f42-infra"}, Event: 419})
}
