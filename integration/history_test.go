package integration_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/seedtest"
)

// pinnedCalls are what composes ask about a tag at an event.
func pinnedCalls(tags []string, event int) (calls []hub.Call) {
	add := func(method string, args []any, kwargs map[string]any) {
		k := map[string]any{"event": event}
		maps.Copy(k, kwargs)
		calls = append(calls, hub.Call{Method: method, Args: args, Kwargs: k})
	}
	for _, tag := range tags {
		of := []any{tag}
		for _, method := range []string{"getBuildConfig", "getFullInheritance", "getTagGroups", "getExternalRepoList"} {
			add(method, of, nil)
		}
		add("listPackages", nil, map[string]any{"tagID": tag, "inherited": true, "with_dups": true})
		add("listTagged", of, map[string]any{"inherit": true, "latest": true})
		add("listTagged", of, map[string]any{"inherit": true, "type": "module"})
		add("listTaggedRPMS", of, map[string]any{"inherit": true, "latest": true, "rpmsigs": true})
	}
	return append(calls, hub.Call{Method: "getEvent", Args: []any{event}})
}

// TestHistory pulls with --since, by its key too, and loads, at several events. Then staging answers as
// production at every event since, whatever it does itself; verify finds it so, and says where it is not.
func TestHistory(t *testing.T) {
	t.Parallel()
	const since = 200
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose", "f42-updates-testing")
	tags := []string{"f42-compose", "f42-updates-testing", "f42"}

	// Without it history begins with the first snapshot, but for builds that were tagged and untagged in between,
	// until event 349: only the snapshot of event 350 has them, which was not loaded. The content tag that came
	// after that one is as old as it.
	succeed(t, "pull", "-c", c, "--event", "300")
	succeed(t, "load", "-c", c)
	dbtest.Exec(t, w.dsn, `INSERT INTO events (time) VALUES (now());
		UPDATE tag_listing SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = 1 WHERE active AND build_id % 5 = 0;`)
	succeed(t, "pull", "-c", c, "--event", "350")
	succeed(t, "pull", "-c", c, "--event", "380") // of these one is loaded
	succeed(t, "load", "-c", c)
	if got := succeed(t, "status", "-c", c); !strings.Contains(got, "whole from event 350 on") {
		t.Errorf("status without --since:\n%s", got)
	}
	step := 12
	if seedtest.Long() {
		step = 4
	}
	for event := 349; event <= 380; event += step {
		calls := pinnedCalls(tags, event)
		compare(t, w, calls[:len(calls)-1], 1) // no row names the event
	}
	if o := kojisnapRun(t, "verify", "-c", c, "--hub", w.stagingURL, "--event", "250"); o.code != 1 || !strings.Contains(o.stderr, "--since 250") {
		t.Errorf("verify of an event without history: exit code %d, %s", o.code, o.stderr)
	}
	if o := kojisnapRun(t, "verify", "-c", c, "--hub", w.stagingURL, "--against", w.prodURL, "--db", w.dsn, "--event", "250"); o.code != 3 ||
		!strings.Contains(o.stdout, "only from event 349 on") {
		t.Errorf("verify of an event without history, against production: exit code %d, %s%s", o.code, o.stdout, o.stderr)
	}

	// With it, of earlier times too: those rows alone go in, and no tag is touched for them.
	touched := func() (n int) {
		must(t, dbtest.Connect(t, w.dsn).QueryRow(t.Context(), "SELECT count(*) FROM tag_updates").Scan(&n))
		return n
	}
	before := touched()
	succeed(t, "pull", "-c", c, "--event", "380", "--since", fmt.Sprint(since))
	succeed(t, "load", "-c", c)
	if n := touched(); n != before {
		t.Errorf("%d tags are touched for what was revoked before the first load", n-before)
	}
	// Staging removes a build that history has, and production goes on.
	dbtest.Exec(t, w.dsn, `INSERT INTO events (time) VALUES (now());
		UPDATE tag_listing SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = 1 WHERE active AND build_id % 7 = 0;
		UPDATE tag_inheritance SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = 1 WHERE active AND create_event < 990000000 AND tag_id % 2 = 0`)
	succeed(t, "pull", "-c", c, "--event", "400", "--since", fmt.Sprint(since))
	succeed(t, "pull", "-c", c, "--event", fmt.Sprint(lastEvent), "--since", fmt.Sprint(since))
	succeed(t, "load", "-c", c)
	if got := succeed(t, "status", "-c", c, "-v"); !strings.Contains(got, fmt.Sprintf("whole from event %d on", since)) || strings.Contains(got, "none before the event") {
		t.Errorf("status with --since:\n%s", got)
	}
	for event := since; event <= lastEvent; event++ {
		if event%(step*3/2) == 0 || event == since || event > lastEvent-3 {
			compare(t, w, pinnedCalls(tags, event), 1)
		}
	}
	for _, more := range [][]string{nil, {"--against", w.prodURL}} {
		o := kojisnapRun(t, slices.Concat([]string{"verify", "-c", c, "--hub", w.stagingURL, "--db", w.dsn, "--event", "321", "-v"}, more)...)
		if strings.Contains(o.stdout, "failed ") || !strings.Contains(o.stdout, "ok       rpms") {
			t.Errorf("verify --event 321 %v: exit code %d\n%s%s", more, o.code, o.stdout, o.stderr)
		}
	}
	// A row that is not as it was is found.
	dbtest.Exec(t, w.dsn, `UPDATE tag_listing SET revoke_event = 300 WHERE revoke_event > 321 AND revoke_event < 990000000`)
	if o := kojisnapRun(t, "verify", "-c", c, "--hub", w.stagingURL, "--event", "321"); o.code != 3 {
		t.Errorf("verify of an event that staging answers otherwise: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if o := kojisnapRun(t, "verify", "-c", c, "--hub", w.stagingURL, "--event", "500"); o.code != 1 || !strings.Contains(o.stderr, "the snapshot") {
		t.Errorf("verify of an event to come: exit code %d, %s", o.code, o.stderr)
	}
	for _, bad := range []string{"0", "yesterday", "2026-13-01", "2026-11-01T12:00:00", "99999999999"} {
		if o := kojisnapRun(t, "pull", "-c", c, "--since", bad); o.code != 2 || !strings.Contains(o.stderr, "--since") {
			t.Errorf("--since %s: exit code %d, %s", bad, o.code, o.stderr)
		}
	}
	if o := kojisnapRun(t, "pull", "-c", c, "--event", "300", "--since", "310"); o.code != 1 || !strings.Contains(o.stderr, "later than event 300") {
		t.Errorf("--since after the event: exit code %d, %s", o.code, o.stderr)
	}
	// The earlier name.
	id := strings.TrimSpace(succeed(t, "pull", "-c", c, "--event", "300", "--full", "--revoked-since", "250"))
	if got := succeed(t, "show", "-c", c, id); !strings.Contains(got, "history from event 250 on") {
		t.Errorf("pull --full --revoked-since 250:\n%s", got)
	}
}
