package pull_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

// pastScope returns the tags that the named ones inherit from at some event from since to E, and their
// ancestors.
func pastScope(t *testing.T, rows *hubtest.Memory, since, event int64, names ...string) map[int64]bool {
	t.Helper()
	e := edits{t, rows}
	scope := map[int64]bool{}
	for _, name := range names {
		scope[e.tag(name)] = true
	}
	for grew := true; grew; {
		grew = false
		for _, l := range e.find("tag_inheritance", nil) {
			revoked, isRevoked := l["revoke_event"].(int64)
			if l["create_event"].(int64) > event || isRevoked && (revoked <= since || revoked <= l["create_event"].(int64)) {
				continue
			}
			if child, parent := l["tag_id"].(int64), l["parent_id"].(int64); scope[child] && !scope[parent] {
				scope[parent], grew = true, true
			}
		}
	}
	return scope
}

// checkHistory compares the tags' rows in a snapshot with the hub's, at each event from since to E.
func checkHistory(t *testing.T, rows *hubtest.Memory, snap *snapfile.Snapshot, since int64) (revoked int) {
	t.Helper()
	event := snap.Manifest.Event
	scope := pastScope(t, rows, since, event, snap.Manifest.Scope.Tags...)
	var all []int64
	for _, tag := range snap.Manifest.Scope.All {
		all = append(all, tag.ID)
		if tag.History != since {
			t.Errorf("tag %s: history from %d, not %d", tag.Name, tag.History, since)
		}
		delete(scope, tag.ID)
	}
	if len(scope) > 0 {
		t.Errorf("tags %v were inherited at an event from %d to %d, but are not in the scope", scope, since, event)
	}
	ids := map[string]map[string]bool{} // of the tables that rows refer to
	have := func(table, id string) bool {
		if ids[table] == nil {
			ids[table] = map[string]bool{}
			for _, row := range pulltest.SnapshotRows(t, snap, table) {
				first, _, _ := strings.Cut(row, "\t")
				ids[table][first] = true
			}
		}
		return ids[table][id]
	}
	for _, rel := range relation.All() {
		if !rel.Versioned || rel.Index("tag_id") < 0 {
			continue
		}
		var want []string
		found, err := rows.Select(rel.Name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found {
			at, isRevoked := r["revoke_event"].(int64)
			created := r["create_event"].(int64)
			if !slices.Contains(all, r["tag_id"].(int64)) || created > event || isRevoked && (at <= since || at <= created) {
				continue
			}
			var key []string
			for _, c := range rel.Key {
				key = append(key, fmt.Sprint(r[c]))
			}
			line := strings.Join(key, " ")
			if isRevoked && at <= event {
				line += fmt.Sprintf(" until %d by %v", at, r["revoker_id"])
				revoked++
			}
			want = append(want, line)
		}
		var got []string
		for _, over := range []bool{false, true} {
			for _, row := range rowsOf(t, snap, rel.Name, over) {
				f := strings.Split(row, "\t")
				var key []string
				for _, i := range rel.KeyIndexes() {
					key = append(key, f[i])
				}
				line := strings.Join(key, " ")
				if over {
					line += fmt.Sprintf(" until %s by %s", f[rel.Index("revoke_event")], f[rel.Index("revoker_id")])
				}
				got = append(got, line)
				for i, c := range rel.Columns {
					if c.Ref != "" && f[i] != `\N` && !have(c.Ref, f[i]) {
						t.Errorf("%s %s: the snapshot has no %s %s", rel.Name, line, c.Ref, f[i])
					}
				}
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: too many %q, missing %q", rel.Name, difference(got, want), difference(want, got))
		}
	}
	return revoked
}

// TestPullHistory pulls with the history since an event. The real data has tags that were once inherited,
// builds that were untagged, and deleted tags.
func TestPullHistory(t *testing.T) {
	c, rows := pulltest.Production(t, hubtest.Options{})
	tags := []string{"f42-compose", "f42-updates-testing"}
	is := map[int64]bool{} // the hub's events
	for _, e := range (edits{t, rows}).some("events", nil) {
		is[e["id"].(int64)] = true
	}
	once := []string{edits{t, rows}.find("tag", hubtest.Values{"id": int64(6)})[0]["name"].(string)} // it inherited from tag 11 from event 79 to 80
	type place struct {
		tag   string
		event int64
	}
	plain := map[place]int{} // how many tags a pull without history has
	for _, at := range []struct {
		tags         []string
		since, event int64
		past         int // tags that are no longer inherited
	}{{tags, 1, pulltest.LastEvent, 0}, {tags, 150, pulltest.LastEvent, 0}, {tags, 300, 380, 0}, {tags, 360, pulltest.LastEvent, 0}, {tags, pulltest.LastEvent, pulltest.LastEvent, 0},
		{once, 70, pulltest.LastEvent, 2}, {once, 79, 400, 2}, {once, 80, pulltest.LastEvent, 0}} {
		tags, since, event := at.tags, at.since, at.event
		_, snap := pulltest.PullWith(t, c, pulltest.NewStore(t), pull.Options{Tags: tags, Event: event, Since: since, Program: "test"})
		there, known := plain[place{tags[0], event}]
		if !known {
			there = len(pulltest.Pull(t, c, pulltest.NewStore(t), event, tags...).Manifest.Scope.All)
			plain[place{tags[0], event}] = there
		}
		if len(snap.Manifest.Scope.All)-there != at.past {
			t.Errorf("since %d: %d tags, at event %d there are %d", since, len(snap.Manifest.Scope.All), event, there)
		}
		n := checkHistory(t, rows, snap, since)
		t.Logf("since %d: %d revoked rows, %d tags", since, n, len(snap.Manifest.Scope.All))
		if n == 0 && since < 360 && len(tags) > 1 {
			t.Errorf("since %d: nothing was revoked: the test compares nothing", since)
		}
		has := map[int64]bool{}
		for _, row := range pulltest.SnapshotRows(t, snap, "events") {
			id, _, _ := strings.Cut(row, "\t")
			has[number(id)] = true
		}
		for id := since; id <= event; id++ {
			if has[id] != is[id] {
				t.Errorf("since %d: event %d is there %v, in the snapshot %v", since, id, is[id], has[id])
			}
		}
	}
}

// TestPullHistoryGoesOn: pulls with the same, an earlier or a later since, and with more tags, continue one
// another. Each gives the result of a full pull, and asks only for what the base does not have.
func TestPullHistoryGoesOn(t *testing.T) {
	c, rows := pulltest.Production(t, hubtest.Options{})
	again := pulltest.NewStore(t)
	o := pull.Options{Tags: []string{"f42-compose"}, Program: "test", Sweep: 1000, Overlap: -1}
	var base string
	var f *pull.Result
	var want *snapfile.Snapshot
	for i, step := range []struct{ since, event int64 }{{300, 350}, {300, 380}, {300, pulltest.LastEvent}, {200, pulltest.LastEvent}, {200, pulltest.LastEvent}, {250, pulltest.LastEvent}, {0, pulltest.LastEvent}} {
		o.Since, o.Event = step.since, step.event
		r, got := pulltest.PullWith(t, c, again, o)
		whole := o
		whole.Full = true
		if i != 4 { // the same as before
			f, want = pulltest.PullWith(t, c, pulltest.NewStore(t), whole)
		}
		if r.Base != base && i != 5 {
			t.Errorf("step %d: goes on from %q, not %s", i, r.Base, base)
		}
		base = r.Snapshot
		if step.since > 0 {
			sameRows(t, got, want)
			checkHistory(t, rows, got, step.since)
		}
		t.Logf("step %d: %d of %d rows asked for, existing %v", i, r.Asked.Rows, f.Asked.Rows, r.Existing)
		if i > 0 && r.Asked.Rows*2 > f.Asked.Rows {
			t.Errorf("step %d: %d of %d rows asked for", i, r.Asked.Rows, f.Asked.Rows)
		}
		if want := i == 4; r.Existing != want {
			t.Errorf("step %d: existing %v", i, r.Existing)
		}
	}
}

// TestPullHistoryByDate gives since as a time, which the hub's getLastEvent resolves.
func TestPullHistoryByDate(t *testing.T) {
	c, rows := pulltest.Production(t, hubtest.Options{})
	o := pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent, Program: "test"}
	at := edits{t, rows}.find("events", hubtest.Values{"id": int64(300)})[0]["time"].(hubtest.Time)
	o.SinceTime = time.UnixMicro(int64(at)) // getLastEvent takes the last event before it
	_, snap := pulltest.PullWith(t, c, pulltest.NewStore(t), o)
	checkHistory(t, rows, snap, 299)
	o.SinceTime = time.Unix(1, 0)
	_, snap = pulltest.PullWith(t, c, pulltest.NewStore(t), o)
	checkHistory(t, rows, snap, 1)
	for since, want := range map[int64]string{pulltest.LastEvent + 1: "has no event 420", 500: "has no event 500"} {
		o.Since = since
		if _, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("since %d: %v", since, err)
		}
	}
	o.Event, o.Since = 300, 310
	if _, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), o); err == nil || !strings.Contains(err.Error(), "later than event 300") {
		t.Errorf("since after the event: %v", err)
	}
	o.Event, o.Since, o.SinceTime = pulltest.LastEvent, 0, time.Now().Add(48*time.Hour)
	if _, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), o); err == nil || !strings.Contains(err.Error(), "by the hub's clock it is") {
		t.Errorf("since a day to come: %v", err)
	}
}

// TestPullHistoryAgain is TestPullAgain with history.
func TestPullHistoryAgain(t *testing.T) {
	seedtest.Each(t, []uint64{55, 58}, func(t *testing.T, seed uint64) { testPullAgain(t, seed, 200+int64(seed), false) })
}

// some returns rows, possibly none.
func (e edits) some(table string, where hubtest.Values) []hubtest.Values {
	e.t.Helper()
	found, err := e.rows.Select(table, where)
	if err != nil {
		e.t.Fatal(err)
	}
	return found
}

// TestPullHistoryRepoArches: the history of released hubs lacks the arches of a tag's external repo. They are
// asked for at the event at which the tag got the repo.
func TestPullHistoryRepoArches(t *testing.T) {
	for _, released := range []bool{false, true} {
		c, rows := pulltest.Production(t, hubtest.Options{Released: released})
		name := edits{t, rows}.find("tag", hubtest.Values{"id": int64(7)})[0]["name"].(string)
		_, snap := pulltest.PullWith(t, c, pulltest.NewStore(t), pull.Options{Tags: []string{name}, Event: pulltest.LastEvent, Since: 50, Program: "test"})
		rel := relation.Get("tag_external_repos")
		var got []string
		for _, row := range rowsOf(t, snap, rel.Name, true) {
			if f := strings.Split(row, "\t"); f[rel.Index("tag_id")] == "7" {
				got = append(got, f[rel.Index("external_repo_id")]+" for "+f[rel.Index("arches")])
			}
		}
		if !slices.Equal(got, []string{"2 for x86_64 aarch64"}) {
			t.Errorf("released %v: external repos that tag %s had: %q", released, name, got)
		}
	}
}
