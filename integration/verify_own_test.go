package integration_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/verify"
)

// verdict runs verify, or another command whose result has one, and returns its checks by status.
func verdict(t *testing.T, code int, args ...string) map[verify.Status][]verify.Check {
	t.Helper()
	o := kojisnapRun(t, append(args, "--json")...)
	if o.code != code || o.stderr != "" {
		t.Errorf("%v: exit code %d, want %d: %s", args, o.code, code, o.stderr)
	}
	var r struct {
		verify.Result
		Verify *verify.Result
	}
	must(t, json.Unmarshal([]byte(o.stdout), &r))
	if r.Verify == nil {
		r.Verify = &r.Result
	}
	by := map[verify.Status][]verify.Check{}
	for _, c := range r.Verify.Checks {
		by[c.Status] = append(by[c.Status], c)
	}
	return by
}

func has(checks []verify.Check, name, says string) bool {
	return slices.ContainsFunc(checks, func(c verify.Check) bool {
		return c.Name == name && strings.Contains(c.Detail+" "+strings.Join(c.Examples, "; "), says)
	})
}

// TestStagingsNames: whatever staging calls production's rows, and whatever it made first under their
// names, verify finds them, tells of them and goes on, at every run.
func TestStagingsNames(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	dbtest.Exec(t, w.dsn, `INSERT INTO tag (name) VALUES ('f42-compose'), ('f42-updates'), ('trashcan');
		INSERT INTO package (name) VALUES ('bash'), ('postgresql-stream');
		INSERT INTO external_repo (name) VALUES ('epel-10')`)
	w.init(t)
	c := w.config(t, "f42-compose")
	if by := verdict(t, 0, "sync", "-c", c); len(by[verify.StatusFailed]) > 0 {
		t.Errorf("after the first sync: %+v", by[verify.StatusFailed])
	}

	dbtest.Exec(t, w.dsn, `
		UPDATE tag SET name = 'our-compose' WHERE name = 'f42-compose';
		UPDATE tag SET name = 'parked' WHERE name = 'f42';
		UPDATE tag SET name = 'f42' WHERE name = 'f41';
		UPDATE tag SET name = 'f41' WHERE name = 'parked';
		UPDATE external_repo SET name = 'our "mirror"' WHERE name = 'epel-10';
		UPDATE build_target SET name = 'our-' || name;
		UPDATE users SET name = 'our-' || name WHERE name <> 'kojisnap';
		UPDATE channels SET name = 'our-' || name WHERE name <> 'createrepo';
		INSERT INTO events (id) VALUES (nextval('events_id_seq'));
		UPDATE tag_config SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = (SELECT id FROM users WHERE name = 'our-stgadmin')
			WHERE tag_id = (SELECT id FROM tag WHERE name = 'f42-extras') AND active;
		INSERT INTO tag (name) VALUES ('f42-compose')`)
	commands := [][]string{{"verify", "-c", c, "--against", w.prodURL}, {"sync", "-c", c}}
	if seedtest.Long() {
		commands = append(commands, []string{"verify", "-c", c}) // as the sync's
	}
	for _, args := range commands {
		by := verdict(t, 0, args...)
		if failed := by[verify.StatusFailed]; len(failed) > 0 {
			t.Errorf("%v: %+v", args, failed)
		}
		warnings := by[verify.StatusWarning]
		for name, says := range map[string]string{"tag": `renamed it to "our-compose"`, "names": `external repo epel-10 is "our \"mirror\"" in staging; tag f41 is "f42" in staging; tag f42 is "f41" in staging`} {
			if !has(warnings, name, says) {
				t.Errorf("%v: no warning %s %q in %+v", args, name, says, warnings)
			}
		}
	}
	if by := verdict(t, 3, "verify", "-c", c, "--db", ""); !has(by[verify.StatusFailed], "tag", "--db") {
		t.Errorf("without the database: %+v", by[verify.StatusFailed])
	}

	// Production goes on, and renames a tag as well.
	must(t, w.prodRows.Insert("events", hubtest.Values{"id": 420, "time": "2026-11-21 01:00:00+00"}))
	w.update(t, "tag", hubtest.Values{"name": "f42-addons"}, hubtest.Values{"name": "f42-more"})
	w.untagLatest(t, 420)
	if by := verdict(t, 0, "sync", "-c", c, "--event", "420"); len(by[verify.StatusFailed]) > 0 {
		t.Errorf("after production went on: %+v", by[verify.StatusFailed])
	}
	if seedtest.Long() {
		if by := verdict(t, 0, "sync", "-c", c, "--event", "420"); len(by[verify.StatusFailed]) > 0 {
			t.Errorf("another time: %+v", by[verify.StatusFailed])
		}
	}

	// A tag that staging deleted is there at the event.
	dbtest.Exec(t, w.dsn, `UPDATE tag_config SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = (SELECT id FROM users WHERE name = 'our-stgadmin')
		WHERE tag_id = (SELECT id FROM tag WHERE name = 'our-compose') AND active`)
	if by := verdict(t, 0, "verify", "-c", c); !has(by[verify.StatusWarning], "hidden", "staging has deleted the tag") {
		t.Errorf("with the tag deleted: %+v", by[verify.StatusWarning])
	}
}

// TestStagingsDecisions: what staging decided about an imported build is not held against it, from the
// moment on, and what is wrong with others is found all the same.
func TestStagingsDecisions(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose", "f42-candidate")
	verdict(t, 0, "sync", "-c", c)
	// As deleteBuild does.
	dbtest.Exec(t, w.dsn, `
		DELETE FROM rpmsigs WHERE rpm_id IN (SELECT id FROM rpminfo WHERE build_id = 8);
		INSERT INTO events (id) VALUES (nextval('events_id_seq'));
		UPDATE tag_listing SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = (SELECT id FROM users WHERE name = 'stgadmin') WHERE build_id = 8 AND active;
		UPDATE build SET state = 2 WHERE id = 8`)
	for _, args := range [][]string{{"verify", "-c", c}, {"sync", "-c", c}} {
		by := verdict(t, 0, args...)
		if !has(by[verify.StatusOK], "on record", "bash-5.3.0-2.fc42: staging deleted it") || len(by[verify.StatusFailed]) > 0 {
			t.Errorf("%v: on record: %+v\nfailed: %+v", args, by[verify.StatusOK], by[verify.StatusFailed])
		}
	}
	if seedtest.Long() {
		verdict(t, 0, "verify", "-c", c)
	}
	if by := verdict(t, 3, "verify", "-c", c, "--db", ""); len(by[verify.StatusFailed]) == 0 {
		t.Error("without the database nothing is known of what staging decided")
	}
	// As promoteBuild and resetBuild do. Their files are another matter.
	rows := []string{"verify", "-c", c, "--topdir", ""}
	dbtest.Exec(t, w.dsn, `
		UPDATE build SET draft = false, release = split_part(release, ',', 1), promotion_time = now(), promoter = (SELECT id FROM users WHERE name = 'stgadmin') WHERE id = 71;
		DELETE FROM rpmsigs WHERE rpm_id IN (SELECT id FROM rpminfo WHERE build_id = 11);
		DELETE FROM archive_rpm_components WHERE rpm_id IN (SELECT id FROM rpminfo WHERE build_id = 11);
		DELETE FROM rpminfo WHERE build_id = 11;
		DELETE FROM build_types WHERE build_id = 11;
		DELETE FROM tag_listing WHERE build_id = 11;
		UPDATE build SET state = 4, volume_id = 0, task_id = NULL WHERE id = 11`)
	for range 2 {
		by := verdict(t, 0, rows...)
		for _, says := range []string{"staging promoted it", "staging reset it"} {
			if !has(by[verify.StatusOK], "on record", says) {
				t.Errorf("no %q on record: %+v", says, by)
			}
		}
		succeed(t, "load", "-c", c)
	}
	// An edit is no excuse for what has nothing to do with it.
	dbtest.Exec(t, w.dsn, `UPDATE build SET owner = (SELECT id FROM users WHERE name = 'stgadmin') WHERE id = 10`)
	succeed(t, "load", "-c", c, "--audit")
	verdict(t, 0, rows...)
	dbtest.Exec(t, w.dsn, `UPDATE rpminfo SET size = size + 1 WHERE id = (SELECT min(id) FROM rpminfo WHERE build_id = 10)`)
	if by := verdict(t, 3, rows...); !has(by[verify.StatusFailed], "rpms", "coreutils") {
		t.Errorf("an rpm that was changed: %+v", by[verify.StatusFailed])
	}
}
