package dbsync_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/relation"
)

// grow adds builds of ten rpms, with an empty-key row each and every second signed, all
// tagged in f42.
func (w *world) grow(first, builds int) {
	for i := range builds {
		id := int64(first + i)
		e := int64(first + i*2)
		w.add("events", "id", e, "time", "2026-11-21 00:00:00+00")
		w.add("events", "id", e+1, "time", "2026-11-21 00:00:01+00")
		w.add("package", "id", id, "name", fmt.Sprintf("package-%d", id))
		w.add("tag_packages", "package_id", id, "tag_id", 2, "blocked", "f", "create_event", e, "creator_id", 1, "active", "t")
		w.add("tag_package_owners", "package_id", id, "tag_id", 2, "owner", 2, "create_event", e, "creator_id", 1, "active", "t")
		w.add("build", "id", id, "volume_id", i%3, "pkg_id", id, "version", "1.0", "release", fmt.Sprintf("%d.fc42", i), "draft", "f", "create_event", e,
			"source", "git+https://src.example.com/rpms/package#0123456789012345678901234567890123456789",
			"start_time", "2026-11-21 00:00:00+00", "completion_time", "2026-11-21 00:10:00+00", "state", 1, "owner", 2,
			"extra", `{"source": {"original_url": "git+https://src.example.com/rpms/package#0123456789012345678901234567890123456789"}}`)
		w.add("build_types", "build_id", id, "btype_id", 1)
		w.add("tag_listing", "build_id", id, "tag_id", 2, "create_event", e+1, "creator_id", 1, "active", "t")
		for j := range 10 {
			rpm := int64(first + i*10 + j)
			arch := []string{"src", "x86_64", "aarch64", "noarch"}[j%4]
			w.add("rpminfo", "id", rpm, "build_id", id, "name", fmt.Sprintf("package-%d-sub%d", id, j), "version", "1.0", "release", fmt.Sprintf("%d.fc42", i), "arch", arch,
				"draft", "f", "external_repo_id", 0, "payloadhash", "0123456789abcdef0123456789abcdef", "size", 123456, "buildtime", 1700000000, "metadata_only", "f")
			w.add("rpmsigs", "rpm_id", rpm, "sigkey", "", "sighash", "0123456789abcdef0123456789abcdef")
			if j%2 == 0 {
				w.add("rpmsigs", "rpm_id", rpm, "sigkey", "41526f0e", "sighash", "0123456789abcdef0123456789abcdef")
			}
		}
	}
}

const benchBuilds = 5000

// BenchmarkLoad loads a snapshot into a fresh staging, beside a plain COPY of the same rows into
// the same tables with all their constraints; ratio is the one's time by the other's.
func BenchmarkLoad(b *testing.B) {
	w := newWorld(b)
	w.grow(1_000_000, benchBuilds)
	snap := w.snapshot(shot{})
	rows := snap.Manifest.Totals.Rows
	var loading, copying time.Duration
	for range b.N {
		s := newStaging(b)
		start := time.Now()
		s.load(snap, dbsync.LoadOptions{})
		loading += time.Since(start)
		copying += plainCopy(b, s)
	}
	n := float64(b.N)
	b.ReportMetric(float64(rows)*n/loading.Seconds(), "rows/s")
	b.ReportMetric(float64(rows)*n/copying.Seconds(), "copy-rows/s")
	b.ReportMetric(loading.Seconds()/copying.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}

// plainCopy copies all rows of the catalogue's tables into a fresh database and commits.
func plainCopy(b *testing.B, from *staging) time.Duration {
	bodies := map[string]*bytes.Buffer{}
	for _, r := range relation.All() {
		bodies[r.Name] = new(bytes.Buffer)
		if _, err := from.conn.PgConn().CopyTo(context.Background(), bodies[r.Name], "COPY "+r.Name+" TO STDOUT"); err != nil {
			b.Fatal(err)
		}
	}
	dsn := dbtest.Fresh(b)
	to := &staging{t: b, dsn: dsn, conn: dbtest.Connect(b, dsn)}
	to.exec("TRUNCATE permissions, channels, volume, btype, archivetypes, external_repo CASCADE")
	start := time.Now()
	if _, err := to.conn.Exec(b.Context(), "BEGIN"); err != nil {
		b.Fatal(err)
	}
	for _, r := range relation.All() {
		if _, err := to.conn.PgConn().CopyFrom(b.Context(), bodies[r.Name], "COPY "+r.Name+" FROM STDIN"); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := to.conn.Exec(b.Context(), "COMMIT"); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// BenchmarkLoadAgain loads the next snapshot, in which one build in a hundred is new.
func BenchmarkLoadAgain(b *testing.B) {
	w := newWorld(b)
	w.grow(1_000_000, benchBuilds)
	first := w.snapshot(shot{})
	w.grow(2_000_000, benchBuilds/100)
	second := w.snapshot(shot{})
	var firsts, seconds, same time.Duration
	for range b.N {
		s := newStaging(b)
		start := time.Now()
		s.load(first, dbsync.LoadOptions{})
		firsts += time.Since(start)
		start = time.Now()
		s.load(second, dbsync.LoadOptions{})
		seconds += time.Since(start)
		start = time.Now()
		s.load(second, dbsync.LoadOptions{})
		same += time.Since(start)
	}
	n := float64(b.N)
	b.ReportMetric(firsts.Seconds()/n, "s/first")
	b.ReportMetric(seconds.Seconds()/n, "s/changed")
	b.ReportMetric(same.Seconds()/n, "s/same")
	b.ReportMetric(0, "ns/op")
}
