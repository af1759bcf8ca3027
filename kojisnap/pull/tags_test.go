package pull_test

import (
	"errors"
	"net/http/httptest"
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
)

// TestPullPatterns: patterns match the tags at E, whatever exists now.
func TestPullPatterns(t *testing.T) {
	for _, version := range []string{"1.35.3", "1.21.0"} { // the hub's own patterns came with 1.22
		_, rows := pulltest.Production(t, hubtest.Options{})
		c := pulltest.Client(t, hubtest.New(rows, hubtest.Options{KojiVersion: version}))
		for _, test := range []struct {
			event     int64
			tags      []string
			want      []string // nil: none at all
			unmatched []string
		}{
			{pulltest.LastEvent, []string{"f42-u*"}, []string{"f42-updates", "f42-updates-testing"}, nil},
			{pulltest.LastEvent, []string{"F42-U*", "eln*"}, []string{"f42-updates", "f42-updates-testing"}, []string{"eln*"}},
			{pulltest.LastEvent, []string{"f42*", "!f42-*", "f43"}, []string{"f42", "f43"}, nil},
			{pulltest.LastEvent, []string{"f42-*", "!*-build*", "!f42-infra", "f43"}, []string{"f42-addons", "f42-candidate", "f42-compose", "f42-extras", "f42-frozen", "f42-modular",
				"f42-override", "f42-pkgs-only", "f42-signing-pending", "f42-updates", "f42-updates-testing", "f43"}, nil},
			{pulltest.LastEvent, []string{"f4[23]", "f4[23]*", "f42"}, nil, nil}, // no tag has a name with brackets
			{pulltest.LastEvent, []string{"f4[23]*", "f42"}, []string{"f42"}, []string{"f4[23]*"}},
			{pulltest.LastEvent, []string{"eln*"}, nil, nil},
			{50, []string{"eln*"}, []string{"eln"}, nil}, // deleted since
			{57, []string{"e??"}, []string{"eln"}, nil},
			{58, []string{"e??"}, nil, nil},
			{416, []string{"*side*"}, nil, nil},
			{417, []string{"*side*"}, []string{"f42-build-side-22"}, nil}, // the other was made later
			{pulltest.LastEvent, []string{"*side*"}, []string{"f42-build-side-22", "f42-build-side-24"}, nil},
			{pulltest.LastEvent, []string{"*side*", "f42-build-side-22", "!f42-build-side-22"}, []string{"f42-build-side-24"}, nil},
		} {
			r, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: test.tags, Event: test.event, Program: "test", DryRun: true})
			if test.want == nil {
				if err == nil || !strings.Contains(err.Error(), "has no tag ") || strings.Contains(err.Error(), "pull:") {
					t.Errorf("%s at %d %q: %v", version, test.event, test.tags, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s at %d %q: %v", version, test.event, test.tags, err)
				continue
			}
			asked := slices.Sorted(slices.Values(test.tags))
			if !slices.Equal(r.Scope.Tags, test.want) || !slices.Equal(r.Scope.Asked, asked) || !slices.Equal(r.Unmatched, test.unmatched) {
				t.Errorf("%s at %d %q: %q as %q, unmatched %q, want %q, %q", version, test.event, test.tags, r.Scope.Tags, r.Scope.Asked, r.Unmatched, test.want, test.unmatched)
			}
		}
	}
}

// TestPullPatternsAgain: added and removed tags are reported, and the snapshots have one scope.
func TestPullPatternsAgain(t *testing.T) {
	c, rows := pulltest.Production(t, hubtest.Options{})
	e := edits{t, rows}
	s := pulltest.NewStore(t)
	o := pull.Options{Tags: []string{"f42-build-*", "!*-99"}, Program: "test"}
	scope := repository.Scope{Hub: c.URL(), Tags: []string{"!*-99", "f42-build-*"}}
	// The store also has snapshots of other scopes: by the name alone, and by other patterns.
	pulltest.Pull(t, c, s, pulltest.LastEvent, "f42-build-side-22")
	pulltest.Pull(t, c, s, pulltest.LastEvent, "f42-build-side-2?")
	step := func(event int64, base string, tags, came, went []string) *snapfile.Snapshot {
		t.Helper()
		o.Event, o.Full = event, false
		r, snap := pulltest.PullWith(t, c, s, o)
		if r.Base != base || !slices.Equal(r.Scope.Tags, tags) || !slices.Equal(r.Came, came) || !slices.Equal(r.Went, went) {
			t.Errorf("event %d: from %q tags %q, came %q, went %q", event, r.Base, r.Scope.Tags, r.Came, r.Went)
		}
		names := pull.Options{Tags: tags, Event: event, Program: "test"}
		_, want := pulltest.PullWith(t, c, pulltest.NewStore(t), names)
		for _, rel := range []string{"tag", "tag_config", "tag_extra", "tag_listing", "rpminfo"} {
			if a, b := pulltest.SnapshotRows(t, snap, rel), pulltest.SnapshotRows(t, want, rel); !slices.Equal(a, b) && !(base != "" && rel == "tag") {
				t.Errorf("event %d, %s: too many %q, missing %q", event, rel, difference(a, b), difference(b, a))
			}
		}
		if latest, err := repository.Latest(t.Context(), s, scope); err != nil || latest.ID != snap.ID {
			t.Errorf("event %d: latest %v, %v", event, latest, err)
		}
		return snap
	}
	first := step(417, "", []string{"f42-build-side-22"}, nil, nil)
	second := step(pulltest.LastEvent, first.ID, []string{"f42-build-side-22", "f42-build-side-24"}, []string{"f42-build-side-24"}, nil)
	e.event(pulltest.LastEvent+1, days)
	e.aTag(bigFloor, "f42-build-side-99", pulltest.LastEvent+1, 0, 0)
	e.revoke("tag_config", pulltest.LastEvent+1, hubtest.Values{"tag_id": e.tag("f42-build-side-22"), "create_event": 417})
	third := step(pulltest.LastEvent+1, second.ID, []string{"f42-build-side-24"}, nil, []string{"f42-build-side-22"})
	// The same rows with other names of tags are another snapshot of the same scope.
	e.event(pulltest.LastEvent+2, 2*days)
	step(pulltest.LastEvent+2, third.ID, []string{"f42-build-side-24"}, nil, nil)

	for _, other := range []repository.Scope{{Hub: c.URL()}, {Hub: c.URL(), Tags: []string{"f42-build-side-24"}}, {Hub: c.URL(), Tags: []string{"f42-build-*"}}} {
		if snap, err := repository.Latest(t.Context(), s, other); !errors.Is(err, repository.ErrNoSnapshot) || !strings.Contains(err.Error(), "!*-99") {
			t.Errorf("%+v: %v, %v", other, snap, err)
		}
	}
}

// TestPullPatternsOfOddTags: the hub's answer to a pattern is checked.
func TestPullPatternsOfOddTags(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	pulltest.Must(t, err)
	e := edits{t, rows}
	e.aTag(bigFloor, "f42-\x01odd", 300, 0, 0)
	for _, test := range []struct{ name, from, to, err string }{
		{name: "a name that cannot be sent"},
		{"a tag beside the pattern", "<string>f42-updates</string>", "<string>eln</string>", ""},
		{"no id", "<name>id</name>", "<name>di</name>", "is not a tag"},
		{"an id that is none", "<int>3</int>", "<i8>99999999999</i8>", "does not fit an integer"},
	} {
		tampered := 0
		srv := httptest.NewServer(hubtest.New(rows, hubtest.Options{Tamper: func(method string, body []byte) []byte {
			if method != "multiCall" || test.from == "" || !strings.Contains(string(body), "maven_include_all") {
				return body
			}
			tampered++
			return []byte(strings.Replace(string(body), test.from, test.to, -1))
		}}))
		defer srv.Close()
		c, err := hub.New(srv.URL+"/kojihub", hub.Options{Retries: -1})
		pulltest.Must(t, err)
		r, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: []string{"f42-u*", "f42-?odd", "f42"}, Event: pulltest.LastEvent, Program: "test"})
		switch {
		case test.from != "" && tampered == 0:
			t.Errorf("%s: no answer was another", test.name)
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %v", test.name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
		case slices.Contains(r.Scope.Tags, "eln") || !slices.Contains(r.Scope.Tags, "f42-updates-testing") || !slices.Equal(r.Unmatched, []string{"f42-?odd"}):
			t.Errorf("%s: %q, unmatched %q", test.name, r.Scope.Tags, r.Unmatched)
		}
	}
}

// TestPullWrongPatterns: lists that make no sense are refused before the hub is asked.
func TestPullWrongPatterns(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{Fault: func(method string, _ []any) *hubtest.Fault {
		t.Errorf("the hub is asked for %s", method)
		return nil
	}})
	for _, tags := range [][]string{nil, {}, {""}, {"!"}, {"!f42"}, {"f42", "!"}, {"f42\n"}} {
		if _, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: tags}); err == nil {
			t.Errorf("%q is pulled", tags)
		}
	}
}
