package postgres_test

import (
	"io"
	"os"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/postgres"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/relation"
)

// byHand is the closure of one tag as somebody writes it for psql: the tables that hold nearly all rows.
var byHand = []string{
	`SELECT * FROM tag_listing WHERE tag_id IN (SELECT id FROM s)`,
	`SELECT * FROM tag_packages WHERE tag_id IN (SELECT id FROM s)`,
	`SELECT * FROM tag_package_owners WHERE tag_id IN (SELECT id FROM s)`,
	`SELECT * FROM build WHERE id IN (SELECT build_id FROM tag_listing WHERE tag_id IN (SELECT id FROM s))`,
	`SELECT * FROM build_types WHERE build_id IN (SELECT build_id FROM tag_listing WHERE tag_id IN (SELECT id FROM s))`,
	`SELECT * FROM rpminfo WHERE build_id IN (SELECT build_id FROM tag_listing WHERE tag_id IN (SELECT id FROM s))`,
	`SELECT * FROM rpmsigs WHERE rpm_id IN (SELECT id FROM rpminfo WHERE build_id IN (SELECT build_id FROM tag_listing WHERE tag_id IN (SELECT id FROM s)))`,
	`SELECT * FROM events WHERE id IN (SELECT create_event FROM build WHERE id IN (SELECT build_id FROM tag_listing WHERE tag_id IN (SELECT id FROM s)))`,
}

const scopeByHand = `WITH RECURSIVE s(id) AS (SELECT id FROM tag WHERE name = 'f42' UNION SELECT parent_id FROM s JOIN tag_inheritance i ON i.tag_id = s.id AND i.active) `

// BenchmarkSourceSessions pulls the database of a hub as large as a distribution's, and beside it copies the same tables by
// COPY statements written by hand into zstd, by numbers of sessions, and pulls again where nothing has changed. KOJISNAP_BENCH_SOURCE_BUILDS
// (default 24000) is how many builds the tag has; ten times as many are outside of it.
func BenchmarkSourceSessions(b *testing.B) {
	builds := 24_000
	if text := os.Getenv("KOJISNAP_BENCH_SOURCE_BUILDS"); text != "" {
		var err error
		if builds, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	rows, err := generate.Hub(generate.Options{Builds: builds})
	if err != nil {
		b.Fatal(err)
	}
	dsn := dbtest.Fresh(b)
	sourcetest.Fill(b, dsn, rows)
	dbtest.Exec(b, dsn, "VACUUM ANALYZE")
	o := dbsource.Options{Hub: "http://koji.example.com/kojihub", Tags: []string{generate.Tag}, Margin: -1}
	for _, jobs := range []int{1, 2, 4} {
		b.Run("pull/jobs="+strconv.Itoa(jobs), func(b *testing.B) {
			for b.Loop() {
				src, err := postgres.Open(b.Context(), postgres.Options{DSN: dsn, Jobs: jobs})
				if err != nil {
					b.Fatal(err)
				}
				r, err := dbsource.Pull(b.Context(), src, sourcetest.Store(b), o)
				src.Close()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(r.Totals.Rows), "rows")
			}
		})
	}
	b.Run("again", func(b *testing.B) {
		s := sourcetest.Store(b)
		for i := 0; b.Loop(); i++ {
			if i == 0 {
				b.StopTimer()
				sourcetest.PullSource(b, open(b, dsn, 2), s, o)
				b.StartTimer()
			}
			src, err := postgres.Open(b.Context(), postgres.Options{DSN: dsn, Jobs: 2})
			if err != nil {
				b.Fatal(err)
			}
			r, err := dbsource.Pull(b.Context(), src, s, o)
			src.Close()
			if err != nil || !r.Existing {
				b.Fatal(r, err)
			}
		}
	})
	for _, jobs := range []int{1, 2, 4} {
		b.Run("everything/jobs="+strconv.Itoa(jobs), func(b *testing.B) {
			for b.Loop() {
				src, err := postgres.Open(b.Context(), postgres.Options{DSN: dsn, Jobs: jobs})
				if err != nil {
					b.Fatal(err)
				}
				r, err := dbsource.Pull(b.Context(), src, sourcetest.Store(b), dbsource.Options{Hub: o.Hub, Everything: true, Margin: -1})
				src.Close()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(r.Totals.Rows), "rows")
			}
		})
	}
	b.Run("peer=copy+zstd of everything", func(b *testing.B) {
		for b.Loop() {
			n, err := copyAll(b, dsn)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(n), "rows")
		}
	})
	b.Run("peer=copy+zstd", func(b *testing.B) {
		for b.Loop() {
			n, err := copyByHand(b, dsn)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(n), "rows")
		}
	})
}

// copyByHand does what psql and zstd do, over one connection, for the closure of the tag.
func copyByHand(b *testing.B, dsn string) (rows int64, err error) {
	return copyBy(b, dsn, scopeByHand, byHand)
}

// copyAll does so for whole tables.
func copyAll(b *testing.B, dsn string) (rows int64, err error) {
	var all []string
	for _, rel := range relation.All() {
		all = append(all, "SELECT * FROM "+rel.Name)
	}
	return copyBy(b, dsn, "", all)
}

func copyBy(b *testing.B, dsn, scope string, queries []string) (rows int64, err error) {
	conn, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		return 0, err
	}
	defer conn.Close(b.Context())
	file, err := os.Create(b.TempDir() + "/rows.zst")
	if err != nil {
		return 0, err
	}
	defer file.Close()
	out, err := zstd.NewWriter(file)
	if err != nil {
		return 0, err
	}
	for _, sql := range queries {
		tag, err := conn.PgConn().CopyTo(b.Context(), io.Writer(out), "COPY ("+scope+sql+") TO STDOUT")
		if err != nil {
			return 0, err
		}
		rows += tag.RowsAffected()
	}
	return rows, out.Close()
}
