package postgres_test

import (
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// TestResetAsOtherTagsAreAskedFor: production resets a build, which leaves no event, and the next pull asks for other
// tags, so that it has no base. It tells of the reset nevertheless, whether it reads the hub or the database, unless the
// build was in none of its tags.
func TestResetAsOtherTagsAreAskedFor(t *testing.T) {
	t.Parallel()
	const id = 42 // in f42 and in tags that inherit it
	for _, test := range []struct {
		name string
		tags []string
		full bool
		told bool
	}{
		{"more tags", []string{"f42-compose", "f43-build"}, false, true},
		{"all rows asked for", []string{"f42-compose", "f43-build"}, true, true},
		{"other tags", []string{"f42-infra"}, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rows, err := hubtest.Rows(kojiprod.Rows())
			if err != nil {
				t.Fatal(err)
			}
			c, dsn := sourcetest.Hub(t, rows, hubtest.Options{}), dbtest.Fresh(t)
			byHub, bySource := sourcetest.Store(t), sourcetest.Store(t)
			both := func(full bool, tags ...string) *snapfile.Snapshot {
				t.Helper()
				sourcetest.Fill(t, dsn, rows)
				want := sourcetest.PullHub(t, c, byHub, pull.Options{Tags: tags, Margin: -1, Full: full})
				src := open(t, dsn, 1)
				defer src.Close()
				_, got := sourcetest.PullSource(t, src, bySource, dbsource.Options{Hub: c.URL(), Tags: tags, Margin: -1, Full: full})
				sourcetest.Equal(t, want, got)
				return got
			}
			both(false, "f42-compose")
			if err := rows.Change(func(tx *hubtest.Tx) error { return generate.ResetBuild(tx, id) }); err != nil {
				t.Fatal(err)
			}
			told := map[string]string{}
			build := relation.Get("build")
			err = snapshot.EachRevoked(t.Context(), both(test.full, test.tags...), build, func(row [][]byte) error {
				told[string(row[0])] = string(row[build.Index("state")])
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, is := told["42"]; is != test.told || is && (told["42"] != "4" || len(told) != 1) {
				t.Errorf("builds that were reset, with their states: %v", told)
			}
		})
	}
}
