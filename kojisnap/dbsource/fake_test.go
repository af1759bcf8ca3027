package dbsource_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/seedtest"
)

// files is a Source over the recorded rows: one that ignores every hint, gives each row in an order of its own, and can
// serve one scan at a time, as a spilled dump.
type files struct {
	lines map[string][]string
	at    atomic.Int32 // scans at work
	scans atomic.Int64
	fail  int64 // which scan ends with an error
}

func newFiles(t *testing.T) *files {
	t.Helper()
	f := &files{lines: map[string][]string{}}
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range kojiprod.Tables() {
		var text strings.Builder
		if err := rows.WriteCopy(&text, table); err == nil {
			f.lines[table] = strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
		}
	}
	return f
}

func (f *files) Describe(context.Context) (*dbsource.Description, error) {
	d := &dbsource.Description{Kind: "dump", Columns: map[string][]string{}, Jobs: 1}
	for _, table := range kojiprod.Tables() {
		d.Tables = append(d.Tables, dbsource.Table{Name: table, Class: dbsource.Classify(table), Rows: int64(len(f.lines[table]) - 1)})
		if columns := dbsource.WantedColumns(table); columns != nil && f.lines[table] != nil {
			d.Columns[table] = columns
		}
	}
	return d, nil
}

func (f *files) Scan(_ context.Context, scan dbsource.Scan, fn func(row [][]byte) error) error {
	if f.at.Add(1) > 1 {
		return fmt.Errorf("a scan of %s while another is at work", scan.Table)
	}
	defer f.at.Add(-1)
	if f.scans.Add(1) == f.fail {
		return &retry.TemporaryError{Err: errFake}
	}
	lines := f.lines[scan.Table]
	if len(lines) == 0 {
		return nil
	}
	at := map[string]int{}
	for i, c := range strings.Split(lines[0], "\t") {
		at[c] = i
	}
	for i := len(lines) - 1; i > 0; i-- {
		row, err := dbsource.ParseCopyLine([]byte(lines[i]), nil)
		if err != nil {
			return err
		}
		out := make([][]byte, len(scan.Columns))
		for j, c := range scan.Columns {
			out[j] = row[at[c]]
		}
		if err := fn(out); err != nil {
			return err
		}
	}
	return nil
}

func (f *files) Close() error { return nil }

var errFake = errors.New("the pipe broke")

// TestSpilled: a source that heeds no hint and serves one scan at a time gives what the hub gives.
func TestSpilled(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	c := sourcetest.Hub(t, rows, hubtest.Options{})
	o := dbsource.Options{Hub: c.URL(), Tags: []string{"f42*"}, Builds: []string{"layered-image-1-1"}, Event: 400, Since: 200}
	byHub := sourcetest.PullHub(t, c, sourcetest.Store(t), pull.Options{Tags: o.Tags, Builds: o.Builds, Event: o.Event, Since: o.Since})
	_, bySource := sourcetest.PullSource(t, newFiles(t), sourcetest.Store(t), o)
	sourcetest.Equal(t, byHub, bySource)
}

// TestSourceFails: whichever scan fails, its error comes back as the source gave it, and there is no snapshot.
func TestSourceFails(t *testing.T) {
	whole := newFiles(t)
	o := dbsource.Options{Hub: "http://koji.example.com/kojihub", Tags: []string{"f42*"}, Event: 419}
	sourcetest.PullSource(t, whole, sourcetest.Store(t), o)
	if whole.scans.Load() < 40 {
		t.Fatalf("%d scans", whole.scans.Load())
	}
	for fail := int64(1); fail <= whole.scans.Load(); fail++ {
		src, s := newFiles(t), sourcetest.Store(t)
		src.fail = fail
		_, err := dbsource.Pull(t.Context(), src, s, o)
		var later *retry.TemporaryError
		if !errors.Is(err, errFake) || !errors.As(err, &later) {
			t.Errorf("scan %d fails: %v", fail, err)
		}
		if all, err := repository.Snapshots(t.Context(), s); err != nil || len(all) > 0 {
			t.Errorf("scan %d fails: %d snapshots, %v", fail, len(all), err)
		}
		if !seedtest.Long() {
			fail += 6
		}
	}
}
