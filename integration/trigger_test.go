package integration_test

import (
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/seedtest"
)

// TestSwallowed: a trigger or rule of staging's own that lets rows vanish ends the load, with its name,
// and init names it. One that lets all rows through does no harm.
func TestSwallowed(t *testing.T) {
	t.Parallel()
	w := newPulledEnv(t)
	config := w.config(t, "f42-compose")
	first := true
	for _, c := range []struct {
		name, sql string
		says      string
		harmless  bool
	}{
		{name: "rpms", sql: "BEGIN IF TG_TABLE_NAME = 'rpminfo' AND (to_jsonb(NEW)->>'id')::integer % 7 = 0 THEN RETURN NULL; END IF; RETURN coalesce(NEW, OLD); END", says: "table rpminfo has not taken "},
		{name: "users", sql: "BEGIN IF TG_TABLE_NAME = 'users' AND (to_jsonb(NEW)->>'id')::integer < 900000000 THEN RETURN NULL; END IF; RETURN coalesce(NEW, OLD); END", says: "table users has not taken "},
		{name: "taggings", sql: "BEGIN IF TG_TABLE_NAME = 'tag_listing' THEN RETURN NULL; END IF; RETURN coalesce(NEW, OLD); END", says: "table tag_listing has not taken "},
		{name: "raises", sql: "BEGIN IF TG_TABLE_NAME = 'tag_listing' THEN RAISE 'not today'; END IF; RETURN coalesce(NEW, OLD); END", says: "a trigger or function of this database's own refused: tag_listing: ERROR: not today"},
		{name: "harmless", sql: "BEGIN RETURN coalesce(NEW, OLD); END", harmless: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			// All in one database: what is refused leaves nothing in it.
			dbtest.Exec(t, w.dsn, "CREATE OR REPLACE FUNCTION site() RETURNS trigger LANGUAGE plpgsql AS $$"+c.sql+"$$")
			if first {
				for _, table := range []string{"rpminfo", "users", "tag_listing", "build", "events", "tag_inheritance"} {
					dbtest.Exec(t, w.dsn, "CREATE TRIGGER site_"+table+" BEFORE INSERT OR UPDATE OR DELETE ON "+table+" FOR EACH ROW EXECUTE FUNCTION site()")
				}
			}
			times := 1
			if first || c.harmless || seedtest.Long() {
				times = 2
			}
			first = false
			for range times {
				o := kojisnapRun(t, "load", "-c", config, "--audit")
				if c.harmless && o.code != 0 || !c.harmless && (o.code != 1 || !strings.Contains(o.stderr, c.says)) {
					t.Errorf("exit code %d: %s", o.code, o.stderr)
				}
				if !c.harmless && c.name != "raises" && !strings.Contains(o.stderr, `"site_`) {
					t.Errorf("the trigger is not named: %s", o.stderr)
				}
			}
			if got := one(t, w.dsn, "SELECT count(*) FROM rpminfo"); (got != "0") != c.harmless {
				t.Errorf("there are %s rpms", got)
			}
		})
	}
	t.Run("a rule", func(t *testing.T) {
		w.addMarked(t)
		config := w.config(t, "f42-compose")
		dbtest.Exec(t, w.dsn, "CREATE RULE away AS ON INSERT TO rpminfo DO INSTEAD NOTHING")
		if o := kojisnapRun(t, "load", "-c", config); o.code != 1 || !strings.Contains(o.stderr, `"away" on rpminfo`) {
			t.Errorf("exit code %d: %s", o.code, o.stderr)
		}
	})
	t.Run("init", func(t *testing.T) {
		w.addDatabase(t)
		dbtest.Exec(t, w.dsn, `CREATE FUNCTION site() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
			CREATE TRIGGER later AFTER INSERT ON build FOR EACH STATEMENT EXECUTE FUNCTION site()`)
		if o := kojisnapRun(t, "init", "-c", w.config(t, "f42-compose")); o.code != 0 || !strings.Contains(o.stderr, `trigger "later" on table build`) {
			t.Errorf("exit code %d: %s", o.code, o.stderr)
		}
	})
}
