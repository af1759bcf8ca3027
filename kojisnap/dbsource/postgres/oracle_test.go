package postgres_test

import (
	"os"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/postgres"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/seedtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

// production is a database with the recorded rows, and a hub that answers from the same rows.
func production(t testing.TB) (dsn string, c *hub.Client) {
	t.Helper()
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	return dbtest.Production(t), sourcetest.Hub(t, rows, hubtest.Options{})
}

func hubOf(t testing.TB, dsn string, o hubtest.Options) *hub.Client {
	t.Helper()
	db, err := hubtest.PostgreSQL(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return sourcetest.Hub(t, db, o)
}

// open opens a database as a source.
func open(t testing.TB, dsn string, jobs int) *postgres.Source {
	t.Helper()
	src, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn, Jobs: jobs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// TestOracle: the recorded production at several events, scopes and numbers of sessions gives by its database what it
// gives by its hub, to the digest of each segment.
func TestOracle(t *testing.T) {
	dsn, c := production(t)
	sourcetest.Hash(t, dsn)
	for _, test := range []struct {
		name   string
		tags   []string
		builds []string
		event  int64
		jobs   int
		plain  bool // without content tags
		since  int64
		long   bool // what it has together, others have one by one
	}{
		{"one tag", []string{"f42-compose"}, nil, 419, 1, false, 0, true},
		{"patterns", []string{"f4*", "!f42-infra*"}, nil, 419, 3, false, 0, false},
		{"all tags", []string{"*"}, nil, 419, 2, false, 0, false},
		{"earlier", []string{"*"}, nil, 300, 2, false, 0, false},
		{"early", []string{"f42"}, nil, 150, 2, false, 0, false},
		{"no content tags", []string{"*"}, nil, 419, 2, true, 0, false},
		{"builds by name", []string{"f42-infra"}, []string{"kernel-6.14.5-300.fc42", "layered-image-1-1", "draftpkg-1-1.fc42,draft_72", "failed-build-1-1", "40"}, 419, 2, false, 0, false},
		{"history", []string{"f42-compose"}, nil, 419, 2, false, 100, false},
		{"history of all", []string{"*"}, nil, 410, 2, false, 1, true},
		{"everything", nil, nil, 419, 2, false, 0, false},
		{"everything earlier", nil, nil, 300, 3, false, 0, true},
		{"everything with history", nil, nil, 419, 2, false, 100, false},
	} {
		if test.long && !seedtest.Long() {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			byHub := sourcetest.PullHub(t, c, sourcetest.Store(t), pull.Options{Tags: test.tags, Everything: test.tags == nil, Builds: test.builds, Event: test.event, NoContentTags: test.plain, Since: test.since})
			_, bySource := sourcetest.PullSource(t, open(t, dsn, test.jobs), sourcetest.Store(t), dbsource.Options{
				Hub: c.URL(), Tags: test.tags, Everything: test.tags == nil, Builds: test.builds, Event: test.event, NoContentTags: test.plain, Since: test.since})
			sourcetest.Equal(t, byHub, bySource)
			if test.name != "early" { // nothing is signed by then
				sourcetest.Hashed(t, bySource)
			}
		})
	}
}
