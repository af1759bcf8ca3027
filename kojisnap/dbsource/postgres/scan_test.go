package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/seedtest"
)

// TestScanIDs: however long or scattered a list of ids is, a scan gives each row of it once.
func TestScanIDs(t *testing.T) {
	dsn := dbtest.Production(t)
	step := uint32(1)
	if !seedtest.Long() {
		step = 5 // fewer rows, up to the same id
	}
	dbtest.Exec(t, dsn, fmt.Sprintf("INSERT INTO events (id, time) SELECT n, now() FROM generate_series(1000, 250000, %d) n", step))
	src := open(t, dsn, 2)
	for name, ids := range map[string]*roaring.Bitmap{
		"none": roaring.New(), "one": roaring.BitmapOf(400), "few": roaring.BitmapOf(1, 5, 400), "a range": rangeOf(1000, 250000, 1),
		"many": rangeOf(1000, 250000, 2), "some that are not there": rangeOf(100, 900, 3), "negative": roaring.BitmapOf(uint32(0xffffffff), 400),
	} {
		seen := roaring.New()
		err := src.Scan(t.Context(), dbsource.Scan{Table: "events", Columns: []string{"id"}, Where: &dbsource.Where{Column: "id", IDs: ids}}, func(row [][]byte) error {
			id, err := idset.Parse(row[0])
			if !seen.CheckedAdd(uint32(id)) {
				t.Errorf("%s: event %d comes twice", name, id)
			}
			return err
		})
		want := roaring.And(ids, rangeOf(1000, 250000, step))
		for id := range uint32(420) {
			if id > 0 && ids.Contains(id) {
				want.Add(id)
			}
		}
		if err != nil || !seen.Equals(want) {
			t.Errorf("%s: %d of %d events, %v", name, seen.GetCardinality(), want.GetCardinality(), err)
		}
	}
}

func rangeOf(from, to, step uint32) *roaring.Bitmap {
	b := roaring.New()
	for id := from; id <= to; id += step {
		b.Add(id)
	}
	return b
}

// TestScanEnds: what the reader of the rows returns ends the scan and comes back as it is; so does the end of its
// context.
func TestScanEnds(t *testing.T) {
	dsn := dbtest.Production(t)
	scan := dbsource.Scan{Table: "events", Columns: []string{"id", "time"}}
	enough := errors.New("enough")
	if err := open(t, dsn, 1).Scan(t.Context(), scan, func([][]byte) error { return enough }); err != enough {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	src := open(t, dsn, 1)
	cancel()
	if err := src.Scan(ctx, scan, func([][]byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
