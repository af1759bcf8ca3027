package dbsync_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapfile/forgetest"
)

// TestTamperedBetween: a snapshot that was never loaded names who revoked a row; of rows that somebody
// changed in the store since, none goes in.
func TestTamperedBetween(t *testing.T) {
	t.Parallel()
	for name, tamper := range map[string]bool{"as it was": false, "changed": true} {
		t.Run(name, func(t *testing.T) {
			w, s := newLoaded(t, admin)
			const passer = 5000 // known to the second snapshot alone
			w.add("users", "id", passer, "name", "passer", "status", 0, "usertype", 0)
			ends("tag_listing", "build_id", 3, "tag_id", 2)(w)
			w.find("tag_listing", "build_id", 3, "tag_id", 2)["revoker_id"] = str(passer)
			second := w.snapshot(shot{})
			if tamper {
				man := forgetest.Rewritten(t, second, "users", func(lines []string) []string {
					for i, l := range lines {
						if strings.HasPrefix(l, "5000\t") {
							lines[i] = forgetest.Set("users", l, "name", "evil")
						}
					}
					return lines
				}, w.store.put)
				forged := w.open(context.Background(), man).Relation("users").Segments[0]
				w.store.objects[second.Relation("users").Segments[0].Object()] = w.store.objects[forged.Object()]
			}
			w.drop("users", "id", passer)
			w.event()
			s.load(w.snapshot(shot{}), dbsync.LoadOptions{Between: between([]*snapfile.Snapshot{second})})
			want := map[bool]string{false: "passer", true: ""}[tamper]
			if got := s.one("SELECT coalesce((SELECT name FROM users WHERE id = 5000), '')"); got != want {
				t.Errorf("the user is %q, want %q", got, want)
			}
		})
	}
}

// TestClimbs: PostgreSQL finds the same names as Go.
func TestClimbs(t *testing.T) {
	t.Parallel()
	s := newStaging(t, admin)
	for text, want := range map[string]bool{"": false, "a": false, ".": false, "..": true, "...": false, "a..b": false, "../a": true, "a/..": true, "a/../b": true, "a/..b": false, "a../b": false,
		"/a": true, "/": true, "a/b": false, "..\n": false, "a\n../b": false, "\n/..": true, "a//..": true, "/..": true, "x64/bin": false} {
		if got := relation.Climbs([]byte(text)); got != want {
			t.Errorf("%q climbs: %v", text, got)
		}
		if got := s.one("SELECT " + relation.ClimbsSQL("'"+text+"'")); got != fmt.Sprint(want) {
			t.Errorf("%q climbs for PostgreSQL: %s, want %v", text, got, want)
		}
	}
}
