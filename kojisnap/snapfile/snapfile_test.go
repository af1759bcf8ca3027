package snapfile_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

// memory is a store in memory.
type memory map[string][]byte

func (m memory) put(_ context.Context, name string, src io.ReadSeeker) error {
	b, err := io.ReadAll(src)
	m[name] = b
	return err
}

func (m memory) get(_ context.Context, name string) (io.ReadCloser, error) {
	b, ok := m[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func row(fields ...any) [][]byte {
	r := make([][]byte, len(fields))
	for i, f := range fields {
		if f != nil {
			r[i] = []byte(fmt.Sprint(f))
		}
	}
	return r
}

// snapshot writes a snapshot whose only rows are those of one relation, in layers.
func snapshot(t testing.TB, m memory, name string, layers ...[][][]byte) *snapfile.Snapshot {
	t.Helper()
	var segments []snapfile.Segment
	for i, rows := range layers {
		w := snapfile.NewWriter(relation.Get(name), t.TempDir())
		for _, r := range rows {
			if err := w.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		s, err := w.Finish(t.Context(), i, m.put)
		if err != nil {
			t.Fatal(err)
		}
		segments = append(segments, s...)
	}
	return open(t, m, name, segments)
}

func open(t testing.TB, m memory, name string, segments []snapfile.Segment) *snapfile.Snapshot {
	t.Helper()
	return openAt(t, m, 419, name, segments, nil)
}

// openAt writes and opens a snapshot of an event whose only rows are those of one relation.
func openAt(t testing.TB, m memory, event int64, name string, segments, revoked []snapfile.Segment) *snapfile.Snapshot {
	t.Helper()
	man := &snapfile.Manifest{Hub: "https://koji.example.com/kojihub", KojiVersion: "1.35.3", Event: event,
		EventTime: time.Unix(1795222000, 0).UTC(), Created: time.Unix(1795223000, 0).UTC(), CreatedBy: "test"}
	for _, r := range relation.All() {
		rel := snapfile.Relation{Name: r.Name, Columns: r.ColumnNames(), Key: r.Key}
		if r.Name == name {
			rel.Segments, rel.Revoked = segments, revoked
			for _, s := range segments {
				rel.Rows += s.Rows
			}
		}
		man.Relations = append(man.Relations, rel)
	}
	body, id, err := man.Encode()
	if err != nil {
		t.Fatal(err)
	}
	object, err := snapfile.ManifestObject(id)
	if err != nil {
		t.Fatal(err)
	}
	m[object] = body
	snap, err := snapfile.Open(t.Context(), m.get, id)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func lines(t testing.TB, rows *snapfile.Rows) []string {
	t.Helper()
	defer rows.Close()
	var got []string
	for rows.Next() {
		got = append(got, string(rows.Line()))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSortsByKey(t *testing.T) {
	snap := snapshot(t, memory{}, "rpmsigs", [][][]byte{
		row(10, "b", "1"), row(9, "", "2"), row(10, "", "3"), row(-1, "z", "4"), row(10, "ba", "5"), row(10, "b", "last wins")})
	want := []string{"-1\tz\t4\n", "9\t\t2\n", "10\t\t3\n", "10\tb\tlast wins\n", "10\tba\t5\n"}
	if got := lines(t, snap.Rows(t.Context(), "rpmsigs")); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFieldsSurvive(t *testing.T) {
	for _, text := range []any{nil, "", `\N`, `\`, "\t", "a\nb\r\\c", "ž☃", "\x7f\x01"} {
		want := row(7, "1.0", text)
		line := snapfile.AppendLine(nil, want)
		got, err := snapfile.ParseLine(line[:len(line)-1], nil)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, %v", line, got, err)
		}
	}
	for _, bad := range []string{`a\`, `\x41`, `\Nb`} {
		if got, err := snapfile.ParseLine([]byte(bad), nil); err == nil {
			t.Errorf("%q was read as %q", bad, got)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte("1\t\\N\t\\\\x\\t"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.ContainsAny(line, "\n\r") {
			t.Skip()
		}
		row, err := snapfile.ParseLine(line, nil)
		if err != nil {
			return
		}
		if again := snapfile.AppendLine(nil, row); string(again) != string(line)+"\n" {
			t.Errorf("%q became %q", line, again)
		}
	})
}

// TestLayers compares the merge of random layers with a map.
func TestLayers(t *testing.T) {
	seedtest.Each(t, []uint64{1, 2, 3, 4, 5}, testLayers)
}

func testLayers(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	want := map[int]string{}
	var layers [][][][]byte
	for layer := range 5 {
		var rows [][][]byte
		for range 200 {
			id, name := rnd.IntN(400), fmt.Sprintf("n%d", rnd.IntN(1000)+layer*1000)
			want[id] = name
			rows = append(rows, row(id, name))
		}
		layers = append(layers, rows)
	}
	snap := snapshot(t, memory{}, "package", layers...)
	var expect []string
	ids := []int{}
	for id := range want {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		expect = append(expect, fmt.Sprintf("%d\t%s\n", id, want[id]))
	}
	if got := lines(t, snap.Rows(t.Context(), "package")); !reflect.DeepEqual(got, expect) {
		t.Errorf("got %d rows, want %d", len(got), len(expect))
	}
	all, err := io.ReadAll(snap.Rows(t.Context(), "package"))
	if err != nil || string(all) != strings.Join(expect, "") {
		t.Errorf("read as a stream: %d bytes, %v", len(all), err)
	}
}

// TestSpills sorts more than the buffer holds, in several segments.
func TestSpills(t *testing.T) {
	m := memory{}
	w := snapfile.NewWriter(relation.Get("package"), t.TempDir())
	const n = 200_000
	pad := strings.Repeat("x", 500)
	for i := range n {
		id := (i * 7919) % n
		if err := w.Add(row(id, fmt.Sprint(pad, id))); err != nil {
			t.Fatal(err)
		}
	}
	segments, err := w.Finish(t.Context(), 0, m.put)
	if err != nil {
		t.Fatal(err)
	}
	if len(segments) < 2 {
		t.Fatalf("%d segments: the test is too small", len(segments))
	}
	for _, s := range segments {
		if s.Bytes > snapfile.MaxSegment {
			t.Errorf("a segment of %d bytes", s.Bytes)
		}
	}
	rows := open(t, m, "package", segments).Rows(t.Context(), "package")
	defer rows.Close()
	i := 0
	for ; rows.Next(); i++ {
		if want := fmt.Sprintf("%d\t", i); !strings.HasPrefix(string(rows.Line()), want) {
			t.Fatalf("row %d is %.20q", i, rows.Line())
		}
	}
	if err := rows.Err(); err != nil || i != n {
		t.Errorf("%d rows, %v", i, err)
	}
}

func TestRefusesBadRows(t *testing.T) {
	w := snapfile.NewWriter(relation.Get("package"), t.TempDir())
	for _, r := range [][][]byte{row(1), row(1, nil), row("x", "n"), row(1, "a\x00b"), row(nil, "a")} {
		if err := w.Add(r); err == nil {
			t.Errorf("%q was taken", r)
		}
	}
}

func TestDamage(t *testing.T) {
	rows := [][][]byte{row(1, "one"), row(2, "two")}
	for name, damage := range map[string]func(m memory, segment string){
		"flipped byte": func(m memory, s string) { m[s][len(m[s])-3] ^= 1 },
		"cut":          func(m memory, s string) { m[s] = m[s][:len(m[s])-4] },
		"empty":        func(m memory, s string) { m[s] = nil },
		"other rows": func(m memory, s string) {
			other := memory{}
			snapshot(t, other, "package", [][][]byte{row(1, "one"), row(2, "TWO")})
			for k, v := range other {
				if strings.HasPrefix(k, "segments/") {
					m[s] = v
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := memory{}
			snap := snapshot(t, m, "package", rows)
			damage(m, snap.Relation("package").Segments[0].Object())
			r := snap.Rows(t.Context(), "package")
			defer r.Close()
			for r.Next() {
			}
			var damaged *snapfile.DamagedError
			if !errors.As(r.Err(), &damaged) {
				t.Errorf("got %v, want a DamagedError", r.Err())
			}
		})
	}
	t.Run("missing segment", func(t *testing.T) {
		m := memory{}
		snap := snapshot(t, m, "package", rows)
		delete(m, snap.Relation("package").Segments[0].Object())
		r := snap.Rows(t.Context(), "package")
		if r.Next() || !errors.Is(r.Err(), fs.ErrNotExist) {
			t.Errorf("got %v", r.Err())
		}
	})
	t.Run("manifest", func(t *testing.T) {
		m := memory{}
		snap := snapshot(t, m, "package", rows)
		object, _ := snapfile.ManifestObject(snap.ID)
		m[object] = bytes.Replace(m[object], []byte("example.com"), []byte("example.org"), 1)
		var damaged *snapfile.DamagedError
		if _, err := snapfile.Open(t.Context(), m.get, snap.ID); !errors.As(err, &damaged) {
			t.Errorf("got %v, want a DamagedError", err)
		}
	})
}

func TestManifest(t *testing.T) {
	m := memory{}
	snap := snapshot(t, m, "package", [][][]byte{row(1, "one")})
	object, _ := snapfile.ManifestObject(snap.ID)
	body := m[object]
	got, err := snapfile.Decode(body)
	if err != nil || !reflect.DeepEqual(got, snap.Manifest) {
		t.Errorf("decoded %+v, %v", got, err)
	}
	if id, ok := snapfile.IDOfObject(object); !ok || id != snap.ID {
		t.Errorf("id of %s: %q", object, id)
	}
	if _, err := snapfile.Decode(bytes.Replace(body, []byte(`"version": 1`), []byte(`"version": 6, "new": true`), 1)); !errors.Is(err, snapfile.ErrNewer) {
		t.Errorf("newer version: %v", err)
	}
	ofDatabase := *snap.Manifest
	ofDatabase.Source = snapfile.SourceDatabase
	text, _, err := ofDatabase.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := snapfile.Decode(text); err != nil || got.Version != 3 || got.Source != snapfile.SourceDatabase {
		t.Errorf("a manifest of a database: version %d, source %q, %v", got.Version, got.Source, err)
	}
	for what, bad := range map[string][]byte{
		"unknown source": bytes.Replace(text, []byte(`"source": "database"`), []byte(`"source": "rumour"`), 1),
		"unknown field":  bytes.Replace(body, []byte(`"hub"`), []byte(`"bub"`), 1),
		"other format":   bytes.Replace(body, []byte("kojisnap-snapshot"), []byte("other"), 1),
		"not JSON":       body[:len(body)/2],
		"no event":       bytes.Replace(body, []byte(`"event": 419`), []byte(`"event": 0`), 1),
		"segment's name": bytes.Replace(body, []byte(`"sha256": "`), []byte(`"sha256": "../`), 1),
		"a column":       bytes.Replace(body, []byte(`"usertype"`), []byte(`"password"`), 1),
	} {
		if _, err := snapfile.Decode(bad); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	if _, err := snapfile.Open(t.Context(), m.get, "../../etc/passwd"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("hostile id: %v", err)
	}
}

// TestTombstones removes rows by a layer of keys, made here from what FORMAT.md says alone.
func TestTombstones(t *testing.T) {
	m := memory{}
	base := snapshot(t, m, "rpmsigs", [][][]byte{row(1, "", "a"), row(1, "41526f0e", "b"), row(2, "", "c")})
	text := "1\t41526f0e\n9\tnone\n"
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	m["segments/"+sum+".zst"] = enc.EncodeAll([]byte(text), nil)
	keys := snapfile.Segment{Layer: 1, Keys: true, SHA256: sum, Rows: 2, Bytes: int64(len(text))}
	segments := append(slices.Clone(base.Relation("rpmsigs").Segments), keys)
	want := []string{"1\t\ta\n", "2\t\tc\n"}
	if got := lines(t, open(t, m, "rpmsigs", segments).Rows(t.Context(), "rpmsigs")); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// flaky is a store whose network breaks in the midst of an object.
type flaky struct{ err error }

func (f flaky) Read([]byte) (int, error) { return 0, f.err }

type networkError struct{}

func (networkError) Error() string   { return "connection reset" }
func (networkError) Temporary() bool { return true }

func TestNetworkTrouble(t *testing.T) {
	m := memory{}
	snap := snapshot(t, m, "package", [][][]byte{row(1, "one"), row(2, "two")})
	segment := snap.Relation("package").Segments[0].Object()
	get := func(ctx context.Context, name string) (io.ReadCloser, error) {
		if name == segment {
			return io.NopCloser(io.MultiReader(bytes.NewReader(m[name][:len(m[name])/2]), flaky{networkError{}})), nil
		}
		return m.get(ctx, name)
	}
	again, err := snapfile.Open(t.Context(), get, snap.ID)
	if err != nil {
		t.Fatal(err)
	}
	rows := again.Rows(t.Context(), "package")
	defer rows.Close()
	for rows.Next() {
	}
	var damaged *snapfile.DamagedError
	if err := rows.Err(); !errors.Is(err, networkError{}) || errors.As(err, &damaged) {
		t.Errorf("got %v", err)
	}
}
