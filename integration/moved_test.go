package integration_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbtest"
)

// TestMoved: a staging database that was dumped and restored goes on as before, once someone has said that
// it was moved; what staging decided stays. A copy whose original is still there is refused.
func TestMoved(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	c := w.config(t, "f42-compose")
	dbtest.Exec(t, w.dsn, `UPDATE tag_listing SET active = NULL, revoke_event = get_event(), revoker_id = (SELECT id FROM users WHERE name = 'stgadmin')
		WHERE (tag_id, build_id) = (SELECT tag_id, build_id FROM tag_listing WHERE active ORDER BY 1, 2 LIMIT 1)`)
	u, err := url.Parse(w.dsn)
	must(t, err)
	name := strings.TrimPrefix(u.Path, "/")
	server, copied := *u, *u
	server.Path, copied.Path = "/postgres", "/"+name+"_copy"
	w.staging = nil
	dbtest.Exec(t, server.String(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'")
	dbtest.Exec(t, server.String(), "CREATE DATABASE "+name+"_copy TEMPLATE "+name)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		conn, err := pgx.Connect(ctx, server.String())
		must(t, err)
		defer conn.Close(ctx)
		_, _ = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+"_copy WITH (FORCE)")
	})
	id := "@" + one(t, server.String(), "SELECT system_identifier FROM pg_control_system()")
	refused := func(says string, args ...string) {
		t.Helper()
		if o := kojisnapRun(t, args...); o.code != 1 || !strings.Contains(o.stderr, says) {
			t.Errorf("%v: exit code %d: %s", args, o.code, o.stderr)
		}
	}
	refused("init --moved", "load", "-c", c, "--db", copied.String())
	refused(`the original is still there, as database "`+name+`"`, "init", "-c", c, "--db", copied.String(), "--moved", "--confirm", name+"_copy"+id)

	dbtest.Exec(t, server.String(), "DROP DATABASE "+name+" WITH (FORCE)")
	dbtest.Exec(t, server.String(), "ALTER DATABASE "+name+"_copy RENAME TO "+name)
	refused("init --moved", "load", "-c", c)
	refused("needs the confirmation "+name+id, "init", "-c", c, "--moved")
	refused("needs the confirmation "+name+id, "init", "-c", c, "--moved", "--confirm", name+"@1")
	refused(`was environment "stg", not "other"`, "init", "-c", c, "--env", "other", "--moved", "--confirm", name+id)
	if o := kojisnapRun(t, "init", "-c", c, "--moved", "--confirm", name+id, "--dry-run"); o.code != 3 {
		t.Errorf("dry run: exit code %d: %s", o.code, o.stderr)
	}
	refused("init --moved", "load", "-c", c)
	succeed(t, "init", "-c", c, "--moved", "--confirm", name+id)
	succeed(t, "init", "-c", c, "--moved", "--confirm", name+id) // it is done already
	succeed(t, "load", "-c", c)
	succeed(t, "load", "-c", c, "--audit")
	if got := one(t, w.dsn, "SELECT count(*) FROM kojisnap.run WHERE result = 'changed'"); got != "1" {
		t.Errorf("%s loads have changed something", got)
	}
	if got := one(t, w.dsn, "SELECT count(*) FROM tag_listing WHERE active IS NULL AND revoke_event >= 990000000"); got == "0" {
		t.Error("what staging decided is gone")
	}
}
