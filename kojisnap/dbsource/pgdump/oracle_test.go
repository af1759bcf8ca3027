package pgdump_test

import (
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/pull"
)

// TestOracle: the recorded production at one event gives by each kind of dump what it gives by its hub and by its
// database, to the digest of each segment.
func TestOracle(t *testing.T) {
	dsn := dbtest.Production(t)
	c := hubOf(t, dsn)
	tags := []string{"f4*", "module-*"}
	byHub := sourcetest.PullHub(t, c, sourcetest.Store(t), pull.Options{Tags: tags, Event: 419})
	o := dbsource.Options{Hub: c.URL(), Tags: tags, Event: 419}
	_, byDatabase := sourcetest.PullSource(t, sourceOf(t, dsn), sourcetest.Store(t), o)
	sourcetest.Equal(t, byHub, byDatabase)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			src, err := w.open(t, w.make(t, dsn))
			if err != nil {
				t.Fatal(err)
			}
			_, byDump := sourcetest.PullSource(t, src, sourcetest.Store(t), o)
			if byDump.Manifest.Source != "dump" {
				t.Errorf("the manifest's source is %q", byDump.Manifest.Source)
			}
			sourcetest.Equal(t, byHub, byDump)
		})
	}
}
