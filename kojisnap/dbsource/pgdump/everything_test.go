package pgdump_test

import (
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/sourcetest"
)

// TestEverything: each kind of dump gives of everything what its database gives, to the digest of each segment.
func TestEverything(t *testing.T) {
	dsn := dbtest.Production(t)
	sourcetest.Hash(t, dsn)
	o := dbsource.Options{Hub: "https://koji.example.com/kojihub", Everything: true, Event: 419}
	_, byDatabase := sourcetest.PullSource(t, sourceOf(t, dsn), sourcetest.Store(t), o)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			src, err := w.open(t, w.make(t, dsn))
			if err != nil {
				t.Fatal(err)
			}
			_, byDump := sourcetest.PullSource(t, src, sourcetest.Store(t), o)
			sourcetest.Equal(t, byDatabase, byDump)
			sourcetest.Hashed(t, byDump)
		})
	}
}
