package snapfile_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// newer is the catalogue of a later program: tags have a colour, between their other columns, and there is a
// relation with moods of tags.
func newer() *relation.Catalogue {
	const version = 6
	var all []*relation.Relation
	for _, r := range slices.Concat(relation.All(), relation.Optional()) {
		own := *r
		own.Columns = slices.Clone(r.Columns)
		if r.Name == "tag" {
			own.Columns = slices.Insert(own.Columns, 1, relation.Column{Name: "colour", Type: relation.Text, Format: version, Missing: "grey"})
		}
		all = append(all, &own)
		if r.Name == "tag" {
			all = append(all, &relation.Relation{Name: "tag_mood", Key: []string{"tag_id"}, Format: version, Columns: []relation.Column{
				{Name: "tag_id", Ref: "tag"}, {Name: "mood", Type: relation.Text, Null: true}}})
		}
	}
	return relation.NewCatalogue(all...)
}

// TestNewerCatalogue: a program that knows one more relation and one more column reads what this one wrote,
// and can continue it.
func TestNewerCatalogue(t *testing.T) {
	catalogue := newer()
	for _, version := range []string{"v1", "v2", "v4", "v5"} {
		t.Run(version, func(t *testing.T) {
			for _, id := range storedIDs(t, version) {
				testNewerCatalogue(t, catalogue, version, id)
			}
		})
	}
}

func testNewerCatalogue(t *testing.T, catalogue *relation.Catalogue, version, id string) {
	m := memory{}
	was, err := snapfile.Open(t.Context(), storedObject(version), id)
	if err != nil {
		t.Fatal(err)
	}
	old, err := snapfile.OpenWith(t.Context(), storedObject(version), id, catalogue)
	if err != nil {
		t.Fatal(err)
	}
	tag, mood := catalogue.Get("tag"), catalogue.Get("tag_mood")
	if man := old.Manifest; man.Has(tag.Columns[1]) || !man.Has(tag.Columns[2]) || man.HasRelation(mood) || !man.HasRelation(tag) {
		t.Error("the manifest has a column or a relation that came later")
	}
	for _, r := range relation.All() {
		if r.Name == "tag" {
			continue
		}
		if got, want := lines(t, old.Rows(t.Context(), r.Name)), lines(t, was.Rows(t.Context(), r.Name)); !slices.Equal(got, want) {
			t.Errorf("%s: %d rows, want %d", r.Name, len(got), len(want))
		}
		if got, want := lines(t, old.Revoked(t.Context(), r.Name)), lines(t, was.Revoked(t.Context(), r.Name)); !slices.Equal(got, want) {
			t.Errorf("revoked of %s: %d rows, want %d", r.Name, len(got), len(want))
		}
	}
	var want []string
	for _, line := range lines(t, was.Rows(t.Context(), "tag")) {
		id, name, _ := strings.Cut(line, "\t")
		want = append(want, id+"\tgrey\t"+name)
	}
	if got := lines(t, old.Rows(t.Context(), "tag")); !slices.Equal(got, want) || len(got) == 0 {
		t.Errorf("tags %q, want %q", got, want)
	}
	if got := lines(t, old.Rows(t.Context(), "tag_mood")); len(got) > 0 || old.Relation("tag_mood") == nil {
		t.Errorf("moods %q", got)
	}

	// A snapshot that continues it has only rows of its own version.
	man := *old.Manifest
	man.Relations = nil
	for _, r := range catalogue.All() {
		w := snapfile.NewWriter(r, t.TempDir())
		switch r.Name {
		case "tag":
			err = w.Add(row(2, "red", "f42"))
		case "tag_mood":
			err = w.Add(row(2, nil))
		}
		if err != nil {
			t.Fatal(err)
		}
		out := snapfile.Relation{Name: r.Name, Columns: r.ColumnNames(), Key: r.Key}
		if out.Segments, out.Rows, err = w.FinishOver(t.Context(), old, keepAll, m.put); err != nil {
			t.Fatal(err)
		}
		if out.Revoked, err = snapfile.NewWriter(r, t.TempDir()).FinishRevokedOver(t.Context(), old, keepAll, m.put); err != nil {
			t.Fatal(err)
		}
		if r.Name != "tag" && r.Name != "tag_mood" && !slices.Equal(out.Segments, old.Relation(r.Name).Segments) {
			t.Errorf("the segments of %s do not go on", r.Name)
		}
		man.Relations = append(man.Relations, out)
	}
	body, next, err := snapfile.EncodeWith(&man, catalogue)
	if err != nil || man.Version != 6 {
		t.Fatal(man.Version, err)
	}
	m["snapshots/"+next+".json"] = body
	if _, err := snapfile.Open(t.Context(), m.get, next); !errors.Is(err, snapfile.ErrNewer) {
		t.Errorf("this program reads it: %v", err)
	}
	now, err := snapfile.OpenWith(t.Context(), m.get, next, catalogue)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range want {
		if strings.HasPrefix(line, "2\t") {
			want[i] = "2\tred\tf42\n"
		}
	}
	if got := lines(t, now.Rows(t.Context(), "tag")); !slices.Equal(got, want) {
		t.Errorf("tags %q, want %q", got, want)
	}
	differ := map[string][]string{}
	for _, name := range []string{"tag", "tag_mood"} {
		c := snapfile.Compare(t.Context(), old, now, name)
		for c.Next() {
			differ[name] = append(differ[name], fmt.Sprintf("%s>%s", c.A, c.B))
		}
		if err := c.Err(); err != nil {
			t.Error(err)
		}
		c.Close()
		changed, gone := now.Changed(t.Context(), old, name), old.Gone(t.Context(), now, name)
		if got := changedLines(t, changed); len(got) != 1 {
			t.Errorf("changed of %s: %q", name, got)
		}
		if got := changedLines(t, gone); name == "tag_mood" && !slices.Equal(got, []string{"2\n"}) || name == "tag" && len(got) > 0 {
			t.Errorf("gone of %s: %q", name, got)
		}
	}
	if want := map[string][]string{"tag": {"2\tgrey\tf42\n>2\tred\tf42\n"}, "tag_mood": {">2\t\\N\n"}}; !maps.EqualFunc(differ, want, slices.Equal) {
		t.Errorf("they differ in %q, want %q", differ, want)
	}
}

func changedLines(t testing.TB, c *snapfile.Changes) (all []string) {
	t.Helper()
	defer c.Close()
	for c.Next() {
		all = append(all, string(c.Line()))
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
	return all
}
