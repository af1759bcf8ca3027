package pull_test

import (
	"fmt"
	"slices"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/snapfile"
)

// TestPullPastModules: the history includes the content tags of modules that were tagged since, even if the
// tag was deleted, and what these inherited from. A compose at E uses none of them, so nothing of them is
// copied.
func TestPullPastModules(t *testing.T) {
	for _, many := range []int{0, 2000} { // with the hub's list, and with a request for each
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			testPullPastModules(t, pager.Options{WholeList: &many})
		})
	}
}

func testPullPastModules(t *testing.T, how pager.Options) {
	c, rows, _ := pulltest.ModularProduction(t)
	e := edits{t, rows}
	e.aTag(bigFloor, "module-old", 280, oldBash, bashPackage)
	e.aTag(bigFloor+1, "module-deleted", 280, oldBash, bashPackage)
	e.aTag(bigFloor+2, "module-platform", 280, oldBash, bashPackage)
	e.create("tag_inheritance", 301, hubtest.Values{"tag_id": bigFloor, "parent_id": bigFloor + 2, "priority": 0, "intransitive": false, "noconfig": false, "pkg_filter": ""})
	e.revoke("tag_config", 370, hubtest.Values{"tag_id": int64(bigFloor + 1), "create_event": int64(280)})
	e.aTag(bigFloor+3, "module-long-gone", 280, oldBash, bashPackage)
	gone := func(build int64, version, content string, from, to int64) {
		e.module(build, version, contentExtra(`"`+content+`"`), modular, from)
		e.revoke("tag_listing", to, hubtest.Values{"build_id": build, "tag_id": int64(modular), "create_event": from})
	}
	gone(bigFloor, "15", "module-old", 300, 360)
	gone(bigFloor+1, "14", "module-deleted", 330, 340) // between two of the pulls
	gone(bigFloor+2, "13", "module-long-gone", 281, 285)
	gone(bigFloor+3, "12", "module-of-nobody", 300, 360)

	again := pulltest.NewStore(t)
	o := pull.Options{Tags: []string{"f42-modular"}, Since: 290, Sweep: 1000, Overlap: -1, Program: "test"}.WithPager(how)
	var snap *snapfile.Snapshot
	for _, event := range []int64{320, pulltest.LastEvent} {
		o.Event, o.Full = event, false
		r, got := pulltest.PullWith(t, c, again, o)
		o.Full = true
		_, want := pulltest.PullWith(t, c, pulltest.NewStore(t), o)
		sameRows(t, got, want)
		if !slices.Equal(got.Manifest.Scope.All, want.Manifest.Scope.All) || event == pulltest.LastEvent && r.Base == "" {
			t.Errorf("event %d, base %q: scope %+v, want %+v", event, r.Base, got.Manifest.Scope.All, want.Manifest.Scope.All)
		}
		snap = got
	}
	if got, want := scopeNames(snap.Manifest.Scope), []string{"f42-modular", "module-deleted", "module-old", "module-platform", generate.ContentTag}; !isSubset(want, got) ||
		slices.Contains(got, "module-long-gone") || slices.Contains(got, "module-of-nobody") {
		t.Errorf("scope %q, want %q", got, want)
	}
	if got := snap.Manifest.Scope.ContentTags(); !slices.Equal(got, []string{generate.ContentTag}) {
		t.Errorf("composes at E want the content tags %q", got)
	}
	for _, tag := range []int64{bigFloor, bigFloor + 1, bigFloor + 2} {
		if !isTagged(t, snap, oldBash, tag) {
			t.Errorf("tag %d has no build", tag)
		}
	}
	o.Since = 365
	if _, later := pulltest.PullWith(t, c, pulltest.NewStore(t), o); slices.Contains(scopeNames(later.Manifest.Scope), "module-old") {
		t.Errorf("since %d the scope is %q", o.Since, scopeNames(later.Manifest.Scope))
	}
	o.Since, o.NoContentTags = 290, true
	o.Full = false // continue a base that has them
	if _, off := pulltest.PullWith(t, c, again, o); !slices.Equal(scopeNames(off.Manifest.Scope), []string{"f42-infra", "f42-modular"}) {
		t.Errorf("content tags turned off: the scope is %q", scopeNames(off.Manifest.Scope))
	}
	o.Full = true
	if _, off := pulltest.PullWith(t, c, pulltest.NewStore(t), o); !slices.Equal(scopeNames(off.Manifest.Scope), []string{"f42-infra", "f42-modular"}) {
		t.Errorf("without content tags the scope is %q", scopeNames(off.Manifest.Scope))
	}
}

func isSubset(some, of []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(of, s) })
}

// TestPullNamedModule: a module build that was asked for by name adds its content tag to the scope, like a
// tagged one (Pungi's pkgset_koji_module_builds).
func TestPullNamedModule(t *testing.T) {
	c, _, _ := pulltest.ModularProduction(t)
	o := pull.Options{Tags: []string{"f43"}, Builds: []string{"postgresql-stream-16-4220250401.abcdef12"}, Event: pulltest.LastEvent, Program: "test"}
	_, snap := pulltest.PullWith(t, c, pulltest.NewStore(t), o)
	scope := snap.Manifest.Scope
	if !slices.Equal(scope.ContentTags(), []string{generate.ContentTag}) || len(scope.Content) != 1 || scope.Content[0].Build != 60 {
		t.Errorf("scope %+v", scope)
	}
	o.NoContentTags = true
	if _, snap = pulltest.PullWith(t, c, pulltest.NewStore(t), o); len(snap.Manifest.Scope.Content) != 0 {
		t.Errorf("without content tags: %+v", snap.Manifest.Scope)
	}
	o.NoContentTags, o.Builds = false, []string{pulltest.NamedKernel}
	if _, snap = pulltest.PullWith(t, c, pulltest.NewStore(t), o); len(snap.Manifest.Scope.Content) != 0 {
		t.Errorf("of a build that is no module: %+v", snap.Manifest.Scope)
	}
}
