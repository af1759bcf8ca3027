package pgdump_test

import (
	"testing"

	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/pgdump"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
)

// TestOracle: the recorded production at one event gives by each kind of dump what it gives by its hub and by its
// database, to the digest of each segment.
func TestOracle(t *testing.T) {
	dsn := production(t)
	c := hubOf(t, dsn)
	tags := []string{"f4*", "module-*"}
	byHub := sourcetest.PullHub(t, c, sourcetest.Store(t), pull.Options{Tags: tags, Event: 419})
	o := dbsource.Options{Hub: c.URL(), Tags: tags, Event: 419}
	_, byDatabase := sourcetest.PullSource(t, sourceOf(t, dsn), sourcetest.Store(t), o)
	sourcetest.Equal(t, byHub, byDatabase)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			src, err := w.open(t, w.keep(t, "production", func() string { return dsn }))
			if err != nil {
				t.Fatal(err)
			}
			_, byDump := sourcetest.PullSource(t, src, sourcetest.Store(t), o)
			if byDump.Manifest.Source != "dump" {
				t.Errorf("the manifest's source is %q", byDump.Manifest.Source)
			}
			sourcetest.Equal(t, byHub, byDump)
			sourcetest.Hashed(t, byDump)
		})
	}
}

// TestWithoutChecksums: a dump that was made without the rows of rpm_checksum gives a snapshot that lacks the
// relation, instead of one that says that production has none.
func TestWithoutChecksums(t *testing.T) {
	dsn := production(t)
	for _, format := range seedtest.Some([]string{"plain", "custom", "directory"}, 2) {
		t.Run(format, func(t *testing.T) {
			src, err := pgdump.Open(t.Context(), pgdump.Options{Path: dump(t, dsn, "--format="+format, "--exclude-table-data=rpm_checksum"), TempDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { src.Close() })
			r, snap := sourcetest.PullSource(t, src, sourcetest.Store(t), dbsource.Options{Hub: "https://koji.example.com/kojihub", Tags: []string{"f42-infra"}, Event: 419})
			if snap.Manifest.HasRelation(relation.Get("rpm_checksum")) {
				t.Error("the snapshot has rpm_checksum")
			}
			if r.Source.Wanted != len(relation.All()) {
				t.Errorf("%d tables are wanted", r.Source.Wanted)
			}
		})
	}
}
