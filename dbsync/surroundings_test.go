package dbsync_test

import (
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/seedtest"
)

// TestSurroundings: what a database administrator may have done around Koji's tables.
func TestSurroundings(t *testing.T) {
	t.Parallel()
	identity := ""
	for _, table := range []string{"events", "users", "build", "rpminfo", "tag"} {
		identity += "ALTER TABLE " + table + " ALTER id DROP DEFAULT; DROP SEQUENCE " + table + "_id_seq; ALTER TABLE " + table + " ALTER id ADD GENERATED ALWAYS AS IDENTITY;"
	}
	cases := map[string]struct {
		before, after string // init
		unsign        bool   // after that production removes a signature
		refused       string
	}{
		"ids that are always generated":         {before: identity},
		"a publication of all tables":           {after: "CREATE PUBLICATION everything FOR ALL TABLES", unsign: true, refused: "rpmsigs"},
		"row level security that hides rows":    {after: "ALTER TABLE build ENABLE ROW LEVEL SECURITY; ALTER TABLE build FORCE ROW LEVEL SECURITY; CREATE ROLE secured; GRANT ALL ON ALL TABLES IN SCHEMA public, kojisnap TO secured; GRANT USAGE ON SCHEMA kojisnap TO secured; GRANT ALL ON ALL SEQUENCES IN SCHEMA public, kojisnap TO secured; SET ROLE secured", refused: "row level security hides rows of build"},
		"row level security that hides nothing": {after: "ALTER TABLE build ENABLE ROW LEVEL SECURITY"},
	}
	if !seedtest.Long() { // all that is no hindrance to the first two loads, together
		c := cases["a publication of all tables"]
		c.before, c.after = identity, c.after+";"+cases["row level security that hides nothing"].after
		cases["a publication of all tables"] = c
		delete(cases, "ids that are always generated")
		delete(cases, "row level security that hides nothing")
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newProduction(t)
			s := newStaging(t, c.before+admin)
			if c.after != "" {
				s.exec(c.after)
			}
			load := func() error {
				_, err := dbsync.Load(t.Context(), s.conn, w.snapshot(shot{}), dbsync.LoadOptions{Base: s.base})
				return err
			}
			err := load()
			if err == nil {
				w.tag(20, 3)
				err = load()
			}
			if err == nil && c.unsign {
				s.check(w, shot{})
				w.event()
				w.drop("rpmsigs", "rpm_id", w.all("rpmsigs")[0].get("rpm_id"))
				err = load()
			}
			if strings.Contains(name, "hides rows") {
				s.exec("RESET ROLE; DROP OWNED BY secured; DROP ROLE secured")
			}
			switch {
			case c.refused == "" && err != nil:
				t.Error(err)
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused) || strings.Contains(err.Error(), "\n")):
				t.Errorf("%v; it does not say %q", err, c.refused)
			case err != nil:
				t.Log(err)
			default:
				s.check(w, shot{})
			}
		})
	}
}
