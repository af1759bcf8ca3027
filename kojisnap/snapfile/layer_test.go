package snapfile_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

func keepAll([][]byte) (bool, error) { return true, nil }

// TestFinishOver continues a snapshot. Each case says what is added and removed, what is kept, and the
// result.
func TestFinishOver(t *testing.T) {
	base := func(m memory) *snapfile.Snapshot {
		var rows [][][]byte
		for i := range 40 {
			rows = append(rows, row(i, "k", fmt.Sprintf("%032d", i)))
		}
		return snapshot(t, m, "rpmsigs", rows)
	}
	for _, test := range []struct {
		name         string
		add, remove  [][][]byte
		keep         func([][]byte) (bool, error)
		layers       []int // of the segments
		keys         []bool
		rows         int64
		gone, change []string
	}{
		{name: "nothing", layers: []int{0}, keys: []bool{false}, rows: 40},
		{name: "the same again", add: [][][]byte{row(3, "k", fmt.Sprintf("%032d", 3))}, remove: [][][]byte{row(99, "k", nil)},
			layers: []int{0}, keys: []bool{false}, rows: 40},
		{name: "new, changed and gone", add: [][][]byte{row(3, "a", "new"), row(5, "k", "changed"), row(77, "", "last")},
			remove: [][][]byte{row(6, "k", nil), row(5, "", nil)}, layers: []int{0, 1, 1}, keys: []bool{false, false, true}, rows: 41,
			change: []string{"3\ta\tnew\n", "5\tk\tchanged\n", "77\t\tlast\n"}, gone: []string{"6\tk\n"}},
		{name: "not kept", keep: func(r [][]byte) (bool, error) { return string(r[0]) != "7", nil }, add: [][][]byte{row(8, "k", "8")},
			layers: []int{0, 1, 1}, keys: []bool{false, false, true}, rows: 39, change: []string{"8\tk\t8\n"}, gone: []string{"7\tk\n"}},
		{name: "outgrown", keep: func(r [][]byte) (bool, error) { return len(r[0]) == 1, nil }, layers: []int{0}, keys: []bool{false}, rows: 10},
		{name: "all gone", keep: func([][]byte) (bool, error) { return false, nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := memory{}
			old := base(m)
			w := snapfile.NewWriter(relation.Get("rpmsigs"), t.TempDir())
			for _, r := range test.add {
				if err := w.Add(r); err != nil {
					t.Fatal(err)
				}
			}
			if test.keep == nil {
				test.keep = func(r [][]byte) (bool, error) {
					removed := slices.ContainsFunc(test.remove, func(key [][]byte) bool { return bytes.Equal(key[0], r[0]) && bytes.Equal(key[1], r[1]) })
					return !removed, nil
				}
			}
			segments, rows, err := w.FinishOver(t.Context(), old, test.keep, m.put)
			if err != nil {
				t.Fatal(err)
			}
			var layers []int
			var keys []bool
			for _, s := range segments {
				layers, keys = append(layers, s.Layer), append(keys, s.Keys)
			}
			if !slices.Equal(layers, test.layers) || !slices.Equal(keys, test.keys) || rows != test.rows {
				t.Fatalf("layers %v, keys %v, %d rows; want %v, %v, %d", layers, keys, rows, test.layers, test.keys, test.rows)
			}
			if len(layers) > 1 {
				if got := lines(t, open(t, m, "rpmsigs", segments[1:2]).Rows(t.Context(), "rpmsigs")); !slices.Equal(got, test.change) {
					t.Errorf("layer 1: %q, want %q", got, test.change)
				}
			}
			if got := lines(t, open(t, m, "rpmsigs", segments).Rows(t.Context(), "rpmsigs")); int64(len(got)) != test.rows {
				t.Errorf("%d rows read, want %d", len(got), test.rows)
			}
			if len(test.gone) > 0 {
				if got := segmentLines(t, m, segments[2]); !slices.Equal(got, test.gone) {
					t.Errorf("tombstones %q, want %q", got, test.gone)
				}
			}
		})
	}
}

// TestLayersOfManySnapshots makes random changes in one snapshot after another, and compares the rows with a
// map, until the relation was written as one layer again a few times.
func TestLayersOfManySnapshots(t *testing.T) {
	seedtest.Each(t, []uint64{1, 2, 3, 4, 5}, testLayersOfManySnapshots)
}

func testLayersOfManySnapshots(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	m := memory{}
	want := map[string]string{}
	text := func() string { return fmt.Sprintf("%08x", rnd.Uint32()) }
	var first [][][]byte
	for i := range 500 {
		v := text()
		first = append(first, row(i, "k", v))
		want[fmt.Sprintf("%d\tk", i)] = v
	}
	snap := snapshot(t, m, "rpmsigs", first)
	type earlier struct {
		snap *snapfile.Snapshot
		rows map[string]string
	}
	past := []earlier{{snap, maps.Clone(want)}}
	anew, rounds := 0, 0
	for ; anew < 3; rounds++ {
		if rounds == 1000 {
			t.Fatalf("written anew %d times in %d rounds", anew, rounds)
		}
		w := snapfile.NewWriter(relation.Get("rpmsigs"), t.TempDir())
		drop := map[string]bool{}
		for range rnd.IntN(20) {
			id := rnd.IntN(700)
			key := fmt.Sprintf("%d\tk", id)
			delete(drop, key)
			switch rnd.IntN(3) {
			case 0:
				v := text()
				want[key] = v
				if err := w.Add(row(id, "k", v)); err != nil {
					t.Fatal(err)
				}
			default:
				delete(want, key)
				drop[key] = true
			}
		}
		w.Drop(func(r [][]byte) bool { return drop[string(r[0])+"\tk"] })
		keep := func(r [][]byte) (bool, error) { return !drop[string(r[0])+"\tk"], nil }
		segments, rows, err := w.FinishOver(t.Context(), snap, keep, m.put)
		if err != nil {
			t.Fatal(err)
		}
		if len(segments) == 1 {
			anew++
		}
		var base, later int64
		for _, s := range segments {
			if s.Layer == 0 {
				base += s.Bytes
			} else {
				later += s.Bytes
			}
		}
		if later > base/4 {
			t.Fatalf("round %d: layers of %d bytes over a base of %d", rounds, later, base)
		}
		snap = open(t, m, "rpmsigs", segments)
		got := map[string]string{}
		all := snap.Rows(t.Context(), "rpmsigs")
		for all.Next() {
			f, err := all.Fields(nil)
			if err != nil {
				t.Fatal(err)
			}
			got[string(f[0])+"\t"+string(f[1])] = string(f[2])
		}
		if err := all.Err(); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) || rows != int64(len(want)) {
			t.Fatalf("%d rows (%d said), want %d", len(got), rows, len(want))
		}
		past = append(past, earlier{snap, maps.Clone(want)})
		from, to := past[rnd.IntN(len(past))], past[rnd.IntN(len(past))]
		differs(t, from.snap, to.snap, maps.Clone(from.rows), maps.Clone(to.rows))
	}
	if anew > rounds/2 { // a round changes 19 rows of some 230 at most
		t.Errorf("written anew %d times in %d rounds", anew, rounds)
	}
}

// differs applies the changes between two snapshots to the rows of the first, and compares the result with
// the second. If they do not share segments, Changed must return only rows that differ.
func differs(t *testing.T, from, to *snapfile.Snapshot, was, want map[string]string) {
	t.Helper()
	got := maps.Clone(was)
	for _, l := range allLines(t, to.Gone(t.Context(), from, "rpmsigs")) {
		delete(got, strings.TrimSuffix(l, "\n"))
	}
	for _, l := range allLines(t, to.Changed(t.Context(), from, "rpmsigs")) {
		i := strings.LastIndexByte(l, '\t')
		got[l[:i]] = strings.TrimSuffix(l[i+1:], "\n")
	}
	if !maps.Equal(got, want) {
		t.Fatalf("%s with what changed until %s: %d rows, want %d", from.ID, to.ID, len(got), len(want))
	}
	both := snapfile.Compare(t.Context(), from, to, "rpmsigs")
	defer both.Close()
	for both.Next() {
		a, b, err := both.Fields()
		if err != nil {
			t.Fatal(err)
		}
		for side, f := range [][][]byte{a, b} {
			if f == nil {
				continue
			}
			rows := []map[string]string{was, want}[side]
			key := string(f[0]) + "\t" + string(f[1])
			if v, ok := rows[key]; !ok || v != string(f[2]) {
				t.Fatalf("side %d has the row %q, which it does not", side, f)
			}
		}
		key := func(f [][]byte) string { return string(f[0]) + "\t" + string(f[1]) }
		switch {
		case a == nil:
			delete(want, key(b))
		case b == nil:
			delete(was, key(a))
		case string(a[2]) == string(b[2]) || key(a) != key(b):
			t.Fatalf("%q and %q", a, b)
		default:
			delete(was, key(a))
			delete(want, key(b))
		}
	}
	if err := both.Err(); err != nil || !maps.Equal(was, want) {
		t.Fatalf("less all that differs, %d rows and %d are left: %v", len(was), len(want), err)
	}
}

// allLines returns the lines that COPY would read.
func allLines(t *testing.T, r io.ReadCloser) []string {
	t.Helper()
	defer r.Close()
	body, err := io.ReadAll(iotest.OneByteReader(r))
	if err != nil {
		t.Fatal(err)
	}
	if len(body) == 0 {
		return nil
	}
	return strings.SplitAfter(strings.TrimSuffix(string(body), "\n")+"\n", "\n")[:bytes.Count(body, []byte("\n"))]
}

// segmentLines reads one segment.
func segmentLines(t *testing.T, m memory, s snapfile.Segment) []string {
	t.Helper()
	dec, err := zstd.NewReader(bytes.NewReader(m[s.Object()]))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	body, err := io.ReadAll(dec)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(body), "\n")+"\n", "\n")[:s.Rows]
}
