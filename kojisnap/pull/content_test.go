package pull_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/hardlink"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/snapfile"
)

// aTag makes a tag at an event, and tags a build of a package in it.
func (e edits) aTag(id int64, name string, event int64, build, pkg int64) {
	e.t.Helper()
	e.insert("tag", hubtest.Values{"id": id, "name": name})
	e.create("tag_config", event, hubtest.Values{"tag_id": id, "arches": "x86_64", "locked": false, "maven_support": false, "maven_include_all": false})
	if build != 0 {
		e.create("tag_packages", event, hubtest.Values{"tag_id": id, "package_id": pkg, "blocked": false})
		e.create("tag_package_owners", event, hubtest.Values{"tag_id": id, "package_id": pkg, "owner": 1})
		e.create("tag_listing", event, hubtest.Values{"tag_id": id, "build_id": build})
	}
}

// module makes a module build like the recorded one, with its own extra, and tags it at an event.
func (e edits) module(id int64, version, extra string, tag, event int64) {
	e.t.Helper()
	b := maps.Clone(e.find("build", hubtest.Values{"id": 60})[0])
	b["id"], b["version"], b["extra"], b["create_event"] = id, version, extra, event
	e.insert("build", b)
	e.insert("build_types", hubtest.Values{"build_id": id, "btype_id": 5})
	e.create("tag_listing", event, hubtest.Values{"tag_id": tag, "build_id": id})
}

func contentExtra(tag string) string {
	return fmt.Sprintf(`{"typeinfo": {"module": {"name": "postgresql", "stream": "16", "content_koji_tag": %s}}}`, tag)
}

func scopeNames(s snapfile.Scope) []string {
	var names []string
	for _, t := range s.All {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}

const (
	modular     = 8 // f42-modular
	bashPackage = 1
	oldBash     = 7 // bash-5.2.37, which no compose uses
	bigFloor    = 1000
)

// TestPullContentTags: the content tags of all module builds, not only of the latest, are in the scope as if
// they had been asked for, with what they inherit from, and with the content tags of modules in these.
func TestPullContentTags(t *testing.T) {
	c, rows, server := pulltest.ModularProduction(t)
	e := edits{t, rows}
	// Another build of the module, not the latest, and one in a tag that its content tag inherits from.
	e.aTag(bigFloor, "module-old", 300, oldBash, bashPackage)
	e.aTag(bigFloor+1, "module-platform", 300, 0, 0)
	e.aTag(bigFloor+2, "module-in-platform", 300, oldBash, bashPackage)
	e.aTag(bigFloor+3, "module-of-nobody", 300, oldBash, bashPackage)
	e.create("tag_inheritance", 301, hubtest.Values{"tag_id": bigFloor, "parent_id": bigFloor + 1, "priority": 0, "intransitive": false, "noconfig": false, "pkg_filter": ""})
	e.module(bigFloor, "15", contentExtra(`"module-old"`), modular, 378)
	e.create("tag_packages", 300, hubtest.Values{"tag_id": bigFloor + 1, "package_id": 50, "blocked": false})
	e.create("tag_package_owners", 300, hubtest.Values{"tag_id": bigFloor + 1, "package_id": 50, "owner": 1})
	e.module(bigFloor+1, "14", contentExtra(`"module-in-platform"`), bigFloor+1, 378)
	// A build that f42 itself does not list, because its package list lacks the package. f42-compose lists
	// it by f42-modular's package list.
	e.aTag(bigFloor+4, "module-by-child", 300, oldBash, bashPackage)
	e.module(bigFloor+2, "13", contentExtra(`"module-by-child"`), 2, 378)

	o := pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent, Program: "test"}
	s := pulltest.NewStore(t)
	r, snap := pulltest.PullWith(t, c, s, o)
	named := o
	content := []string{"module-by-child", "module-in-platform", "module-old", generate.ContentTag}
	named.Tags = append([]string{"f42-compose"}, content...)
	named.NoContentTags = true
	_, want := pulltest.PullWith(t, c, pulltest.NewStore(t), named)
	sameRows(t, snap, want)
	if got := scopeNames(snap.Manifest.Scope); !slices.Equal(got, scopeNames(want.Manifest.Scope)) || !slices.Contains(got, "module-platform") || slices.Contains(got, "module-of-nobody") {
		t.Errorf("scope %q", got)
	}
	if got := snap.Manifest.Scope; !slices.Equal(got.ContentTags(), content) || !slices.Equal(got.Tags, o.Tags) || len(got.Asked) != 0 {
		t.Errorf("scope %+v", got)
	}
	if r.ContentTags != 4 || r.ModuleBuilds != 4 || len(r.ContentNews) != 0 {
		t.Errorf("%d content tags, %d modules, news %v", r.ContentTags, r.ModuleBuilds, r.ContentNews)
	}
	for _, row := range []string{fmt.Sprint(oldBash, "\t", bigFloor, "\t"), "42\t25\t"} {
		if !slices.ContainsFunc(pulltest.SnapshotRows(t, snap, "tag_listing"), func(line string) bool { return strings.HasPrefix(line, row) }) {
			t.Errorf("no tagging %q", row)
		}
	}

	// A dry run counts them, and asks nothing about a module that the base has.
	o.DryRun = true
	before := server.Calls()["getBuild"]
	plan, err := pull.Pull(t.Context(), c, s, o)
	pulltest.Must(t, err)
	if plan.ContentTags != 4 || plan.ModuleBuilds != 4 || !plan.Existing || server.Calls()["getBuild"] != before {
		t.Errorf("plan %+v; getBuild %d times", plan, server.Calls()["getBuild"]-before)
	}
	// With NoContentTags nothing is looked for.
	o.NoContentTags = true
	calls := server.Calls()
	if plan, err = pull.Pull(t.Context(), c, nil, o); err != nil || plan.ModuleBuilds != 0 || len(plan.Scope.All) != len(scopeNames(snap.Manifest.Scope))-5 {
		t.Errorf("without: %+v, %v", plan, err)
	}
	if after := server.Calls(); after["listTagged"] != calls["listTagged"] {
		t.Error("it is asked for modules all the same")
	}
}

// TestPullContentTagsAgain continues a snapshot. A new module brings a tag whose rows are older than the
// base. Turning content tags off and on removes and adds them.
func TestPullContentTagsAgain(t *testing.T) {
	c, rows, _ := pulltest.ModularProduction(t)
	e := edits{t, rows}
	// The tag exists long before the module is tagged.
	e.aTag(bigFloor, "module-new", 300, oldBash, bashPackage)
	again := pulltest.NewStore(t)
	o := pull.Options{Tags: []string{"f42-compose"}, Program: "test"}
	all := []string{"tag", "tag_config", "tag_listing", "tag_packages", "tag_package_owners", "build", "build_types", "rpminfo", "rpmsigs", "archiveinfo", "package"}
	step := func(event int64, off bool, came, went []string) *snapfile.Snapshot {
		t.Helper()
		if event > pulltest.LastEvent {
			if found, _ := rows.Select("events", hubtest.Values{"id": event}); len(found) == 0 {
				e.event(event, time.Duration(event-pulltest.LastEvent)*days)
			}
		}
		o.Event, o.Sweep, o.NoContentTags, o.Full = event, 1000, off, false
		r, got := pulltest.PullWith(t, c, again, o)
		o.Sweep, o.Full = 1, true
		_, want := pulltest.PullWith(t, c, pulltest.NewStore(t), o)
		for _, rel := range all {
			if a, b := pulltest.SnapshotRows(t, got, rel), pulltest.SnapshotRows(t, want, rel); !slices.Equal(a, b) {
				t.Errorf("event %d, %s: too many %q, missing %q", event, rel, difference(a, b), difference(b, a))
			}
		}
		if a, b := got.Manifest.Scope, want.Manifest.Scope; !slices.Equal(scopeNames(a), scopeNames(b)) || !slices.Equal(a.Content, b.Content) {
			t.Errorf("event %d: scope %+v, want %+v", event, a, b)
		}
		if !slices.Equal(r.Came, came) || !slices.Equal(r.Went, went) {
			t.Errorf("event %d: came %q, want %q; went %q, want %q", event, r.Came, came, r.Went, went)
		}
		if (event != pulltest.LastEvent || off) && r.Base == "" {
			t.Errorf("event %d does not go on", event)
		}
		return got
	}
	step(pulltest.LastEvent, false, nil, nil)
	e.event(pulltest.LastEvent+1, days)
	e.module(bigFloor, "17", contentExtra(`"module-new"`), modular, pulltest.LastEvent+1)
	got := step(pulltest.LastEvent+1, false, []string{"module-new"}, nil)
	if !isTagged(t, got, oldBash, bigFloor) {
		t.Error("the new content tag has no build")
	}
	step(pulltest.LastEvent+2, true, nil, []string{"module-new", generate.ContentTag})
	step(pulltest.LastEvent+3, false, []string{"module-new", generate.ContentTag}, nil)
	// Also at the same event.
	step(pulltest.LastEvent+3, true, nil, []string{"module-new", generate.ContentTag})
	// The build is no longer tagged.
	e.event(pulltest.LastEvent+4, 4*days)
	e.revoke("tag_listing", pulltest.LastEvent+4, hubtest.Values{"build_id": 60, "tag_id": modular, "create_event": 379})
	all = all[:5] // builds of revoked taggings stay
	step(pulltest.LastEvent+4, false, []string{"module-new"}, nil)
}

// TestPullOddContentTags: whatever a module build says, the pull continues and reports it once.
func TestPullOddContentTags(t *testing.T) {
	c, rows, _ := pulltest.ModularProduction(t)
	e := edits{t, rows}
	e.aTag(bigFloor, "module-gone", 300, oldBash, bashPackage)
	e.revoke("tag_config", 350, hubtest.Values{"tag_id": bigFloor, "create_event": 300})
	long := strings.Repeat("m", 2000)
	odd := []struct{ extra, tag, why string }{
		{contentExtra(`17`), "", `"17", which is no text`},
		{contentExtra(`["a"]`), "", "which is no text"},
		{contentExtra(`{"a": "b"}`), "", "which is no text"},
		{contentExtra(`true`), "", "which is no text"},
		{contentExtra(`""`), "", "it names no content tag"},
		{contentExtra(`null`), "", "it names no content tag"},
		{`{"typeinfo": {"module": {}}}`, "", "it names no content tag"},
		{`{"typeinfo": "module"}`, "", "it names no content tag"},
		{`{}`, "", "it names no content tag"},
		{contentExtra(`"module-\u0001\u001b[2J"`), "", ""},
		{contentExtra(`"module-\u007f"`), "", "which no tag can be called"},
		{contentExtra(`"` + long + `"`), "", "of 2000 characters"},
		{contentExtra(`"../../etc"`), "../../etc", "production does not have it"},
		{contentExtra(`"'; DROP TABLE tag; --"`), "'; DROP TABLE tag; --", "production does not have it"},
		{contentExtra(`"no-such-tag"`), "no-such-tag", "production does not have it"},
		{contentExtra(`"no-such-tag"`), "no-such-tag", "production does not have it"},
		{contentExtra(`"module-gone"`), "module-gone", "production does not have it"},
		{contentExtra(`"25"`), "25", "production does not have it"}, // a name, not an id
		{`{"typeinfo": {"module": {"content_koji_tag": "module-postgresql-16"}}, "odd": NaN}`, generate.ContentTag, ""},
	}
	for i, o := range odd {
		e.module(bigFloor+int64(i), fmt.Sprint("odd", i), o.extra, modular, 379)
	}
	s := pulltest.NewStore(t)
	o := pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent, Program: "test", Sweep: 1000}
	r, snap := pulltest.PullWith(t, c, s, o)
	found := map[int64]snapfile.Content{}
	for _, m := range snap.Manifest.Scope.Content {
		found[m.Build] = m
	}
	missing := 0
	for i, o := range odd {
		m := found[bigFloor+int64(i)]
		if m.Tag != o.tag || !strings.Contains(m.Missing, o.why) || (m.Missing == "") != (o.tag == generate.ContentTag) {
			t.Errorf("%.60s: %+v", o.extra, m)
		}
		if strings.ContainsAny(m.Missing, "\x01\x1b\x7f") {
			t.Errorf("%.60s: the reason drives terminals: %q", o.extra, m.Missing)
		}
		if m.Missing != "" {
			missing++
		}
	}
	if !slices.Equal(snap.Manifest.Scope.ContentTags(), []string{generate.ContentTag}) || len(r.ContentNews) != missing {
		t.Errorf("content tags %q, %d news of %d", snap.Manifest.Scope.ContentTags(), len(r.ContentNews), missing)
	}
	if r, _ = pulltest.PullWith(t, c, s, o); len(r.ContentNews) != 0 {
		t.Errorf("told again: %v", r.ContentNews)
	}
	// Once the missing tag of a build exists, the scope has it.
	e.event(pulltest.LastEvent+1, days)
	e.aTag(bigFloor+1, "no-such-tag", pulltest.LastEvent+1, oldBash, bashPackage)
	o.Event = pulltest.LastEvent + 1
	if _, snap = pulltest.PullWith(t, c, s, o); !slices.Equal(snap.Manifest.Scope.ContentTags(), []string{generate.ContentTag, "no-such-tag"}) {
		t.Errorf("content tags %q", snap.Manifest.Scope.ContentTags())
	}
}

// TestPullContentFaults: a failing call about modules does not stop a pull, but a failing hub does.
func TestPullContentFaults(t *testing.T) {
	generic := &hubtest.Fault{Code: 1000, Text: "no"}
	other := &hubtest.Fault{Code: 1, Text: "<class 'ValueError'>: no"}
	about := func(tag any) func(string, []any) bool {
		return func(method string, args []any) bool { return method == "getTag" && len(args) > 0 && args[0] == tag }
	}
	is := func(name string) func(string, []any) bool {
		return func(method string, _ []any) bool { return method == name }
	}
	for _, test := range []struct {
		name  string
		what  func(string, []any) bool
		fault *hubtest.Fault
		tags  int // content tags
		err   bool
	}{
		{"nothing", is("nothing"), other, 1, false},
		{"listTagged", is("listTagged"), other, 0, false},
		{"listTagged of no such type", is("listTagged"), generic, 0, false},
		{"no such type", is("listBuilds"), generic, 0, false},
		{"getTag of the content tag", about(generate.ContentTag), other, 1, false}, // by its history
		{"offline", is("listTagged"), &hubtest.Fault{Code: 1014, Text: "database outage"}, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, rows, _ := pulltest.ModularProduction(t)
			c := pulltest.Client(t, hubtest.New(rows, hubtest.Options{Fault: func(method string, args []any) *hubtest.Fault {
				if test.what(method, args) {
					return test.fault
				}
				return nil
			}}))
			r, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent, Program: "test"})
			switch {
			case test.err && !hub.Temporary(err):
				t.Errorf("error %v", err)
			case !test.err && (err != nil || r.ContentTags != test.tags):
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// TestPullWithoutModules: a hub without modules is asked about them once.
func TestPullWithoutModules(t *testing.T) {
	_, rows := pulltest.Production(t, hubtest.Options{})
	_, err := rows.Delete("build_types", hubtest.Values{"btype_id": 5})
	pulltest.Must(t, err)
	server := hubtest.New(rows, hubtest.Options{})
	srv := httptest.NewServer(server)
	defer srv.Close()
	c, err := hub.New(srv.URL+"/kojihub", hub.Options{Retries: -1})
	pulltest.Must(t, err)
	r, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent, Program: "test"})
	pulltest.Must(t, err)
	if calls := server.Calls(); calls["listTagged"] != 0 || r.ModuleBuilds != 0 {
		t.Errorf("listTagged %d times, %d modules", calls["listTagged"], r.ModuleBuilds)
	}
}

// TestCopyContentTags: builds in a content tag are copied like the latest builds of a tag that was asked for,
// for the tags that have the module.
func TestCopyContentTags(t *testing.T) {
	c, rows, _ := pulltest.ModularProduction(t)
	e := edits{t, rows}
	e.create("tag_packages", 300, hubtest.Values{"tag_id": 25, "package_id": bashPackage, "blocked": false})
	e.create("tag_package_owners", 300, hubtest.Values{"tag_id": 25, "package_id": bashPackage, "owner": 1})
	e.create("tag_listing", 379, hubtest.Values{"tag_id": 25, "build_id": oldBash})
	from := pulltest.NewSource(t, "f42-compose") // of the builds' files
	from.Snap = pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, "f42-compose", "f42-extras")
	for _, test := range []struct {
		tags []string
		want []string // tags of the plan
		old  bool
	}{
		{nil, []string{"f42-compose", "f42-extras", generate.ContentTag}, true},
		{[]string{"f42-extras", "f42-compose"}, []string{"f42-compose", "f42-extras", generate.ContentTag}, true},
		{[]string{"f42-modular"}, []string{"f42-modular", generate.ContentTag}, true},
		{[]string{"f42-mod*"}, []string{"f42-modular", generate.ContentTag}, true},
		{[]string{"f42-extras"}, []string{"f42-extras"}, false},
		{[]string{"F42-?xtras", "f42-comp*", "!*compose"}, []string{"f42-extras"}, false},
		{[]string{generate.ContentTag}, []string{generate.ContentTag}, true},
		{[]string{"zz*", "f42-compose", "!f42*"}, nil, false}, // nothing at all
	} {
		plan, err := kojisnap.Copy(t.Context(), from.Snap, nil, kojisnap.CopyOptions{Want: compose.Want{Tags: test.tags}, Topdir: t.TempDir(), Sources: []string{from.Prod}, WritableSource: true, DryRun: true})
		var got []string
		if plan != nil && plan.Summary != nil {
			for _, row := range plan.Summary.Tags {
				got = append(got, row.Tag)
			}
		}
		got = slices.Compact(slices.Sorted(slices.Values(got)))
		if test.want == nil {
			var unknown *compose.UnknownError
			if !errors.As(err, &unknown) {
				t.Errorf("%q: %q, %v", test.tags, got, err)
			}
			continue
		}
		pulltest.Must(t, err)
		has := slices.ContainsFunc(plan.Actions.Builds, func(b hardlink.BuildAction) bool { return b.Build.NVR() == "bash-5.2.37-1.fc42" })
		if !slices.Equal(got, test.want) || has != test.old {
			t.Errorf("%q: plan for %q, want %q; the content tag's own build %v, want %v", test.tags, got, test.want, has, test.old)
		}
	}
}
