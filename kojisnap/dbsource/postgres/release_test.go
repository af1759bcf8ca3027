package postgres_test

import (
	"fmt"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
)

// proven is the release that a database of a Koji release proves: some changed nothing by which to tell.
var proven = map[int]int{21: 21, 22: 21, 25: 24, 27: 26, 29: 28, 31: 30, 36: 35, 37: 35}

// TestReleases: a database of each Koji release that kojisnap knows gives what the hub of that release gives.
func TestReleases(t *testing.T) {
	var releases []int
	for release := dbtest.OldestRelease; release <= dbtest.NewestRelease; release++ {
		releases = append(releases, release)
	}
	for _, release := range seedtest.Some(releases, 3) {
		t.Run(fmt.Sprint("1.", release), func(t *testing.T) {
			dsn := dbtest.ProductionOf(t, release)
			c := hubOf(t, dsn, hubtest.Options{KojiVersion: fmt.Sprintf("1.%d.0", release)})
			o := dbsource.Options{Hub: c.URL(), Tags: []string{"*"}, Event: 419}
			byHub := sourcetest.PullHub(t, c, sourcetest.Store(t), pull.Options{Tags: o.Tags, Event: o.Event})
			r, bySource := sourcetest.PullSource(t, open(t, dsn, 2), sourcetest.Store(t), o)
			sourcetest.Equal(t, byHub, bySource)
			want, known := proven[release]
			if !known {
				want = release
			}
			if r.Koji != fmt.Sprint("1.", want) {
				t.Errorf("the columns prove Koji %s, want 1.%d", r.Koji, want)
			}
			tables := len(dbsource.WantedTables())
			if release < 32 {
				tables-- // rpm_checksum
			}
			if has := bySource.Manifest.HasRelation(relation.Get("rpm_checksum")); has != (release >= 32) {
				t.Errorf("the snapshot has rpm_checksum: %v", has)
			}
			if r.Source.Unknown > 0 || r.Source.Wanted != tables {
				t.Errorf("tables: %+v", r.Source)
			}
		})
	}
}
