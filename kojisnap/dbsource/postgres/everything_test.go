package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
)

// everythingOptions ask for everything.
func everythingOptions(event int64) dbsource.Options {
	return dbsource.Options{Hub: "https://koji.example.com/kojihub", Everything: true, Event: event}
}

// TestEverythingRows: a pull of everything has the rows that SQL finds by the words of FORMAT.md.
func TestEverythingRows(t *testing.T) {
	dsn := dbtest.Production(t)
	sourcetest.Hash(t, dsn)
	conn := dbtest.Connect(t, dsn)
	for _, event := range []int64{419, 300} {
		_, snap := sourcetest.PullSource(t, open(t, dsn, 3), sourcetest.Store(t), everythingOptions(event))
		atE := `create_event <= $1 AND (revoke_event IS NULL OR revoke_event > $1)`
		there := `tag_id IN (SELECT tag_id FROM tag_config WHERE ` + atE + `)`
		builds := `(SELECT id FROM build WHERE state = 1 AND create_event <= $1 UNION SELECT build_id FROM tag_listing WHERE ` + atE + ` AND ` + there + `)`
		archives := `(SELECT id FROM archiveinfo WHERE build_id IN ` + builds + `)`
		for name, condition := range map[string]string{
			"tag_config": atE, "tag_listing": atE + " AND " + there, "tag_packages": atE + " AND " + there, "group_package_listing": atE + " AND " + there,
			"external_repo_config": atE, "package": "$1 > 0", "volume": "$1 > 0", "permissions": "$1 > 0",
			"build":                  "id IN " + builds + " OR id IN (SELECT build_id FROM archiveinfo WHERE id IN (SELECT component_id FROM archive_components WHERE archive_id IN " + archives + ")) OR id IN (SELECT build_id FROM rpminfo WHERE id IN (SELECT rpm_id FROM archive_rpm_components WHERE archive_id IN " + archives + "))",
			"rpminfo":                "build_id IN " + builds + " OR id IN (SELECT rpm_id FROM archive_rpm_components WHERE archive_id IN " + archives + ")",
			"rpmsigs":                "rpm_id IN (SELECT id FROM rpminfo WHERE build_id IN " + builds + ")",
			"rpm_checksum":           "rpm_id IN (SELECT id FROM rpminfo WHERE build_id IN " + builds + ")",
			"archiveinfo":            "build_id IN " + builds + " OR id IN (SELECT component_id FROM archive_components WHERE archive_id IN " + archives + ")",
			"archive_rpm_components": "archive_id IN " + archives,
		} {
			var want int64
			if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM "+name+" WHERE "+condition, event).Scan(&want); err != nil {
				t.Fatal(name, err)
			}
			got := snap.Relation(name).Rows
			if got != want {
				t.Errorf("event %d: %d rows of %s, want %d", event, got, name, want)
			}
			if want == 0 && event == 419 {
				t.Errorf("no row of %s is wanted", name)
			}
		}
		if s := snap.Manifest.Scope; !s.Everything || len(s.Tags) > 0 || int64(len(s.All)) != snap.Relation("tag_config").Rows || !slices.Equal(s.AskedFor(), []string{"--everything"}) {
			t.Errorf("scope %+v", s)
		}
		if snap.Manifest.Version != 5 {
			t.Errorf("version %d", snap.Manifest.Version)
		}
	}
}

// TestEverythingPieces: tables that are cut into pieces give what whole ones do, to the digest.
func TestEverythingPieces(t *testing.T) {
	dsn := dbtest.Production(t)
	_, whole := sourcetest.PullSource(t, open(t, dsn, 1), sourcetest.Store(t), everythingOptions(419))
	for _, jobs := range []int{2, 5} {
		o := everythingOptions(419)
		o.Large = 10
		_, cut := sourcetest.PullSource(t, open(t, dsn, jobs), sourcetest.Store(t), o)
		sourcetest.Equal(t, whole, cut)
	}
}

// TestEverythingAgain: a second pull of everything goes on from the first, has the tags that were deleted since in its
// scope with what was revoked of them, and one without news makes no snapshot.
func TestEverythingAgain(t *testing.T) {
	dsn, s := dbtest.Production(t), sourcetest.Store(t)
	dbtest.Exec(t, dsn, `UPDATE tag_config SET active = NULL, revoke_event = 350, revoker_id = creator_id
		WHERE active AND create_event < 300 AND tag_id = (SELECT id FROM tag WHERE name = 'f42-infra')`)
	_, first := sourcetest.PullSource(t, open(t, dsn, 2), s, everythingOptions(300))
	r2, second := sourcetest.PullSource(t, open(t, dsn, 2), s, everythingOptions(419))
	if r2.Base != first.ID {
		t.Errorf("the base is %q", r2.Base)
	}
	there := map[string]bool{}
	for _, line := range sourcetest.Rows(t, second, "tag_config", false) {
		id, _, _ := strings.Cut(line, "\t")
		there[id] = true
	}
	deleted := map[string]bool{}
	for _, tag := range first.Manifest.Scope.All {
		if id := fmt.Sprint(tag.ID); !there[id] {
			deleted[id] = true
		}
	}
	if len(deleted) != 1 || !slices.ContainsFunc(sourcetest.Rows(t, second, "tag_config", true), func(l string) bool { return strings.Contains(l, "\t350\t") }) {
		t.Errorf("deleted are %v", deleted)
	}
	for _, tag := range second.Manifest.Scope.All {
		delete(deleted, fmt.Sprint(tag.ID))
	}
	if len(second.Manifest.Scope.All) <= len(there) || len(deleted) > 0 {
		t.Errorf("of %d tags %d exist; the scope lacks the deleted tags %v", len(second.Manifest.Scope.All), len(there), deleted)
	}
	_, fresh := sourcetest.PullSource(t, open(t, dsn, 2), sourcetest.Store(t), everythingOptions(419))
	for _, rel := range relation.All() {
		if a, b := sourcetest.Rows(t, second, rel.Name, false), sourcetest.Rows(t, fresh, rel.Name, false); !slices.Equal(a, b) && rel.Versioned {
			t.Errorf("%s: %d rows, a pull without a base has %d", rel.Name, len(a), len(b))
		}
	}
	sourcetest.PullSource(t, open(t, dsn, 2), s, everythingOptions(419)) // without what was revoked before
	r, third := sourcetest.PullSource(t, open(t, dsn, 2), s, everythingOptions(419))
	if !r.Existing || len(third.Manifest.Scope.All) != len(there) {
		t.Errorf("a pull without news made %s with %d tags, existing %v", third.ID, len(third.Manifest.Scope.All), r.Existing)
	}
}

// TestEverythingNarrowed: of everything, narrowed to tags, there is what a pull of these tags has.
func TestEverythingNarrowed(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	if err := generate.AddContentTag(rows); err != nil {
		t.Fatal(err)
	}
	dsn := dbtest.Fresh(t)
	sourcetest.Fill(t, dsn, rows)
	sourcetest.Hash(t, dsn)
	src := open(t, dsn, 3)
	for _, since := range []int64{0, 100} {
		o := everythingOptions(0)
		o.Margin, o.Since = -1, since
		_, whole := sourcetest.PullSource(t, src, sourcetest.Store(t), o)
		asked := [][]string{{"*"}, {"f42*", "!f42-infra"}, {"f42-compose", "f43"}, {"no such tag"}, {"f42-nothing*"}}
		for i, tag := range whole.Manifest.Scope.All {
			if i%4 == 0 || since == 0 && (i%2 == 0 || seedtest.Long()) {
				asked = append(asked, []string{tag.Name})
			}
		}
		content := 0
		for _, tags := range asked {
			o := o
			o.Everything, o.Tags = false, tags
			s := sourcetest.Store(t)
			r, failed := dbsource.Pull(t.Context(), src, s, o)
			got, err := narrow.To(t.Context(), whole, tags)
			if failed != nil {
				if err == nil || !strings.Contains(err.Error(), "it was pulled for everything") {
					t.Errorf("%q: %v, the source says %v", tags, err, failed)
				}
				continue
			}
			if err != nil {
				t.Errorf("%q: %v", tags, err)
				continue
			}
			want, err := repository.Open(t.Context(), s, r.Snapshot)
			if err != nil {
				t.Fatal(err)
			}
			content += len(want.Manifest.Scope.Content)
			if a, b := fmt.Sprintf("%+v", got.Manifest.Scope), fmt.Sprintf("%+v", want.Manifest.Scope); a != b {
				t.Errorf("%q: scope\n%s, want\n%s", tags, a, b)
			}
			for _, rel := range slices.Concat(relation.All(), relation.Optional()) {
				for _, revoked := range []bool{false, true} {
					a, b := sourcetest.Rows(t, got, rel.Name, revoked), sourcetest.Rows(t, want, rel.Name, revoked)
					if !slices.Equal(a, b) {
						t.Errorf("%q, %s (revoked: %v): %d rows, want %d", tags, rel.Name, revoked, len(a), len(b))
					}
				}
			}
		}
		if content == 0 {
			t.Error("no module was compared")
		}
	}
}
