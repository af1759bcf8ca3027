package snapfile_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// stored opens the snapshots of a store in testdata, in the order of their events.
func stored(t testing.TB, version string) (snaps []*snapfile.Snapshot) {
	t.Helper()
	for _, id := range storedIDs(t, version) {
		snap, err := snapfile.Open(t.Context(), storedObject(version), id)
		if err != nil {
			t.Fatal(err)
		}
		snaps = append(snaps, snap)
	}
	return snaps
}

func storedIDs(t testing.TB, version string) (ids []string) {
	t.Helper()
	manifests, err := filepath.Glob(filepath.Join("testdata", version, "snapshots", "*.json"))
	if err != nil || len(manifests) == 0 {
		t.Fatal("no manifest in testdata", version, err)
	}
	for _, name := range manifests {
		ids = append(ids, strings.TrimSuffix(filepath.Base(name), ".json"))
	}
	return ids
}

func storedObject(version string) snapfile.GetFunc {
	return func(_ context.Context, name string) (io.ReadCloser, error) {
		return os.Open(filepath.Join("testdata", version, filepath.FromSlash(name)))
	}
}

// TestStored reads stores that earlier programs wrote. They stay as they are for ever, and so do the sums
// in testdata/VERSION.sums: of a relation's rows, in the columns that its manifest names.
func TestStored(t *testing.T) {
	for _, version := range []string{"v1", "v2", "v4", "v5"} {
		t.Run(version, func(t *testing.T) {
			var got bytes.Buffer
			for _, snap := range stored(t, version) {
				if want := "v" + fmt.Sprint(snap.Manifest.Version); want != version {
					t.Errorf("%s is of %s", snap.ID, want)
				}
				for _, r := range snap.Manifest.Relations {
					for kind, rows := range map[string]*snapfile.Rows{"view": snap.Rows(t.Context(), r.Name), "revoked": snap.Revoked(t.Context(), r.Name)} {
						n, sum := sumOf(t, snap, r, rows)
						if n > 0 {
							fmt.Fprintf(&got, "%s %s %s %d %s\n", snap.ID, r.Name, kind, n, sum)
						}
						if kind == "view" && n != r.Rows {
							t.Errorf("%s: %d rows of %s, the manifest says %d", snap.ID, n, r.Name, r.Rows)
						}
					}
				}
			}
			want, err := os.ReadFile(filepath.Join("testdata", version+".sums"))
			if err != nil {
				t.Fatal(err)
			}
			if g, w := sortedLines(got.Bytes()), sortedLines(want); !slices.Equal(g, w) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(g, "\n"), strings.Join(w, "\n"))
			}
		})
	}
}

func sortedLines(b []byte) []string {
	return slices.Sorted(strings.SplitSeq(strings.TrimSpace(string(b)), "\n"))
}

// sumOf counts rows and takes their SHA-256, without columns that the manifest does not have.
func sumOf(t testing.TB, snap *snapfile.Snapshot, r snapfile.Relation, rows *snapfile.Rows) (n int64, sum string) {
	t.Helper()
	defer rows.Close()
	today := relation.Get(r.Name).ColumnNames()
	h := sha256.New()
	var line []byte
	for rows.Next() {
		fields, err := rows.Fields(nil)
		if err != nil {
			t.Fatal(err)
		}
		var row [][]byte
		for _, name := range r.Columns {
			row = append(row, fields[slices.Index(today, name)])
		}
		line = snapfile.AppendLine(line[:0], row)
		h.Write(line)
		n++
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s, %s: %v", snap.ID, r.Name, err)
	}
	return n, fmt.Sprintf("%x", h.Sum(nil))
}
