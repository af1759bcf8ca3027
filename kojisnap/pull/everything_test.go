package pull_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/snapfile"
)

// TestEverythingWays: everything is the same by narrow and wide windows of events, by tables and by tags, by pages and
// by ids; and a hub is asked about no tag by itself unless too much changed.
func TestEverythingWays(t *testing.T) {
	_, rows := pulltest.Production(t, hubtest.Options{})
	opt := pull.Options{Everything: true, Event: pulltest.LastEvent, Program: "test", Since: 300}
	pullBy := func(o pull.Options) (*snapfile.Snapshot, map[string]int) {
		t.Helper()
		h := hubtest.New(rows, hubtest.Options{})
		_, snap := pulltest.PullWith(t, pulltest.Client(t, h), pulltest.NewStore(t), o)
		return snap, h.Calls()
	}
	want, calls := pullBy(opt)
	if n := calls["queryHistory"]; n > 60 { // of each of 12 tables two counts, the rows, and what changed
		t.Errorf("%d calls of queryHistory", n)
	}
	if n := calls["getTagExternalRepos"]; n > 5 {
		t.Errorf("%d calls of getTagExternalRepos", n)
	}
	pages := map[string]string{"build": "table", "rpminfo": "table", "rpmsigs": "table", "archiveinfo": "table"}
	for name, o := range map[string]pull.Options{
		"narrow windows": opt.WithWindows(3, 0),
		"by tags":        opt.WithWindows(0, 1),
		"by pages":       opt.WithPager(pager.Options{Page: 17, Strategies: pages}),
	} {
		got, calls := pullBy(o)
		if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) || !got.Manifest.SameRows(want.Manifest) {
			t.Errorf("%s: other rows", name)
		}
		if name != "by pages" && calls["queryHistory"] < 70 {
			t.Errorf("%s: %d calls of queryHistory", name, calls["queryHistory"])
		}
	}
}

// TestEverythingBadNames: a tag whose name no hub can send is left out with what is tagged there, and told of once;
// all other tags are there.
func TestEverythingBadNames(t *testing.T) {
	c, rows := pulltest.Production(t, hubtest.Options{})
	if n, err := rows.Update("tag", hubtest.Values{"name": "f43-build"}, hubtest.Values{"name": "f43\x01build"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	r, snap := pulltest.PullWith(t, c, pulltest.NewStore(t), pull.Options{Everything: true, Event: pulltest.LastEvent, Program: "test"})
	if len(r.LeftOut) == 0 || !slices.ContainsFunc(r.LeftOut, func(x snapfile.LeftOut) bool { return x.Relation == "tag" && strings.HasPrefix(x.Row, "tag ") }) {
		t.Errorf("left out: %v", r.LeftOut)
	}
	if n := len(snap.Manifest.Scope.All); n < 15 || slices.ContainsFunc(snap.Manifest.Scope.All, func(t snapfile.Tag) bool {
		return strings.Contains(t.Name, "build") && strings.HasPrefix(t.Name, "f43")
	}) {
		t.Errorf("%d tags: %v", n, snap.Manifest.Scope.All)
	}
}

// TestEverythingAsked: a pull that asks for everything and for single tags, or for nothing, is refused.
func TestEverythingAsked(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	for _, o := range []pull.Options{{}, {Everything: true, Tags: []string{"f42"}}, {Everything: true, Builds: []string{"36"}}, {Tags: []string{snapfile.AskedEverything}}} {
		if _, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), o); err == nil {
			t.Errorf("%+v is pulled", o)
		}
	}
}
