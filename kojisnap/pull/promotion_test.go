package pull_test

import (
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/tagged"
)

// TestPullPromotion promotes a draft between the calls for its build and for its rpms, in either order.
func TestPullPromotion(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	var draft tsvRow
	for _, b := range readTSV(t, "build") {
		if b["draft"] == "t" && b["state"] == "1" {
			draft = b
		}
	}
	id := int(number(draft["id"]))
	var payload string // of one of its rpms; only the reply with the rpms has it
	for _, r := range readTSV(t, "rpminfo") {
		if r["build_id"] == draft["id"] {
			payload = r["payloadhash"]
		}
	}
	if payload == "" {
		t.Fatalf("draft build %d has no rpms", id)
	}
	const tag = 2 // f42
	if err := rows.Insert("tag_listing", hubtest.Values{"build_id": id, "tag_id": tag, "create_event": pulltest.LastEvent, "creator_id": 1, "active": true}); err != nil {
		t.Fatal(err)
	}
	promoted := false
	h := hubtest.New(rows, hubtest.Options{Tamper: func(method string, body []byte) []byte {
		if method == "multiCall" && !promoted && (strings.Contains(string(body), draft["release"]) || strings.Contains(string(body), payload)) {
			promoted = true // right after the reply with the build, or with its rpms, was made
			for table, set := range map[string]hubtest.Values{
				"build": {"draft": false, "release": strings.Split(draft["release"], ",")[0], "promoter": 1}, "rpminfo": {"draft": false},
			} {
				key := map[string]string{"build": "id", "rpminfo": "build_id"}[table]
				if n, err := rows.Update(table, hubtest.Values{key: id}, set); n == 0 || err != nil {
					t.Error(table, n, err)
				}
			}
		}
		return body
	}})
	snap := pulltest.Pull(t, pulltest.ClientWith(t, h, hub.Options{Retries: -1, Jobs: 1}), pulltest.NewStore(t), pulltest.LastEvent, "f42")
	seen := 0
	err = tagged.Each(t.Context(), snap, "build", func(r tagged.Row) {
		if r.Int("id") == int64(id) {
			seen++
			if r.Bool("draft") || strings.Contains(r.Text("release"), ",draft") {
				t.Errorf("the build is still a draft: %s", r.Text("release"))
			}
		}
	})
	if err != nil || seen != 1 || !promoted {
		t.Errorf("%d builds, promoted %v, %v", seen, promoted, err)
	}
	err = tagged.Each(t.Context(), snap, "rpminfo", func(r tagged.Row) {
		if r.Int("build_id") == int64(id) && r.Bool("draft") {
			t.Errorf("rpm %d is still a draft", r.Int("id"))
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestPullRepoArches: Koji 1.35.3 as released lacks arches in its history of external repos. The snapshot has
// them nevertheless.
func TestPullRepoArches(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	want := pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, "f42-build")
	released, _ := pulltest.Production(t, hubtest.Options{Released: true})
	got := pulltest.Pull(t, released, pulltest.NewStore(t), pulltest.LastEvent, "f42-build")
	a, b := pulltest.SnapshotRows(t, got, "tag_external_repos"), pulltest.SnapshotRows(t, want, "tag_external_repos")
	if !slices.Equal(a, b) || !strings.Contains(strings.Join(b, "\n"), "i686") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// TestPullBuildThatNoHubCanSend: a lone surrogate in a build makes the hub answer HTTP 500 for this build
// only. It is left out, with the hub's error as reason.
func TestPullBuildThatNoHubCanSend(t *testing.T) {
	c, rows := pulltest.Production(t, hubtest.Options{})
	if n, err := rows.Update("build", hubtest.Values{"id": 1}, hubtest.Values{"extra": `{"a": "x\ud800y"}`}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	snap := pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, "f42")
	if left := snap.Manifest.LeftOut; len(left) != 1 || left[0].Row != "build 1" || !left[0].Missing() || !strings.Contains(left[0].Reason, "500") {
		t.Errorf("left out: %+v", left)
	}
}
