package snapfile_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// scoped is a manifest of nothing but a scope.
func scoped(s snapfile.Scope) *snapfile.Manifest {
	m := &snapfile.Manifest{Event: 7, KojiVersion: "1.35.3", Scope: s}
	for _, r := range relation.All() {
		m.Relations = append(m.Relations, snapfile.Relation{Name: r.Name, Columns: r.ColumnNames(), Key: r.Key})
	}
	return m
}

// TestScope: what was asked for identifies a scope, and what it came to makes a snapshot another one.
func TestScope(t *testing.T) {
	all := []snapfile.Tag{{ID: 1, Name: "f42"}, {ID: 2, Name: "module-x"}}
	there := snapfile.Content{Build: 60, NVR: "x-1-1", Tag: "module-x"}
	gone := snapfile.Content{Build: 60, NVR: "x-1-1", Tag: "module-x", Missing: "production does not have it"}
	named := snapfile.Scope{Tags: []string{"f42"}, All: all}
	asked := snapfile.Scope{Tags: []string{"f42"}, Asked: []string{"f4*"}, All: all}
	other := snapfile.Scope{Tags: []string{"f42", "f43"}, Asked: []string{"f4*"}, All: all}
	content := snapfile.Scope{Tags: []string{"f42"}, All: all, Content: []snapfile.Content{there, {Build: 61, NVR: "x-2-1", Tag: "module-x"}, {Build: 62, NVR: "y-1-1", Missing: "it names no content tag"}}}
	missing := snapfile.Scope{Tags: []string{"f42"}, All: all, Content: []snapfile.Content{gone}}

	if named.SameAsked(asked) || !asked.SameAsked(other) || !named.SameAsked(content) {
		t.Error("SameAsked")
	}
	if got := content.Composed(); !slices.Equal(got, []string{"f42", "module-x"}) || !slices.Equal(missing.Composed(), named.Tags) {
		t.Errorf("composed %q", got)
	}
	builds := snapfile.Scope{Tags: []string{"f42"}, All: all, Builds: []snapfile.NamedBuild{{ID: 1, NVR: "a-1-1", Asked: "a-1-1"}}}
	scopes := []snapfile.Scope{named, asked, other, content, missing, builds}
	for i, a := range scopes {
		for j, b := range scopes {
			if scoped(a).SameRows(scoped(b)) != (i == j) {
				t.Errorf("scopes %d and %d: SameRows is %v", i, j, i != j)
			}
		}
	}
	reworded := missing
	reworded.Content = slices.Clone(missing.Content)
	reworded.Content[0].Missing = "gone"
	if !scoped(missing).SameRows(scoped(reworded)) {
		t.Error("a reason makes another snapshot")
	}

	for i, s := range scopes {
		body, _, err := scoped(s).Encode()
		if err != nil {
			t.Fatal(err)
		}
		m, err := snapfile.Decode(body)
		if err != nil || !m.SameRows(scoped(s)) {
			t.Errorf("scope %d: %+v, %v", i, m.Scope, err)
		}
		// Earlier versions read what has nothing new in it, and know that they cannot read the rest.
		if fresh := regexp.MustCompile(`"(asked|content|builds)"`).Match(body); fresh != (i > 0) || fresh != strings.Contains(string(body), `"version": 2,`) {
			t.Errorf("scope %d: %s", i, body)
		}
	}
}

// A snapshot that says from when on its history is whole is refused by earlier versions with the right words, too.
func TestHistoryNeedsAVersion(t *testing.T) {
	body, _, err := scoped(snapfile.Scope{Tags: []string{"f42"}, All: []snapfile.Tag{{ID: 1, Name: "f42", History: 1}}}).Encode()
	if err != nil || !strings.Contains(string(body), `"version": 2,`) {
		t.Errorf("%s, %v", body, err)
	}
}

// TestEverything: a snapshot of everything is of a scope of its own, which no list of tags is; earlier versions refuse
// it with the right words, and it names no single tags beside.
func TestEverything(t *testing.T) {
	all := []snapfile.Tag{{ID: 1, Name: "f42"}}
	whole := snapfile.Scope{Everything: true, All: all}
	for _, other := range []snapfile.Scope{{All: all}, {Tags: []string{"f42"}, All: all}, {Tags: []string{"f42"}, Asked: []string{"*"}, All: all}} {
		if whole.SameAsked(other) || scoped(whole).SameRows(scoped(other)) {
			t.Errorf("everything is the same as %+v", other)
		}
		other.Everything = true
		body, _, err := scoped(other).Encode()
		if len(other.Tags) > 0 {
			if err == nil {
				t.Errorf("%+v is written", other)
			}
			continue
		}
		m, err2 := snapfile.Decode(body)
		if err != nil || err2 != nil || !m.Scope.Everything || !m.SameRows(scoped(whole)) || !strings.Contains(string(body), `"version": 5,`) {
			t.Errorf("%s, %v, %v", body, err, err2)
		}
		if _, err := snapfile.Decode([]byte(strings.Replace(string(body), `"everything": true`, `"everything": true, "builds": [{"id": 1, "nvr": "a-1-1", "asked": "1"}]`, 1))); err == nil {
			t.Error("builds beside everything are read")
		}
	}
}
