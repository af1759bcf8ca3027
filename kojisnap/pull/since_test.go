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
	"kojisnap/kojisnap/store/dir"
)

// days separate the recorded events from those of a test, so that the overlap does not include the recorded
// ones: their rows are kept.
const days = 10 * 24 * time.Hour

// sameRows compares all rows of two snapshots, also revoked ones.
func sameRows(t *testing.T, got, want *snapfile.Snapshot) {
	t.Helper()
	for _, rel := range relation.All() {
		for _, revoked := range []bool{false, true} {
			a, b := rowsOf(t, got, rel.Name, revoked), rowsOf(t, want, rel.Name, revoked)
			if !slices.Equal(a, b) {
				t.Errorf("%s, revoked %v: too many %q, missing %q", rel.Name, revoked, difference(a, b), difference(b, a))
			}
		}
	}
}

// TestPullSweepsByTheHour pulls once an hour from a hub without a new event. Builds are swept nevertheless:
// after as many hours as a sweep has slices, all of them.
func TestPullSweepsByTheHour(t *testing.T) {
	const sweep = int64(3)
	made := time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC)
	for _, turn := range seedtest.Some([]int64{0, 1, 2}, 2) {
		t.Run(fmt.Sprint("turn ", turn), func(t *testing.T) {
			c, rows := pulltest.Production(t, hubtest.Options{})
			s := pulltest.NewStore(t)
			// Everything was tagged and built long ago, so only the sweep asks for a build.
			edits{t, rows}.event(pulltest.LastEvent+1, 3*days)
			o := pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent + 1, Sweep: int(sweep), Program: "test"}
			hour := func(n int64) (*pull.Result, *snapfile.Snapshot) {
				o.Now = func() time.Time { return made.Add(time.Duration(n)*time.Hour + time.Minute) }
				return pulltest.PullWith(t, c, s, o)
			}
			first, snap := hour(0)
			var id int64
			for _, row := range pulltest.SnapshotRows(t, snap, "tag_listing") {
				f := strings.Split(row, "\t")
				if build := number(f[relation.Get("tag_listing").Index("build_id")]); build%sweep == turn {
					id = build
				}
			}
			// A new owner leaves no event.
			if n, err := rows.Update("build", hubtest.Values{"id": id}, hubtest.Values{"owner": 3}); n != 1 || err != nil {
				t.Fatal(id, n, err)
			}
			for n := range turn {
				if r, _ := hour(n); !r.Existing || r.Snapshot != first.Snapshot {
					t.Errorf("hour %d: snapshot %s after %s", n, r.Snapshot, first.Snapshot)
				}
			}
			r, got := hour(turn)
			if r.Existing || r.Base != first.Snapshot {
				t.Errorf("hour %d: build %d, whose turn it is, was not asked for", turn, id)
			}
			sameRows(t, got, pulltest.Pull(t, c, pulltest.NewStore(t), o.Event, o.Tags...))
		})
	}
}

// edits changes single rows of a hub.
type edits struct {
	t    *testing.T
	rows *hubtest.Memory
}

// find returns rows, at least one.
func (e edits) find(table string, where hubtest.Values) []hubtest.Values {
	e.t.Helper()
	found, err := e.rows.Select(table, where)
	if err != nil || len(found) == 0 {
		e.t.Fatalf("%s %v: %d rows, %v", table, where, len(found), err)
	}
	return found
}

func (e edits) insert(table string, row hubtest.Values) {
	e.t.Helper()
	if err := e.rows.Insert(table, row); err != nil {
		e.t.Fatal(err)
	}
}

// event inserts an event some time after the recorded ones.
func (e edits) event(id int64, after time.Duration) {
	e.t.Helper()
	last := e.find("events", hubtest.Values{"id": pulltest.LastEvent})[0]["time"].(hubtest.Time)
	e.insert("events", hubtest.Values{"id": id, "time": last + hubtest.Time(after.Microseconds())})
}

// create inserts a versioned row.
func (e edits) create(table string, event int64, row hubtest.Values) {
	e.t.Helper()
	row["create_event"], row["creator_id"], row["revoke_event"], row["revoker_id"], row["active"] = event, 1, nil, nil, true
	e.insert(table, row)
}

func (e edits) revoke(table string, event int64, row hubtest.Values) {
	e.t.Helper()
	key := hubtest.Values{}
	for _, column := range relation.Get(table).Key {
		key[column] = row[column]
	}
	n, err := e.rows.Update(table, key, hubtest.Values{"active": nil, "revoke_event": event, "revoker_id": 1})
	if n != 1 || err != nil {
		e.t.Fatal(table, n, err)
	}
}

func (e edits) tag(name string) int64 {
	e.t.Helper()
	return e.find("tag", hubtest.Values{"name": name})[0]["id"].(int64)
}

// isTagged reports whether a snapshot has a build in a tag.
func isTagged(t *testing.T, snap *snapfile.Snapshot, build any, tag int64) bool {
	t.Helper()
	return slices.ContainsFunc(pulltest.SnapshotRows(t, snap, "tag_listing"), func(row string) bool {
		f, rel := strings.Split(row, "\t"), relation.Get("tag_listing")
		return f[rel.Index("build_id")] == fmt.Sprint(build) && f[rel.Index("tag_id")] == fmt.Sprint(tag)
	})
}

// TestPullLateRevocation: a transaction commits after the base was pulled, with an event before the base's.
// It untags a build, blocks a package and tags another build. An incremental pull sees this, at the base's
// own event and at a later one, and so does a full one.
func TestPullLateRevocation(t *testing.T) {
	const late, base, later = pulltest.LastEvent + 1, pulltest.LastEvent + 2, pulltest.LastEvent + 3
	for _, event := range []int64{base, later} {
		t.Run(fmt.Sprint("event ", event), func(t *testing.T) {
			c, rows := pulltest.Production(t, hubtest.Options{})
			e := edits{t, rows}
			o := pull.Options{Tags: []string{"f42"}, Event: base, Sweep: 1000, Program: "test"}
			tag := e.tag("f42")
			again, all, without := pulltest.NewStore(t), pulltest.NewStore(t), pulltest.NewStore(t)
			e.event(base, days+2*time.Second)
			for _, s := range []*dir.Store{again, all, without} {
				pulltest.PullWith(t, c, s, o)
			}

			e.event(late, days+time.Second)
			untagged := e.find("tag_listing", hubtest.Values{"tag_id": tag, "active": true})[0]
			e.revoke("tag_listing", late, untagged)
			blocked := e.find("tag_packages", hubtest.Values{"tag_id": tag, "active": true, "blocked": false})[0]
			e.revoke("tag_packages", late, blocked)
			blocked["blocked"] = true
			e.create("tag_packages", late, blocked)
			var tagged any
			for _, b := range e.find("build", hubtest.Values{"state": 1, "draft": false}) {
				if is, err := rows.Select("tag_listing", hubtest.Values{"build_id": b["id"]}); len(is) == 0 && err == nil {
					tagged = b["id"]
				}
			}
			e.create("tag_listing", late, hubtest.Values{"build_id": tagged, "tag_id": tag})
			e.event(later, days+3*time.Second)

			o.Event = event
			_, got := pulltest.PullWith(t, c, again, o)
			whole := o
			whole.Sweep = 1
			_, want := pulltest.PullWith(t, c, all, whole)
			sameRows(t, got, want)
			if isTagged(t, got, untagged["build_id"], tag) || !isTagged(t, got, tagged, tag) {
				t.Errorf("build %v is still tagged, or %v is not", untagged["build_id"], tagged)
			}
			// Without the overlap it does not see it.
			o.Overlap = -1
			if _, blind := pulltest.PullWith(t, c, without, o); !isTagged(t, blind, untagged["build_id"], tag) || isTagged(t, blind, tagged, tag) {
				t.Error("without overlap it is seen as well: the test tests nothing")
			}
		})
	}
}

// TestPullBuildMadeAnew resets a tagged build, builds it again with the same id and puts it into another tag.
// Koji deletes the old tagging without an event; only the build's new create_event shows it.
func TestPullBuildMadeAnew(t *testing.T) {
	const base, anew, tagged = pulltest.LastEvent + 1, pulltest.LastEvent + 2, pulltest.LastEvent + 3
	c, rows := pulltest.Production(t, hubtest.Options{})
	e := edits{t, rows}
	e.event(base, days)
	o := pull.Options{Tags: []string{"f42-compose", "f42-candidate"}, Event: base, Sweep: 1000, Program: "test"}
	again, all := pulltest.NewStore(t), pulltest.NewStore(t)
	for _, s := range []*dir.Store{again, all} {
		pulltest.PullWith(t, c, s, o)
	}

	was := e.find("tag_listing", hubtest.Values{"tag_id": e.tag("f42"), "active": true})[0]
	build := hubtest.Values{"build_id": was["build_id"]}
	if _, err := rows.Delete("tag_listing", build); err != nil {
		t.Fatal(err)
	}
	e.event(anew, days+time.Minute)
	if n, err := rows.Update("build", hubtest.Values{"id": was["build_id"]}, hubtest.Values{"create_event": anew}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	e.event(tagged, days+time.Hour)
	to := e.tag("f42-candidate")
	e.create("tag_listing", tagged, hubtest.Values{"build_id": was["build_id"], "tag_id": to})

	o.Event = tagged
	_, got := pulltest.PullWith(t, c, again, o)
	o.Sweep = 1
	_, want := pulltest.PullWith(t, c, all, o)
	sameRows(t, got, want)
	if isTagged(t, got, was["build_id"], was["tag_id"].(int64)) || !isTagged(t, got, was["build_id"], to) {
		t.Errorf("build %d is tagged as it was", was["build_id"])
	}
}

// TestPullFormerOwner gives the only build of a user to another owner. A user whom nothing refers to does not
// stay in the snapshot.
func TestPullFormerOwner(t *testing.T) {
	const base, tagged = pulltest.LastEvent + 1, pulltest.LastEvent + 2
	c, rows := pulltest.Production(t, hubtest.Options{})
	e := edits{t, rows}
	e.event(base, days)
	e.insert("users", hubtest.Values{"id": 900, "name": "former", "status": 0, "usertype": 0})
	build := e.find("tag_listing", hubtest.Values{"tag_id": e.tag("f42"), "active": true})[0]["build_id"]
	own := func(user int) {
		t.Helper()
		if n, err := rows.Update("build", hubtest.Values{"id": build}, hubtest.Values{"owner": user}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	own(900)
	o := pull.Options{Tags: []string{"f42", "f42-candidate"}, Event: base, Sweep: 1000, Program: "test"}
	again, all := pulltest.NewStore(t), pulltest.NewStore(t)
	for _, s := range []*dir.Store{again, all} {
		_, snap := pulltest.PullWith(t, c, s, o)
		if !slices.Contains(pulltest.SnapshotRows(t, snap, "users"), "900\tformer\t0\t0") {
			t.Fatal("the owner is not in the snapshot")
		}
	}
	own(1)
	e.event(tagged, days+time.Minute)
	e.create("tag_listing", tagged, hubtest.Values{"build_id": build, "tag_id": e.tag("f42-candidate")})
	o.Event = tagged
	_, got := pulltest.PullWith(t, c, again, o)
	o.Sweep = 1
	_, want := pulltest.PullWith(t, c, all, o)
	sameRows(t, got, want)
}

// TestPullScopeChanges: a tag with old rows is inherited, and later no longer. Only the event of the link
// shows it.
func TestPullScopeChanges(t *testing.T) {
	const base, linked, unlinked = pulltest.LastEvent + 1, pulltest.LastEvent + 2, pulltest.LastEvent + 3
	c, rows := pulltest.Production(t, hubtest.Options{})
	e := edits{t, rows}
	e.event(base, days)
	o := pull.Options{Tags: []string{"f42-infra"}, Event: base, Sweep: 1000, Program: "test"}
	again, all := pulltest.NewStore(t), pulltest.NewStore(t)
	both := func(event int64) *snapfile.Snapshot {
		t.Helper()
		o.Event, o.Sweep = event, 1000
		_, got := pulltest.PullWith(t, c, again, o)
		o.Sweep = 1
		_, want := pulltest.PullWith(t, c, all, o)
		sameRows(t, got, want)
		return got
	}
	before := both(base)
	var other int64
	for _, l := range e.find("tag_listing", hubtest.Values{"active": true}) {
		tag := l["tag_id"].(int64)
		if !slices.ContainsFunc(before.Manifest.Scope.All, func(s snapfile.Tag) bool { return s.ID == tag }) {
			other = tag
		}
	}
	child := e.tag("f42-infra")
	link := hubtest.Values{"tag_id": child, "parent_id": other, "priority": 90, "intransitive": false, "noconfig": false, "pkg_filter": ""}
	e.event(linked, 2*days)
	e.create("tag_inheritance", linked, link)
	with := both(linked)
	e.event(unlinked, 3*days)
	e.revoke("tag_inheritance", unlinked, link)
	after := both(unlinked)
	for _, name := range []string{"tag_listing", "rpminfo"} {
		n := [3]int{len(pulltest.SnapshotRows(t, before, name)), len(pulltest.SnapshotRows(t, with, name)), len(pulltest.SnapshotRows(t, after, name))}
		if n[1] <= n[0] || n[2] != n[0] {
			t.Errorf("%s: %d rows before, with and after what tag %d brings", name, n, other)
		}
	}
}
