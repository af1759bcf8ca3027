package kojisnap_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/relation"
)

// TestPullRevokedWithoutBase: a pull that goes on from no snapshot, as it reads everything or has
// another scope, still has what was revoked since the snapshots that the store has: a database may
// hold one of them.
func TestPullRevokedWithoutBase(t *testing.T) {
	for name, o := range map[string]kojisnap.PullOptions{
		"everything":    {Tags: []string{"f42"}, Full: true},
		"another scope": {Tags: []string{"f42", "f43"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, rows := production(t, hubtest.Options{})
			s, e := newStore(t), edits{t, rows}
			pullWith(t, c, s, kojisnap.PullOptions{Tags: []string{"f42"}, Event: lastEvent, Program: "test"})
			e.event(lastEvent+1, days+time.Second)
			untagged := e.find("tag_listing", hubtest.Values{"tag_id": e.tag("f42"), "active": true})[0]
			e.revoke("tag_listing", lastEvent+1, untagged)
			e.event(lastEvent+2, days+2*time.Second)
			o.Event, o.Program = lastEvent+2, "test"
			_, snap := pullWith(t, c, s, o)
			got, r := rowsOf(t, snap, "tag_listing", true), relation.Get("tag_listing")
			if len(got) != 1 {
				t.Fatalf("revoked: %q", got)
			}
			f := strings.Split(got[0], "\t")
			if f[r.Index("build_id")] != fmt.Sprint(untagged["build_id"]) || f[r.Index("revoke_event")] != fmt.Sprint(lastEvent+1) || f[r.Index("revoker_id")] != "1" {
				t.Errorf("revoked: %q", got)
			}
		})
	}
}
