package postgres_test

import (
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

// TestOracleMutated: while production changes at random, a chain of pulls of the database gives what a chain of pulls
// of the hub gives, with what was revoked between them; and so does a chain in which each pull goes on from a snapshot
// of the other kind. One seed is of everything.
func TestOracleMutated(t *testing.T) {
	seedtest.Each(t, []uint64{3, 1, 2}, func(t *testing.T, seed uint64) {
		var since int64
		if seed%3 == 0 {
			since = 380 // with history
		}
		rows, err := hubtest.Rows(kojiprod.Rows())
		if err != nil {
			t.Fatal(err)
		}
		if err := generate.AddContentTag(rows); err != nil {
			t.Fatal(err)
		}
		mutator, err := generate.NewMutator(rows, generate.MutatorOptions{Seed: seed, Pace: time.Minute, Rare: true})
		if err != nil {
			t.Fatal(err)
		}
		c, dsn := sourcetest.Hub(t, rows, hubtest.Options{}), dbtest.Fresh(t)
		byHub, bySource, mixed := sourcetest.Store(t), sourcetest.Store(t), sourcetest.Store(t)
		tags, everything := []string{"f4*", "module-*"}, false
		if seed%3 == 1 {
			tags, everything = nil, true
		}
		rounds := 3 // each kind of pull goes on from the other
		if seedtest.Long() {
			rounds = 4
		}
		for round := range rounds {
			for range 60 {
				if _, err := mutator.Step(); err != nil {
					t.Fatal(err)
				}
			}
			sourcetest.Fill(t, dsn, rows)
			// With all builds asked for each time: what leaves no event is for the sweep, which the database needs not.
			want := sourcetest.PullHub(t, c, byHub, pull.Options{Tags: tags, Everything: everything, Margin: -1, Sweep: 1, Since: since})
			o := dbsource.Options{Hub: c.URL(), Tags: tags, Everything: everything, Margin: -1, Since: since}
			src := open(t, dsn, 1+round%3)
			r, got := sourcetest.PullSource(t, src, bySource, o)
			t.Logf("seed %d, round %d: event %d, %d rows, %d read", seed, round, r.Event, r.Totals.Rows, r.Asked.Rows)
			sourcetest.Equal(t, want, got)
			if round > 0 && r.Base == "" {
				t.Error("the pull did not go on from the one before")
			}
			var alternating *snapfile.Snapshot
			if round%2 == 0 {
				_, alternating = sourcetest.PullSource(t, src, mixed, o)
			} else {
				alternating = sourcetest.PullHub(t, c, mixed, pull.Options{Tags: tags, Everything: everything, Margin: -1, Since: since})
			}
			sourcetest.Equal(t, want, alternating)
			if round > 0 && alternating.Manifest.Parent == "" {
				t.Error("no pull goes on from a snapshot of the other kind")
			}
			src.Close()
			if t.Failed() {
				t.FailNow()
			}
		}
	})
}
