package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// memory is a store in memory.
type memory struct {
	mu      *sync.Mutex
	objects map[string][]byte
}

func newMemory() memory { return memory{new(sync.Mutex), map[string][]byte{}} }

func (m memory) target() snapshot.Target {
	return snapshot.Target{
		Put: func(_ context.Context, name string, src io.ReadSeeker) error {
			body, err := io.ReadAll(src)
			m.put(name, body)
			return err
		},
		PutManifest: func(_ context.Context, name string, body []byte) error {
			m.put(name, body)
			return nil
		},
	}
}

func (m memory) put(name string, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = body
}

func (m memory) get(_ context.Context, name string) (io.ReadCloser, error) {
	body, ok := m.objects[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

func (m memory) open(t *testing.T, id string) *snapfile.Snapshot {
	t.Helper()
	s, err := snapfile.Open(t.Context(), m.get, id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// manifest describes a snapshot of an event.
func manifest(event int64) *snapfile.Manifest {
	return &snapfile.Manifest{
		Hub: "https://koji.example.com/kojihub", KojiVersion: "1.35.3", Event: event, EventTime: time.Unix(1700000000+event, 0).UTC(),
		Created: time.Unix(1800000000, 0).UTC(), CreatedBy: "test", Scope: snapfile.Scope{Tags: []string{"f42"}, All: []snapfile.Tag{{ID: 1, Name: "f42"}}},
	}
}

// fill returns a row of a relation with the given values, and with allowed values in the other columns.
func fill(t *testing.T, name string, values map[string]string) [][]byte {
	t.Helper()
	rel := relation.Get(name)
	row := make([][]byte, len(rel.Columns))
	for i, c := range rel.Columns {
		v, given := values[c.Name]
		switch {
		case given:
			row[i] = []byte(v)
		case c.Null:
		case c.Type == relation.Text:
			row[i] = []byte{}
		case c.Type == relation.Bool:
			row[i] = []byte("f")
		case c.Type == relation.Time:
			row[i] = []byte("2025-01-01 00:00:00+00")
		default:
			row[i] = []byte("0")
		}
	}
	return row
}

func add(t *testing.T, b *snapshot.Builder, name string, values map[string]string) {
	t.Helper()
	if _, err := b.Add(name, fill(t, name, values)); err != nil {
		t.Fatal(err)
	}
}

func rows(t *testing.T, s *snapfile.Snapshot, name string) []string {
	t.Helper()
	var keys []string
	rel := relation.Get(name)
	err := snapshot.EachRow(t.Context(), s, rel, func(row [][]byte) error {
		keys = append(keys, strings.ReplaceAll(strings.TrimPrefix(snapshot.RowKey(rel, row), name+"\x00"), "\x00", " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// commit closes the references, commits, and opens the snapshot.
func commit(t *testing.T, b *snapshot.Builder, m memory, event int64) *snapfile.Snapshot {
	t.Helper()
	if err := b.CloseReferences(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, _, err := b.Commit(t.Context(), m.target(), manifest(event))
	if err != nil {
		t.Fatal(err)
	}
	return m.open(t, id)
}

func TestRowsAndReferences(t *testing.T) {
	b := snapshot.New(snapshot.Options{TempDir: t.TempDir()})
	defer b.Discard()
	add(t, b, "tag", map[string]string{"id": "1", "name": "f42"})
	b.Refer("package", 7)
	if got := b.Wanted("package"); !slices.Equal(got, []int64{7}) {
		t.Errorf("wanted packages: %v", got)
	}
	add(t, b, "package", map[string]string{"id": "7", "name": "bash"})
	if got := b.Wanted("package"); len(got) > 0 || !b.Has("package", 7) || b.Has("package", 8) || !b.Refers("package", 7) {
		t.Errorf("wanted packages: %v", got)
	}
	s := commit(t, b, newMemory(), 10)
	if got := rows(t, s, "package"); !slices.Equal(got, []string{"7"}) {
		t.Errorf("packages: %q", got)
	}
	if len(s.Manifest.LeftOut) > 0 || s.Manifest.Totals.Rows != 2 {
		t.Errorf("%+v, %v", s.Manifest.Totals, s.Manifest.LeftOut)
	}
}

// TestSkipped skips a row: the rows that refer to it, and those that refer to them, are skipped, too.
func TestSkipped(t *testing.T) {
	b := snapshot.New(snapshot.Options{TempDir: t.TempDir(), Unseen: "nobody knows it"})
	defer b.Discard()
	for _, id := range []string{"1", "2"} {
		add(t, b, "package", map[string]string{"id": id, "name": "p" + id})
	}
	for _, row := range [][2]string{{"11", "1"}, {"12", "2"}, {"13", "3"}} {
		add(t, b, "build", map[string]string{"id": row[0], "pkg_id": row[1], "version": "1", "release": "1", "owner": "5", "create_event": "9", "volume_id": "0", "state": "1"})
		add(t, b, "rpminfo", map[string]string{"id": "1" + row[0], "build_id": row[0], "name": "x", "external_repo_id": "0"})
	}
	add(t, b, "volume", map[string]string{"id": "0", "name": "DEFAULT"})
	add(t, b, "external_repo", map[string]string{"id": "0", "name": "INTERNAL"})
	add(t, b, "events", map[string]string{"id": "9"})
	b.Skip(snapfile.LeftOut{Relation: "package", Row: "package 3", Reason: "it has no name", Column: "id", ID: 3})
	s := commit(t, b, newMemory(), 10)
	if got := rows(t, s, "build"); !slices.Equal(got, []string{"11", "12"}) {
		t.Errorf("builds: %q", got)
	}
	if got := rows(t, s, "rpminfo"); !slices.Equal(got, []string{"111", "112"}) {
		t.Errorf("rpms: %q", got)
	}
	if got := rows(t, s, "users"); !slices.Equal(got, []string{"5"}) {
		t.Errorf("users, one of them made up: %q", got)
	}
	want := []snapfile.Hanging{{Relation: "build", Rows: 1, IDs: []int64{13}}, {Relation: "rpminfo", Rows: 1}}
	left := s.Manifest.LeftOut
	if len(left) != 2 || !reflect.DeepEqual(left[0].Hanging, want) || left[1].Relation != "users" || left[1].Reason != "nobody knows it" || left[1].Kept != snapfile.KeptName {
		t.Errorf("skipped: %+v", left)
	}
}

// TestTooMuch: skipping most rows of a relation is an error.
func TestTooMuch(t *testing.T) {
	b := snapshot.New(snapshot.Options{TempDir: t.TempDir()})
	defer b.Discard()
	for id := range int64(3) {
		b.Refer("package", id+1)
	}
	if err := b.CloseReferences(t.Context()); !errors.Is(err, snapshot.ErrTooMuch) {
		t.Errorf("three of three packages are missing: %v", err)
	}
}

// keepAll keeps all rows except those with some keys.
type keepAll map[string]bool

func (k keepAll) Keeps(rel *relation.Relation) func([][]byte) (bool, error) {
	return func(row [][]byte) (bool, error) { return !k[snapshot.RowKey(rel, row)], nil }
}

func (k keepAll) KeepsRevoked(*relation.Relation) func([][]byte) (bool, error) {
	return func([][]byte) (bool, error) { return true, nil }
}

// TestBase continues a snapshot: rows are kept, replaced and removed. A snapshot without a change is the base
// itself.
func TestBase(t *testing.T) {
	m := newMemory()
	b := snapshot.New(snapshot.Options{TempDir: t.TempDir()})
	defer b.Discard()
	for _, id := range []string{"1", "2", "3"} {
		add(t, b, "package", map[string]string{"id": id, "name": "p" + id})
	}
	base := commit(t, b, m, 10)

	same := snapshot.New(snapshot.Options{TempDir: t.TempDir()})
	defer same.Discard()
	same.SetBase(base, keepAll{}, false)
	had := len(m.objects)
	if id, existing, err := same.Commit(t.Context(), m.target(), manifest(10)); id != base.ID || !existing || err != nil || len(m.objects) != had {
		t.Errorf("no news: %s, %v, %v", id, existing, err)
	}

	next := snapshot.New(snapshot.Options{TempDir: t.TempDir()})
	defer next.Discard()
	next.SetBase(base, keepAll{"package\x003": true}, false)
	add(t, next, "package", map[string]string{"id": "2", "name": "renamed"})
	s := commit(t, next, m, 20)
	if got := rows(t, s, "package"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("packages: %q", got)
	}
	if s.Manifest.Parent != base.ID || s.Manifest.Chain != 1 {
		t.Errorf("parent %s, chain %d", s.Manifest.Parent, s.Manifest.Chain)
	}
}

// TestFill takes what the source cannot give from an earlier snapshot.
func TestFill(t *testing.T) {
	m := newMemory()
	b := snapshot.New(snapshot.Options{TempDir: t.TempDir()})
	defer b.Discard()
	add(t, b, "package", map[string]string{"id": "3", "name": "p3"})
	base := commit(t, b, m, 10)
	next := snapshot.New(snapshot.Options{TempDir: t.TempDir()})
	defer next.Discard()
	next.Skip(snapfile.LeftOut{Relation: "package", Row: "package 3", Reason: "it has no name", Column: "id", ID: 3})
	asked := 0
	last := func(context.Context) (*snapfile.Snapshot, error) { asked++; return base, nil }
	for range 2 {
		if err := next.Fill(t.Context(), last); err != nil {
			t.Fatal(err)
		}
	}
	s := commit(t, next, m, 20)
	if got := rows(t, s, "package"); !slices.Equal(got, []string{"3"}) || asked != 1 || s.Manifest.LeftOut[0].Kept != snapfile.KeptLast {
		t.Errorf("packages: %q, asked %d times, %v", got, asked, s.Manifest.LeftOut)
	}
}

// TestCredentials: passwords are removed from URLs.
func TestCredentials(t *testing.T) {
	b := snapshot.New(snapshot.Options{TempDir: t.TempDir()})
	defer b.Discard()
	row := fill(t, "build", map[string]string{"id": "1", "pkg_id": "1", "source": "git+https://me:secret@example.com/x"})
	notes, err := b.Add("build", row)
	if err != nil || len(notes) != 1 || !notes[0].Stripped() || !reflect.DeepEqual(b.Skipped(), notes) {
		t.Errorf("notes %v, %v", notes, err)
	}
	if text := string(bytes.Join(row, nil)); strings.Contains(text, "secret") {
		t.Errorf("the row still has it: %s", text)
	}
}

// TestManifestLast lets each write fail in turn: without the last one there is no snapshot.
func TestManifestLast(t *testing.T) {
	broken := errors.New("no room")
	for fails := 0; ; fails++ {
		m, writes := newMemory(), 0
		to := m.target()
		fail := func() error {
			if writes++; writes > fails {
				return broken
			}
			return nil
		}
		put, putManifest := to.Put, to.PutManifest
		to.Put = func(ctx context.Context, name string, src io.ReadSeeker) error {
			if err := fail(); err != nil {
				return err
			}
			return put(ctx, name, src)
		}
		to.PutManifest = func(ctx context.Context, name string, body []byte) error {
			if err := fail(); err != nil {
				return err
			}
			return putManifest(ctx, name, body)
		}
		b := snapshot.New(snapshot.Options{TempDir: t.TempDir()})
		add(t, b, "package", map[string]string{"id": "3", "name": "p3"})
		_, _, err := b.Commit(t.Context(), to, manifest(10))
		b.Discard()
		manifests := 0
		for name := range m.objects {
			if strings.HasPrefix(name, "snapshots/") {
				manifests++
			}
		}
		if err == nil {
			if manifests != 1 || fails < 2 {
				t.Errorf("%d manifests after %d writes", manifests, writes)
			}
			return
		}
		if !errors.Is(err, broken) || manifests > 0 {
			t.Errorf("write %d fails: %v, %d manifests", fails, err, manifests)
		}
	}
}
