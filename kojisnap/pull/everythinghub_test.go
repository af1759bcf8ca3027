package pull_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/tagged"
)

// TestEverythingOldHub: a hub before Koji 1.34 knows no queryOpts in queryHistory. It is not asked for counts, which it
// answers with all rows; the rows of the history are the same, the first time and going on from a snapshot.
func TestEverythingOldHub(t *testing.T) {
	_, rows := pulltest.Production(t, hubtest.Options{})
	versioned := append([]string{"rpmsigs", "package"}, pull.TagHistory()...) // builds and rpms have no drafts there
	pullFrom := func(version string) map[string][]string {
		t.Helper()
		h := hubtest.New(rows, hubtest.Options{KojiVersion: version})
		c, s := pulltest.Client(t, h), pulltest.NewStore(t)
		opt := pull.Options{Everything: true, Event: pulltest.LastEvent, Program: "test"}
		opt.DryRun = true
		plan, err := pull.Pull(t.Context(), c, s, opt)
		if err != nil || plan.Rows["build"] < 50 {
			t.Fatalf("%s: plan %v, %v", version, plan, err)
		}
		opt.DryRun = false
		opt.Event = 300
		pulltest.PullWith(t, c, s, opt)
		opt.Event = pulltest.LastEvent
		r, snap := pulltest.PullWith(t, c, s, opt)
		if r.Base == "" {
			t.Errorf("%s: the second pull has no base", version)
		}
		got := map[string][]string{}
		for _, name := range versioned {
			got[name] = pulltest.SnapshotRows(t, snap, name)
		}
		return got
	}
	want := pullFrom("1.35.3")
	got := pullFrom("1.33.2")
	for _, name := range versioned {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s: %d rows, from a newer hub %d", name, len(got[name]), len(want[name]))
		}
	}
}

// TestOldHubPlan: a plan is the same where the hub cannot count the rows of its history.
func TestOldHubPlan(t *testing.T) {
	_, rows := pulltest.Production(t, hubtest.Options{})
	plan := func(version string) *pull.Result {
		t.Helper()
		c := pulltest.Client(t, hubtest.New(rows, hubtest.Options{KojiVersion: version}))
		r, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: []string{"f42"}, Event: pulltest.LastEvent, Since: 300, Program: "test", DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	got, want := plan("1.33.2"), plan("1.35.3")
	if !reflect.DeepEqual(got.Rows, want.Rows) || !reflect.DeepEqual(got.Plan, want.Plan) || want.Rows["tag_listing"] == 0 {
		t.Errorf("rows %v, want %v; plan %v, want %v", got.Rows, want.Rows, got.Plan, want.Plan)
	}
}

// TestEverythingBuildsMove: builds that are deleted and completed while the list of all builds is paged through do not
// move its pages.
func TestEverythingBuildsMove(t *testing.T) {
	_, rows := pulltest.Production(t, hubtest.Options{})
	first, err := rows.Select("build", hubtest.Values{"state": tagged.Complete})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int64, len(first))
	for i, row := range first {
		ids[i] = row["id"].(int64)
	}
	slices.Sort(ids)
	var asked atomic.Int64
	h := hubtest.New(rows, hubtest.Options{Fault: func(method string, _ []any) *hubtest.Fault {
		if method != "listBuilds" {
			return nil
		}
		n := asked.Add(1)
		if _, err := rows.Update("build", hubtest.Values{"id": ids[n/2%20]}, hubtest.Values{"state": n%2 + 1}); err != nil {
			t.Error(err)
		}
		return nil
	}})
	opt := pull.Options{Everything: true, Event: pulltest.LastEvent, Program: "test"}.WithPager(pager.Options{Page: 5})
	_, snap := pulltest.PullWith(t, pulltest.Client(t, h), pulltest.NewStore(t), opt)
	if n := len(pulltest.SnapshotRows(t, snap, "build")); n < len(ids)-20 || asked.Load() < 15 {
		t.Errorf("%d builds of %d, %d calls", n, len(ids), asked.Load())
	}
}

// TestNewBuildsZone: what was completed since the base is found whatever the time zones of a hub and its database are.
func TestNewBuildsZone(t *testing.T) {
	for _, version := range []string{"1.35.3", "1.34.2"} {
		_, rows := pulltest.Production(t, hubtest.Options{})
		c := pulltest.Client(t, hubtest.New(rows, hubtest.Options{KojiVersion: version, Ahead: 5 * time.Hour}))
		s := pulltest.NewStore(t)
		opt := pull.Options{Everything: true, Event: 410, Overlap: time.Minute, Program: "test"}
		_, before := pulltest.PullWith(t, c, s, opt)
		// A build in no tag, which was going on at the base's event, and completes after it.
		building := hubtest.Values{"state": int64(0)}
		all, err := rows.Select("build", building)
		if err != nil || len(all) == 0 {
			t.Fatal(all, err)
		}
		id := all[0]["id"]
		if _, err := rows.Update("build", hubtest.Values{"id": id}, hubtest.Values{"state": int64(1), "completion_time": hubtest.Time(before.Manifest.EventTime.Add(time.Second).UnixMicro())}); err != nil {
			t.Fatal(err)
		}
		opt.Event = pulltest.LastEvent
		_, after := pulltest.PullWith(t, c, s, opt)
		if !slices.ContainsFunc(pulltest.SnapshotRows(t, after, "build"), func(row string) bool { return strings.HasPrefix(row, fmt.Sprint(id, "\t")) }) {
			t.Errorf("%s: build %d, completed since the base, is not there", version, id)
		}
	}
}
