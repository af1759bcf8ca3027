package integration_test

import (
	"fmt"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
)

// TestProductionResets resets and deletes builds in production as Koji's hub does: a reset takes a build's
// taggings away without an event. However staging's snapshots follow each other, staging has the build as
// production has it, and its NVR is free there; what staging refers to stays.
func TestProductionResets(t *testing.T) {
	t.Parallel()
	const nvr = "coreutils-9.6-3.fc42"
	reset := func(tx *hubtest.Tx, id int64) error {
		of := hubtest.Values{"build_id": id}
		rpms, err := tx.Select("rpminfo", of)
		if err != nil {
			return err
		}
		for _, r := range rpms {
			for _, table := range []string{"rpm_checksum", "rpmsigs", "buildroot_listing", "archive_rpm_components"} {
				if _, err := tx.Delete(table, hubtest.Values{"rpm_id": r["id"]}); err != nil {
					return err
				}
			}
		}
		for _, table := range []string{"rpminfo", "build_types", "tag_listing"} {
			if _, err := tx.Delete(table, of); err != nil {
				return err
			}
		}
		_, err = tx.Update("build", hubtest.Values{"id": id}, hubtest.Values{"state": int64(4), "task_id": nil, "volume_id": int64(0)})
		return err
	}
	for _, c := range []struct {
		name    string
		change  func(tx *hubtest.Tx, id int64) error
		pulls   [][]string // the pulls until the load; between them nothing is loaded
		again   func(tx *hubtest.Tx, id int64) error
		refers  string // what staging did to refer to it
		load    []string
		state   string
		hasRPMs bool
	}{
		{name: "a sweep", change: reset, pulls: [][]string{{"--sweep", "1"}}, state: "4"},
		{name: "a full pull", change: reset, pulls: [][]string{{"--full"}}, state: "4"},
		{name: "a part of a sweep at a time", change: reset, pulls: [][]string{{"--sweep", "2"}, {"--sweep", "2"}, {"--sweep", "2"}}, state: "4"},
		{name: "pulls that are not loaded", change: reset, pulls: [][]string{{"--full"}, {"--full"}, {"--sweep", "1"}}, state: "4"},
		{name: "an audit", change: reset, pulls: [][]string{{"--full"}, {"--full"}}, load: []string{"--audit"}, state: "4"},
		{name: "made anew, and loaded later", change: reset, pulls: [][]string{{"--full"}, {"--full"}}, again: func(tx *hubtest.Tx, id int64) error {
			_, err := tx.Update("build", hubtest.Values{"id": id}, hubtest.Values{"state": int64(1), "create_event": int64(lastEvent - 1)})
			return err
		}, state: "4"}, // its old self is reset; of the new one no tag of the scope tells
		{name: "staging refers to its rpms", change: reset, pulls: [][]string{{"--full"}}, refers: `INSERT INTO buildroot (id, br_type) VALUES (990000100, 0);
			INSERT INTO buildroot_listing (buildroot_id, rpm_id) SELECT 990000100, id FROM rpminfo WHERE build_id = %d ORDER BY id LIMIT 1`, state: "4", hasRPMs: true},
		{name: "staging made it its own", change: reset, pulls: [][]string{{"--full"}}, refers: "UPDATE build SET state = 2 WHERE id = %d", state: "2", hasRPMs: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newMarkedEnv(t)
			config := w.config(t, "f42-compose")
			succeed(t, "pull", "-c", config)
			succeed(t, "load", "-c", config)
			id := one(t, w.dsn, "SELECT b.id FROM build b JOIN package p ON p.id = b.pkg_id WHERE p.name || '-' || b.version || '-' || b.release = '"+nvr+"'")
			var n int64
			fmt.Sscan(id, &n)
			if c.refers != "" {
				dbtest.Exec(t, w.dsn, fmt.Sprintf(c.refers, n))
			}
			must(t, w.prodRows.Change(func(tx *hubtest.Tx) error { return c.change(tx, n) }))
			for i, more := range c.pulls {
				if i == 1 && c.again != nil {
					must(t, w.prodRows.Change(func(tx *hubtest.Tx) error { return c.again(tx, n) }))
				}
				succeed(t, append([]string{"pull", "-c", config}, more...)...)
			}
			succeedOr3(t, append([]string{"load", "-c", config}, c.load...)...)
			for range 2 {
				got := one(t, w.dsn, fmt.Sprintf("SELECT state || ' ' || EXISTS (SELECT FROM rpminfo WHERE build_id = b.id) || ' ' || EXISTS (SELECT FROM tag_listing WHERE build_id = b.id AND active) FROM build b WHERE id = %d", n))
				if want := fmt.Sprintf("%s %t %t", c.state, c.hasRPMs, false); got != want {
					t.Errorf("state, rpms, tagged: %s, want %s", got, want)
				}
				succeed(t, "pull", "-c", config, "--full")
				succeedOr3(t, "load", "-c", config, "--audit")
			}
		})
	}
}

// succeedOr3 runs a command that may keep something back.
func succeedOr3(t *testing.T, args ...string) {
	t.Helper()
	if o := kojisnapRun(t, args...); o.code != 0 && o.code != 3 {
		t.Fatalf("%v: exit code %d: %s", args, o.code, o.stderr)
	}
}
