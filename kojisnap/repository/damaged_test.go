package repository_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// twoSnapshots are of one hub: at event 300 in the store, and at the last event in another one.
func twoSnapshots(t *testing.T) (c *hub.Client, s *dir.Store, early, late *snapfile.Snapshot) {
	c, _ = pulltest.Production(t, hubtest.Options{})
	s = pulltest.NewStore(t)
	return c, s, pulltest.Pull(t, c, s, 300, scope()), pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, scope())
}
func flipped(body []byte) []byte {
	body[len(body)/2] ^= 1
	return body
}
func cut(body []byte) []byte { return body[:len(body)/2] }

// TestDamagedSegments damages the only snapshot that a pull could go on from. Whoever reads it is
// told; a pull says so, goes on without it, and puts again what both need.
func TestDamagedSegments(t *testing.T) {
	c, s, early, late := twoSnapshots(t)
	object := func(relation string) string { return early.Relation(relation).Segments[0].Object() }
	path := func(relation string) string { return filepath.Join(s.String(), object(relation)) }
	read := func(relation string) []byte {
		body, err := os.ReadFile(path(relation))
		pulltest.Must(t, err)
		return body
	}
	others, columns := read("package"), read("archivetypes")
	cases := []struct {
		relation string // has the same rows in both
		change   func([]byte) []byte
		says     string
	}{
		{"archivetypes", cut, "is damaged: "},
		{"channels", flipped, "is damaged: "},
		{"permissions", func([]byte) []byte { return nil }, "is damaged: "},
		{"tag", func([]byte) []byte { return others }, "is damaged: more than "}, // what the manifest says is all that is read
		{"btype", func([]byte) []byte { return columns }, "is damaged: more than "},
		{"volume", nil, "no such file"},
	}
	for _, test := range cases {
		if late.Relation(test.relation).Segments[0].Object() != object(test.relation) {
			t.Fatalf("%s: the snapshots share no segment", test.relation)
		}
		if test.change == nil {
			pulltest.Must(t, os.Remove(path(test.relation)))
		} else {
			pulltest.Must(t, os.WriteFile(path(test.relation), test.change(read(test.relation)), 0o644))
		}
		err := readAll(t, early, test.relation)
		oneLine(t, err, object(test.relation), test.says)
		if damaged := new(*snapfile.DamagedError); errors.As(err, damaged) != (test.change != nil) {
			t.Errorf("%s: %T: %v", test.relation, err, err)
		}
	}
	warned := new(warnings)
	id := pullFrom(t, c, s, pulltest.LastEvent, slog.New(warned))
	warned.check(t, "not going on from a snapshot")
	got, err := repository.Open(t.Context(), s, id)
	pulltest.Must(t, err)
	// With what was revoked since the damaged one, which a database may hold.
	whole := pulltest.NewStore(t)
	pulltest.Pull(t, c, whole, 300, scope())
	_, want := pulltest.PullWith(t, c, whole, pull.Options{Tags: []string{scope()}, Event: pulltest.LastEvent, Full: true, Program: "test"})
	if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) || got.Manifest.Parent != "" {
		t.Error("not what a pull of everything gives")
	}
	checkWhole(t, s)
}

// TestDamagedManifests: a manifest that cannot be read stops whoever looks for snapshots, but not a
// pull. A prune removes nothing.
func TestDamagedManifests(t *testing.T) {
	c, s, early, late := twoSnapshots(t)
	object, err := snapfile.ManifestObject(early.ID)
	pulltest.Must(t, err)
	body, err := os.ReadFile(filepath.Join(s.String(), object))
	pulltest.Must(t, err)
	pulltest.Must(t, s.Delete(t.Context(), object))
	replaced := func(from, to string) []byte { return []byte(strings.Replace(string(body), from, to, 1)) }
	warned, expect := new(warnings), []string(nil)
	for _, test := range []struct {
		id   string // empty: the one that the bytes have
		body []byte
		says string
	}{
		{"300-000000000001", cut(slices.Clone(body)), "SHA-256"},
		{early.ID, flipped(slices.Clone(body)), "SHA-256"},
		{"300-000000000002", nil, "SHA-256"},
		{"", replaced(`"version": 2`, `"version": 99`), "update kojisnap"},
		{"", replaced(`"version": 2`, `"version": 0`), "version 0"},
		{"", replaced(`"hub"`, `"who": "knows", "hub"`), `unknown field "who"`},
		{"", replaced(`"event": 300`, `"event": 301`), "it is of event 301"},
		{"", replaced(`"sha256": "`, `"sha256": "../../`), "bad segment"},
	} {
		if test.id == "" {
			test.id = snapfile.ID(300, test.body)
		}
		object, err := snapfile.ManifestObject(test.id)
		pulltest.Must(t, err)
		pulltest.Must(t, s.Put(t.Context(), object, strings.NewReader(string(test.body))))
		_, err = repository.Open(t.Context(), s, test.id)
		oneLine(t, err, test.id, test.says)
		if damaged := new(*snapfile.DamagedError); errors.As(err, damaged) == errors.Is(err, snapfile.ErrNewer) {
			t.Errorf("%T: %v", err, err)
		}
		expect = append(expect, "not going on from a snapshot")
	}
	before := objects(t, s, "")
	_, err = repository.Snapshots(t.Context(), s)
	oneLine(t, err, s.String())
	_, latest := repository.Open(t.Context(), s, "latest")
	_, prune := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
	for _, other := range []error{latest, prune} {
		if other == nil || other.Error() != err.Error() {
			t.Errorf("%v, and %v", other, err)
		}
	}
	if after := objects(t, s, ""); !slices.Equal(after, before) {
		t.Errorf("left %q of %q", after, before)
	}
	id := pullFrom(t, c, s, pulltest.LastEvent, slog.New(warned))
	warned.check(t, expect...)
	got, err := repository.Open(t.Context(), s, id)
	pulltest.Must(t, err)
	if !reflect.DeepEqual(got.Manifest.Relations, late.Manifest.Relations) || got.Manifest.Parent != "" {
		t.Error("not what a pull of everything gives")
	}
}

// readAll reads a relation as a load does.
func readAll(t testing.TB, snap *snapfile.Snapshot, name string) error {
	rows := snap.Rows(t.Context(), name)
	defer rows.Close()
	var row [][]byte
	for rows.Next() {
		var err error
		if row, err = rows.Fields(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// TestDamagedParts cuts a pull off and damages what it left: that is asked for again, and harms
// nothing.
func TestDamagedParts(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	pulltest.Must(t, err)
	broken := true
	server := hubtest.New(rows, hubtest.Options{Tamper: func(method string, body []byte) []byte {
		if broken && method == "listUsers" { // of the last step
			return body[:len(body)/2]
		}
		return body
	}})
	c := pulltest.Client(t, server)
	left := pulltest.NewStore(t)
	opt := pull.Options{Tags: pulltest.WayTags, Event: 400, Program: "test"}
	if _, err := pull.Pull(t.Context(), c, left, opt); err == nil {
		t.Fatal("half of a reply was enough")
	}
	broken = false
	calls := func(s *dir.Store) (*snapfile.Snapshot, int) {
		before := server.Calls()["getBuild"]
		snap := pulltest.Pull(t, c, s, 400, pulltest.WayTags...)
		return snap, server.Calls()["getBuild"] - before
	}
	want, whole := calls(pulltest.NewStore(t))
	again := pulltest.NewStore(t)
	pulltest.Must(t, os.CopyFS(again.String(), os.DirFS(left.String())))
	if _, n := calls(again); n >= whole {
		t.Fatalf("%d builds were asked for with parts, %d without", n, whole)
	}
	parts := []func([]byte) []byte{
		cut,
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { return []byte("build\tfalse\t1\t2\n\t{}\n") },
		func(b []byte) []byte { b[0] ^= 1; return b },
		flipped,
		func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	}
	state := func(member, value string) []func([]byte) []byte {
		re := regexp.MustCompile(`"` + member + `":("[^"]*"|\d+)`)
		return []func([]byte) []byte{func(b []byte) []byte { return re.ReplaceAll(b, []byte(`"`+member+`":`+value)) }}
	}
	for _, test := range []struct {
		name   string
		state  bool
		change []func([]byte) []byte // one after the other, of each object the next
	}{
		{"parts", false, parts},
		{"parts otherwise", false, slices.Concat(parts[4:], parts[:4])},
		{"state cut", true, parts[:1]},
		{"state of a later version", true, state("version", "999")},
		{"state of another hub", true, state("hub", `"https://koji.example.com/kojihub"`)},
		{"state of another Koji", true, state("koji_version", `"1.21.0"`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := pulltest.NewStore(t)
			pulltest.Must(t, os.CopyFS(s.String(), os.DirFS(left.String())))
			changed := 0
			for _, name := range objects(t, s, "pulls/") {
				if strings.HasSuffix(name, "/state") != test.state {
					continue
				}
				body, err := os.ReadFile(filepath.Join(s.String(), name))
				pulltest.Must(t, err)
				damaged := test.change[changed%len(test.change)](slices.Clone(body))
				if slices.Equal(damaged, body) {
					t.Fatalf("%s is as it was", name)
				}
				pulltest.Must(t, os.WriteFile(filepath.Join(s.String(), name), damaged, 0o644))
				changed++
			}
			if changed == 0 || !test.state && changed < 4 {
				t.Fatalf("there were %d objects to damage", changed)
			}
			got, n := calls(s)
			if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) {
				t.Error("not what a pull of everything gives")
			}
			asked := whole
			if !test.state {
				asked-- // what the module build's content tag is, the state tells
			}
			if n != asked {
				t.Errorf("%d builds were asked for, want %d; a pull of everything asks for %d", n, asked, whole)
			}
			if left := objects(t, s, "pulls/"); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}
