// Package sourcetest holds what a database or a dump gives to what production's hub gives: for tests of all sources.
package sourcetest

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// Exceptions are all differences that there may be between a snapshot of a hub and one of its database, at the same
// event with the same scope: which rows, and why. Everything else is equal to the byte.
var Exceptions = []Exception{
	{"archiveinfo", "a row without btype_id", "listArchives joins the type: the hub never shows such an archive; the database has it"},
	{"*", "extra whose text is not what Python's json.dumps writes", "the hub sends parsed JSON, and the pull writes it as json.dumps does; the database has the text that Koji stored"},
	{"*", "text with control characters, with CR before LF, or JSON that no hub can send", "the hub sends no well-formed XML of it, so an API pull leaves out the row or the column; the database has it"},
	{"build_types", "a type of a build that has a row in maven_builds, win_builds or image_builds alone", "getBuildType tells of it as of any type; the database is taken as it is"},
	{"external_repo", "the name of row 0", "no call shows it: an API pull writes INTERNAL, as Koji's schema does"},
	{"rpm_checksum", "all rows", "the hub tells of them rpm by rpm: its snapshots lack the relation; those of a database since Koji 1.32 have it"},
	{"users", "a usertype other than 0, 1 and 2", "listUsers knows none: an API pull makes up a name; the database has the row"},
}

// Exception is one of them.
type Exception struct{ Relation, Rows, Why string }

// Hub serves a database as a Koji hub, and returns its client.
func Hub(t testing.TB, src kojidb.Source, o hubtest.Options) *hub.Client {
	t.Helper()
	srv := httptest.NewServer(hubtest.New(src, o))
	t.Cleanup(srv.Close)
	c, err := hub.New(srv.URL+"/kojihub", hub.Options{Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Store is an empty store.
func Store(t testing.TB) *dir.Store {
	t.Helper()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// PullHub pulls from a hub.
func PullHub(t testing.TB, c *hub.Client, s *dir.Store, o pull.Options) *snapfile.Snapshot {
	t.Helper()
	o.Program = "test"
	r, err := pull.Pull(t.Context(), c, s, o)
	if err != nil {
		t.Fatalf("from the hub: %v", err)
	}
	return open(t, s, r.Snapshot)
}

// PullSource pulls from a source.
func PullSource(t testing.TB, src dbsource.Source, s *dir.Store, o dbsource.Options) (*pull.Result, *snapfile.Snapshot) {
	t.Helper()
	o.Program = "test"
	r, err := dbsource.Pull(t.Context(), src, s, o)
	if err != nil {
		t.Fatalf("from the source: %v", err)
	}
	return r, open(t, s, r.Snapshot)
}

func open(t testing.TB, s *dir.Store, id string) *snapfile.Snapshot {
	t.Helper()
	snap, err := repository.Open(t.Context(), s, id)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// Equal fails the test unless two snapshots have the same rows in each relation, in the view and revoked, and the same
// scope. Where both are without layers their segments are the same to the digest.
func Equal(t testing.TB, hub, source *snapfile.Snapshot) {
	t.Helper()
	if a, b := hub.Manifest, source.Manifest; a.Event != b.Event || !a.EventTime.Equal(b.EventTime) {
		t.Fatalf("event %d of %s by the hub, %d of %s by the source", a.Event, a.EventTime, b.Event, b.EventTime)
	}
	if a, b := fmt.Sprintf("%+v", hub.Manifest.Scope), fmt.Sprintf("%+v", source.Manifest.Scope); a != b {
		t.Errorf("scope:\nby the hub    %s\nby the source %s", a, b)
	}
	compared := 0
	defer func() {
		if compared < 100 { // less than the smallest scope of a test has
			t.Errorf("only %d rows were compared", compared)
		}
	}()
	if hub.Manifest.Source == "" && hub.Manifest.HasRelation(relation.Get("rpm_checksum")) {
		t.Error("the hub gave rpm_checksum")
	}
	for _, rel := range relation.All() {
		for _, revoked := range []bool{false, true} {
			a, b := Rows(t, hub, rel.Name, revoked), Rows(t, source, rel.Name, revoked)
			compared += len(a)
			if !slices.Equal(a, b) {
				differ(t, rel.Name, revoked, a, b)
				continue
			}
			sa, sb := digests(hub, rel.Name, revoked), digests(source, rel.Name, revoked)
			if oneLayer(hub, rel.Name) && oneLayer(source, rel.Name) && !slices.Equal(sa, sb) {
				t.Errorf("%s (revoked: %v): the same rows in other segments: %v, %v", rel.Name, revoked, sa, sb)
			}
		}
	}
}

func differ(t testing.TB, name string, revoked bool, a, b []string) {
	t.Helper()
	var lines []string
	for _, l := range a {
		if !slices.Contains(b, l) {
			lines = append(lines, "only the hub:    "+l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			lines = append(lines, "only the source: "+l)
		}
	}
	n := len(lines)
	t.Errorf("%s (revoked: %v): %d rows by the hub, %d by the source, %d differ:\n%s", name, revoked, len(a), len(b), n, strings.Join(lines[:min(n, 10)], "\n"))
}

// Different are how many lines of each relation only one of two snapshots has in its view.
func Different(t testing.TB, a, b *snapfile.Snapshot) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, rel := range relation.All() {
		x, y := Rows(t, a, rel.Name, false), Rows(t, b, rel.Name, false)
		for _, l := range x {
			if !slices.Contains(y, l) {
				all[rel.Name]++
			}
		}
		for _, l := range y {
			if !slices.Contains(x, l) {
				all[rel.Name]++
			}
		}
	}
	return all
}

func digests(s *snapfile.Snapshot, name string, revoked bool) (sums []string) {
	r := s.Relation(name)
	segments := r.Segments
	if revoked {
		segments = r.Revoked
	}
	for _, seg := range segments {
		sums = append(sums, seg.SHA256)
	}
	return sums
}

func oneLayer(s *snapfile.Snapshot, name string) bool {
	r := s.Relation(name)
	return !slices.ContainsFunc(slices.Concat(r.Segments, r.Revoked), func(s snapfile.Segment) bool { return s.Layer > 0 })
}

// Rows are the lines of a relation.
func Rows(t testing.TB, s *snapfile.Snapshot, name string, revoked bool) (lines []string) {
	t.Helper()
	rows := s.Rows(t.Context(), name)
	if revoked {
		rows = s.Revoked(t.Context(), name)
	}
	defer rows.Close()
	for rows.Next() {
		lines = append(lines, strings.TrimSuffix(string(rows.Line()), "\n"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}
