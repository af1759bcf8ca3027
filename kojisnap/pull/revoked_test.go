package pull_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/relation"
)

// TestPullRevokedWithoutBase: a pull without a base, because it reads everything or has another scope, still
// has what was revoked since the snapshots in the store: a database may hold one of them.
func TestPullRevokedWithoutBase(t *testing.T) {
	for name, o := range map[string]pull.Options{
		"everything":    {Tags: []string{"f42"}, Full: true},
		"another scope": {Tags: []string{"f42", "f43"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, rows := pulltest.Production(t, hubtest.Options{})
			s, e := pulltest.NewStore(t), edits{t, rows}
			pulltest.PullWith(t, c, s, pull.Options{Tags: []string{"f42"}, Event: pulltest.LastEvent, Program: "test"})
			e.event(pulltest.LastEvent+1, days+time.Second)
			untagged := e.find("tag_listing", hubtest.Values{"tag_id": e.tag("f42"), "active": true})[0]
			e.revoke("tag_listing", pulltest.LastEvent+1, untagged)
			e.event(pulltest.LastEvent+2, days+2*time.Second)
			o.Event, o.Program = pulltest.LastEvent+2, "test"
			_, snap := pulltest.PullWith(t, c, s, o)
			got, r := rowsOf(t, snap, "tag_listing", true), relation.Get("tag_listing")
			if len(got) != 1 {
				t.Fatalf("revoked: %q", got)
			}
			f := strings.Split(got[0], "\t")
			if f[r.Index("build_id")] != fmt.Sprint(untagged["build_id"]) || f[r.Index("revoke_event")] != fmt.Sprint(pulltest.LastEvent+1) || f[r.Index("revoker_id")] != "1" {
				t.Errorf("revoked: %q", got)
			}
		})
	}
}
