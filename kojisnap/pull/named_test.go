package pull_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// TestPullNamed: a build that is asked for by NVR or id has all rows in the snapshot that a tagged build has,
// whatever its state, even if it is asked for twice.
func TestPullNamed(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	for _, test := range []struct {
		event      int64
		builds     []string
		ids        []int64 // as the manifest has them
		incomplete []scope.IncompleteBuild
	}{
		{pulltest.LastEvent, []string{pulltest.NamedKernel}, []int64{36}, nil},
		{pulltest.LastEvent, []string{"61", pulltest.NamedDraft, "legacy-empty-0-1"}, []int64{61, 69, 72}, nil},
		{pulltest.LastEvent, []string{pulltest.NamedKernel, "36", pulltest.NamedKernel}, []int64{36}, nil},
		{pulltest.LastEvent, []string{"0:" + pulltest.NamedKernel}, []int64{36}, nil}, // parse_NVR takes the epoch off
		{pulltest.LastEvent, []string{"7"}, []int64{7}, nil},                          // f42 has it, too
		{300, []string{pulltest.NamedImage}, []int64{61}, nil},                        // it was made later
		{pulltest.LastEvent, []string{pulltest.NamedGone, pulltest.NamedFailed, pulltest.NamedRunning, "68"}, []int64{53, 66, 67, 68}, []scope.IncompleteBuild{
			{ID: 53, Build: pulltest.NamedGone, State: "DELETED"}, {ID: 66, Build: pulltest.NamedRunning, State: "BUILDING"},
			{ID: 67, Build: pulltest.NamedFailed, State: "FAILED"}, {ID: 68, Build: "canceled-build-1-1", State: "CANCELED"}}},
	} {
		t.Run(strings.Join(test.builds, " "), func(t *testing.T) {
			s := pulltest.NewStore(t)
			r, snap := pulltest.PullWith(t, c, s, pull.Options{Tags: []string{"f42-compose"}, Builds: test.builds, Event: test.event, Program: "test"})
			var ids []int64
			var named []string
			for _, b := range snap.Manifest.Scope.Builds {
				ids, named = append(ids, b.ID), append(named, fmt.Sprint(b.ID))
				if b.NVR == "" || !slices.Contains(test.builds, b.Asked) || !snap.Manifest.NamedBuild(b.ID) {
					t.Errorf("%+v", b)
				}
			}
			if !slices.Equal(ids, test.ids) || snap.Manifest.NamedBuild(1) || !reflect.DeepEqual(r.Incomplete, test.incomplete) {
				t.Errorf("builds %d, want %d; incomplete %+v", ids, test.ids, r.Incomplete)
			}
			holdsRows(t, snap, expected(t, test.event, []string{"f42-compose"}, named...))
		})
	}
}

// TestPullNamedFollowed: incremental pulls know the same about a named build as full ones: that it was added
// to the list, what production did to it without an event, and that it was removed from the list.
func TestPullNamedFollowed(t *testing.T) {
	c, rows := pulltest.Production(t, hubtest.Options{})
	again, all := pulltest.NewStore(t), pulltest.NewStore(t)
	e := edits{t, rows}
	event := int64(pulltest.LastEvent)
	// The slice of the sweep never has the builds of this test, and the list of completed builds begins
	// later.
	o := pull.Options{Tags: []string{"f42-compose"}, Event: event, Sweep: 1 << 20, Program: "test"}
	both := func(t *testing.T, builds ...string) (*pull.Result, *snapfile.Snapshot) {
		t.Helper()
		event++
		e.event(event, days*time.Duration(event-pulltest.LastEvent))
		o.Event, o.Builds, o.Sweep, o.Full = event, builds, 1<<20, false
		r, got := pulltest.PullWith(t, c, again, o)
		o.Sweep = 1
		_, want := pulltest.PullWith(t, c, all, o)
		sameRows(t, got, want)
		if r.Base == "" {
			t.Error("the pull did not go on from a snapshot")
		}
		return r, got
	}
	update := func(t *testing.T, table string, where, set hubtest.Values) {
		t.Helper()
		if n, err := rows.Update(table, where, set); err != nil || n == 0 {
			t.Fatal(table, n, err)
		}
	}
	pulltest.PullWith(t, c, again, o)
	pulltest.PullWith(t, c, all, o)
	list := []string{pulltest.NamedDraft, pulltest.NamedKernel, pulltest.NamedImage, "fedora-container-42-20250401.0"}
	_, first := both(t, list...)
	count := func(snap *snapfile.Snapshot, name string) int { return len(pulltest.SnapshotRows(t, snap, name)) }

	t.Run("signed, moved, promoted, with other rpms", func(t *testing.T) {
		var rpm int64
		for _, r := range e.find("rpminfo", hubtest.Values{"build_id": 36, "arch": "src"}) {
			rpm = r["id"].(int64)
		}
		pulltest.Must(t, rows.Insert("rpmsigs", hubtest.Values{"rpm_id": rpm, "sigkey": "deadbeef", "sighash": strings.Repeat("0", 32)}))
		update(t, "build", hubtest.Values{"id": 36}, hubtest.Values{"volume_id": 1})
		update(t, "build", hubtest.Values{"id": 72}, hubtest.Values{"draft": false, "release": "1.fc42", "promoter": 1})
		update(t, "rpminfo", hubtest.Values{"build_id": 72}, hubtest.Values{"draft": false})
		r, snap := both(t, list...)
		if count(snap, "rpmsigs") != count(first, "rpmsigs")+1 {
			t.Error("the new signature is not there")
		}
		at := slices.IndexFunc(r.Scope.Builds, func(b snapfile.NamedBuild) bool { return b.ID == 72 })
		if at < 0 || r.Scope.Builds[at].NVR != "draftpkg-1-1.fc42" || r.Scope.Builds[at].Asked != pulltest.NamedDraft {
			t.Errorf("the promoted draft: %+v", r.Scope.Builds)
		}
		both(t, list...) // now only the last snapshot has its name
	})
	t.Run("deleted, reset", func(t *testing.T) {
		update(t, "build", hubtest.Values{"id": 36}, hubtest.Values{"state": 2})
		for _, r := range e.find("rpminfo", hubtest.Values{"build_id": 36}) {
			if _, err := rows.Delete("rpmsigs", hubtest.Values{"rpm_id": r["id"]}); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range e.find("rpminfo", hubtest.Values{"build_id": 72}) {
			for _, table := range []string{"rpmsigs", "rpm_checksum", "archive_rpm_components"} {
				if _, err := rows.Delete(table, hubtest.Values{"rpm_id": r["id"]}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, table := range []string{"rpminfo", "build_types"} {
			if _, err := rows.Delete(table, hubtest.Values{"build_id": 72}); err != nil {
				t.Fatal(err)
			}
		}
		update(t, "build", hubtest.Values{"id": 72}, hubtest.Values{"state": 4})
		r, _ := both(t, list...)
		want := []scope.IncompleteBuild{{ID: 36, Build: pulltest.NamedKernel, State: "DELETED"}, {ID: 72, Build: "draftpkg-1-1.fc42", State: "CANCELED"}}
		if !slices.Equal(r.Incomplete, want) {
			t.Errorf("incomplete: %+v", r.Incomplete)
		}
	})
	t.Run("tagged, and off the list", func(t *testing.T) {
		update(t, "build", hubtest.Values{"id": 36}, hubtest.Values{"state": 1})
		both(t, list...)
		event++
		e.event(event, days*time.Duration(event-pulltest.LastEvent))
		e.create("tag_listing", event, hubtest.Values{"build_id": 36, "tag_id": e.tag("f42")})
		_, tagged := both(t, list...)
		_, off := both(t)
		if count(off, "archiveinfo") >= count(tagged, "archiveinfo") || len(off.Manifest.Scope.Builds) > 0 {
			t.Error("nothing left with the list")
		}
		if !slices.ContainsFunc(pulltest.SnapshotRows(t, off, "rpminfo"), func(l string) bool { return strings.Contains(l, "\tkernel\t6.14.5\t") }) {
			t.Error("what is tagged by now went with the list")
		}
	})
}

// TestPullNamedUnknown: builds that the hub does not have end the pull. The error names all of them and says
// what to do. A text that cannot name a build is refused before the hub is asked.
func TestPullNamedUnknown(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	s := pulltest.NewStore(t)
	_, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: []string{"f42-compose"}, Builds: []string{"nope-1-1", pulltest.NamedKernel, "999", "kernel-6.14.5-301.fc42"}, Event: pulltest.LastEvent})
	var unknown *scope.UnknownBuildError
	if !errors.As(err, &unknown) || unknown.Hub != c.URL() || !slices.Equal(unknown.Builds, []string{"999", "kernel-6.14.5-301.fc42", "nope-1-1"}) {
		t.Fatalf("%v", err)
	}
	if want := fmt.Sprintf(`hub %s has no builds "999", "kernel-6.14.5-301.fc42", "nope-1-1": correct the name in --build, or in build of [pull], or take it off the list`, c.URL()); err.Error() != want {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"", "0", "4294967296", "99999999999999999999", "-5", "kernel", "kernel-1", "-1-1", "a--1", "a-1-", "--",
		"../x-1-1", "x-..-1", "x-1-..", "a/b-1-1", "a\n-1-1", "a-1-1\x00", "a\x1b[31m-1-1", "a-1-1\xff", strings.Repeat("a", 256) + "-1-1"} {
		_, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: []string{"f42-compose"}, Builds: []string{name}, Event: pulltest.LastEvent})
		if check := scope.CheckBuildName(name); check == nil || err == nil || errors.As(err, &unknown) || strings.ContainsAny(err.Error(), "\n\x00\x1b") || !utf8.ValidString(err.Error()) {
			t.Errorf("%q: %v, %v", name, check, err)
		}
	}
	if all, err := repository.Snapshots(t.Context(), s); err != nil || len(all) > 0 {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
}

// TestPullNamedAlone: a snapshot that differs from the last one only in the named builds is a new one,
// because copy and verify use them. One without a difference is the same.
func TestPullNamedAlone(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	s := pulltest.NewStore(t)
	o := pull.Options{Tags: []string{"f42-compose"}, Event: pulltest.LastEvent, Program: "test"}
	pulltest.PullWith(t, c, s, o)
	o.Builds = []string{"bash-5.2.37-1.fc42"} // f42 has it, so no row is new
	for _, existing := range []bool{false, true} {
		o.DryRun = true
		if plan, err := pull.Pull(t.Context(), c, s, o); err != nil || plan.Existing != existing || len(plan.Scope.Builds) != 1 {
			t.Errorf("plan: %+v, %v", plan, err)
		}
		o.DryRun = false
		r, snap := pulltest.PullWith(t, c, s, o)
		if r.Existing != existing || !snap.Manifest.NamedBuild(7) {
			t.Errorf("existing %v, builds %+v", r.Existing, snap.Manifest.Scope.Builds)
		}
	}
}

// TestPullNamedOdd: if the hub cannot send the row of a named build, the build is still known by its id, and
// left out like a tagged one. If the hub answers with something that is no build, the pull ends.
func TestPullNamedOdd(t *testing.T) {
	for _, asked := range []string{pulltest.NamedKernel, "36"} {
		c, rows := pulltest.Production(t, hubtest.Options{})
		if n, err := rows.Update("build", hubtest.Values{"id": 36}, hubtest.Values{"extra": `{"a": "x\ud800y"}`}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		r, snap := pulltest.PullWith(t, c, pulltest.NewStore(t), pull.Options{Tags: []string{"f42-compose"}, Builds: []string{asked, pulltest.NamedImage}, Event: pulltest.LastEvent})
		if left := r.LeftOut; len(left) != 1 || left[0].Row != "build 36" || !left[0].Missing() {
			t.Errorf("left out: %+v", left)
		}
		if !snap.Manifest.NamedBuild(36) || !snap.Manifest.NamedBuild(61) || snap.Manifest.Scope.Builds[0].Name() != asked {
			t.Errorf("%+v", snap.Manifest.Scope.Builds)
		}
	}
	c, _ := pulltest.Production(t, hubtest.Options{Tamper: func(method string, body []byte) []byte {
		return []byte(strings.Replace(string(body), "<name>build_id</name>", "<name>bild_id</name>", 1))
	}})
	_, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: []string{"f42-compose"}, Builds: []string{pulltest.NamedKernel}, Event: pulltest.LastEvent})
	if err == nil || !strings.Contains(err.Error(), `build "`+pulltest.NamedKernel+`": getBuild of hub `+c.URL()+" answered struct, which is not a build") {
		t.Errorf("%v", err)
	}
}

// TestPullNamedCutOff: an interrupted pull is resumed only for the same builds.
func TestPullNamedCutOff(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	pulltest.Must(t, err)
	g := &gate{hub: hubtest.New(rows, hubtest.Options{}), after: -1}
	srv := httptest.NewServer(g)
	t.Cleanup(srv.Close)
	c, err := hub.New(srv.URL+"/kojihub", hub.Options{Retries: -1, Jobs: 1})
	pulltest.Must(t, err)
	o := pull.Options{Tags: []string{"f42-compose"}, Builds: []string{pulltest.NamedKernel}, Event: pulltest.LastEvent, Program: "test"}
	whole := func(s *dir.Store, builds ...string) int {
		t.Helper()
		o.Builds = builds
		g.set(-1, nil)
		_, snap := pulltest.PullWith(t, c, s, o)
		var ids []string
		for _, b := range snap.Manifest.Scope.Builds {
			ids = append(ids, fmt.Sprint(b.ID))
		}
		holdsRows(t, snap, expected(t, pulltest.LastEvent, o.Tags, ids...))
		return len(g.methods())
	}
	all := whole(pulltest.NewStore(t), pulltest.NamedKernel)
	for _, builds := range [][]string{{pulltest.NamedKernel}, {pulltest.NamedKernel, pulltest.NamedImage}, nil} {
		s := pulltest.NewStore(t)
		o.Builds = []string{pulltest.NamedKernel}
		g.set(all-4, func() bool { return true })
		if _, err := pull.Pull(t.Context(), c, s, o); err == nil {
			t.Fatal("it was not cut off")
		}
		if requests := whole(s, builds...); (requests < all/2) != (len(builds) == 1) {
			t.Errorf("%q: %d requests after a pull that was cut off, %d of a whole one", builds, requests, all)
		}
	}
}
