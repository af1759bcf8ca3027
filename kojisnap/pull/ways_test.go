package pull_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
)

func pullBy(t *testing.T, h *hubtest.Server, o pager.Options) (*snapfile.Snapshot, map[string]int) {
	t.Helper()
	s := pulltest.NewStore(t)
	opt := pull.Options{Tags: pulltest.WayTags, Event: pulltest.LastEvent, Program: "test"}.WithPager(o)
	r, err := pull.Pull(t.Context(), pulltest.Client(t, h), s, opt)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := repository.Open(t.Context(), s, r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	return snap, h.Calls()
}

// TestPullWays pulls with each strategy and compares the segments by their digests.
func TestPullWays(t *testing.T) {
	_, rows := pulltest.Production(t, hubtest.Options{})
	hub := func() *hubtest.Server { return hubtest.New(rows, hubtest.Options{}) }
	want, calls := pullBy(t, hub(), pager.Options{Page: 17})
	perID := map[string]string{"build": "getBuild", "rpminfo": "listRPMs", "rpmsigs": "queryRPMSigs", "archiveinfo": "listArchives"}
	for relation, method := range perID {
		if calls[method] < 30 {
			t.Errorf("%s: %d calls of %s", relation, calls[method], method)
		}
	}
	all := map[string]string{}
	for name, method := range perID {
		all[name] = "table"
		t.Run(name, func(t *testing.T) {
			got, fewer := pullBy(t, hub(), pager.Options{Page: 17, Strategies: map[string]string{name: "table"}})
			if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) {
				t.Errorf("by pages: not the same as one by one")
			}
			if fewer[method] >= calls[method] {
				t.Errorf("%d calls of %s, one by one %d", fewer[method], method, calls[method])
			}
		})
	}
	got, _ := pullBy(t, hub(), pager.Options{Page: 17, Strategies: all})
	if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) {
		t.Errorf("all by pages: not the same as one by one")
	}
}

// TestPullWaysRowsMove deletes a row while a table is read by pages, so that later rows move up.
func TestPullWaysRowsMove(t *testing.T) {
	_, rows := pulltest.Production(t, hubtest.Options{})
	want, _ := pullBy(t, hubtest.New(rows, hubtest.Options{}), pager.Options{Page: 40})
	taken := 0
	h := hubtest.New(rows, hubtest.Options{Tamper: func(method string, body []byte) []byte {
		if method == "queryRPMSigs" && taken == 0 && strings.Contains(string(body), "<int>1</int>") {
			taken++ // the first page was made: delete a signature of a build outside the scope
			id := idOutside(t, want)
			if n, err := rows.Delete("rpmsigs", hubtest.Values{"rpm_id": id}); n == 0 || err != nil {
				t.Error(n, err)
			}
		}
		return body
	}})
	got, calls := pullBy(t, h, pager.Options{Page: 40, Strategies: map[string]string{"rpmsigs": "table"}})
	if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) || taken != 1 {
		t.Errorf("the rows differ, or none was taken away (%d)", taken)
	}
	if pages := 554/39 + 1; calls["queryRPMSigs"] <= pages {
		t.Errorf("%d pages: not read again", calls["queryRPMSigs"])
	}
}

// idOutside returns the first rpm with signatures that are not in the snapshot.
func idOutside(t *testing.T, snap *snapfile.Snapshot) int {
	t.Helper()
	in := map[string]bool{}
	for _, row := range pulltest.SnapshotRows(t, snap, "rpmsigs") {
		in[strings.Split(row, "\t")[0]] = true
	}
	for _, row := range readTSV(t, "rpmsigs") {
		if !in[row["rpm_id"]] {
			return int(number(row["rpm_id"]))
		}
	}
	t.Fatal("all rpms are in the scope")
	return 0
}

// TestPullWaysUnencodable reads a table page by page in which one row cannot be encoded. Reading row by row
// gives all others.
func TestPullWaysUnencodable(t *testing.T) {
	_, rows := pulltest.Production(t, hubtest.Options{})
	archive := readTSV(t, "archiveinfo")[0]
	if n, err := rows.Update("archiveinfo", hubtest.Values{"id": int(number(archive["id"]))}, hubtest.Values{"extra": `{"a": "` + `\u0001` + `"}`}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	h := func() *hubtest.Server { return hubtest.New(rows, hubtest.Options{}) }
	got, _ := pullBy(t, h(), pager.Options{Strategies: map[string]string{"archiveinfo": "table"}})
	want, _ := pullBy(t, h(), pager.Options{})
	if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) || len(got.Manifest.LeftOut) != 1 {
		t.Errorf("left out: %s", fmt.Sprint(got.Manifest.LeftOut))
	}
}
