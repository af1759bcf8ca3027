package pgdump_test

import (
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/pgdump"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/seedtest"
)

// TestEverything: each kind of dump gives of everything what its database gives, to the digest of each segment. How a
// dump is packed and given has nothing to do with what is taken of it: the short form has each format once, and a pipe.
func TestEverything(t *testing.T) {
	dsn := production(t)
	o := dbsource.Options{Hub: "https://koji.example.com/kojihub", Everything: true, Event: 419}
	_, byDatabase := sourcetest.PullSource(t, sourceOf(t, dsn), sourcetest.Store(t), o)
	for _, w := range ways {
		if !seedtest.Long() && !slices.Contains([]string{"plain", "zstd from a pipe", "data only", "custom, data only", "directory", "tar"}, w.name) {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			src, err := w.open(t, w.keep(t, "production", func() string { return dsn }))
			if err != nil {
				t.Fatal(err)
			}
			_, byDump := sourcetest.PullSource(t, src, sourcetest.Store(t), o)
			sourcetest.Equal(t, byDatabase, byDump)
			sourcetest.Hashed(t, byDump)
		})
	}
}

// TestEverythingLacking: a dump without the rows of a table that everything needs gives no snapshot, and the error names
// the table.
func TestEverythingLacking(t *testing.T) {
	dsn := production(t)
	for _, format := range []string{"plain", "custom"} {
		for _, table := range []string{"rpminfo", "package"} {
			s := sourcetest.Store(t)
			var file string
			if format == "plain" && !seedtest.Long() { // what pg_dump makes without them
				text := string(read(t, way{}.keep(t, "production", func() string { return dsn })))
				file = write(t, []byte(strings.Replace(text, block(text, table), "", 1)))
			} else {
				file = dump(t, dsn, "--format="+format, "--exclude-table-data="+table)
			}
			src, err := pgdump.Open(t.Context(), pgdump.Options{Path: file, TempDir: t.TempDir()})
			if err == nil {
				t.Cleanup(func() { src.Close() })
				_, err = dbsource.Pull(t.Context(), src, s, dbsource.Options{Hub: "https://koji.example.com/kojihub", Everything: true, Event: 419})
			}
			if err == nil || !strings.Contains(err.Error(), table) {
				t.Errorf("%s without %s: %v", format, table, err)
			}
			if all, err := s.List(t.Context(), "snapshots/"); err != nil || len(all) > 0 {
				t.Errorf("%s without %s: %v, %v", format, table, all, err)
			}
		}
	}
}
