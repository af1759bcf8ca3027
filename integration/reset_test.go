package integration_test

import (
	"fmt"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/seedtest"
)

// TestProductionResets resets and deletes builds in production as Koji's hub does: a reset takes a build's
// taggings away without an event. However staging's snapshots follow each other, staging has the build as
// production has it, and its NVR is free there; what staging refers to stays.
func TestProductionResets(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		pulls [][]string // the pulls until the load; between them nothing is loaded
		again func(tx *hubtest.Tx, id int64) error
		load  []string
		own   bool // with builds that staging refers to
	}{
		{name: "a sweep", pulls: [][]string{{"--sweep", "1"}}},
		{name: "a full pull", pulls: [][]string{{"--full"}}, own: true},
		{name: "a part of a sweep at a time", pulls: [][]string{{"--sweep", "2"}, {"--sweep", "2"}, {"--sweep", "2"}}},
		{name: "an audit", pulls: [][]string{{"--full"}, {"--full"}}, load: []string{"--audit"}},
		{name: "made anew, and loaded later", pulls: [][]string{{"--full"}, {"--full"}}, again: func(tx *hubtest.Tx, id int64) error {
			_, err := tx.Update("build", hubtest.Values{"id": id}, hubtest.Values{"state": int64(1), "create_event": int64(lastEvent - 1)})
			return err
		}}, // its old self is reset; of the new one no tag of the scope tells
		{name: "pulls that are not loaded", pulls: [][]string{{"--full"}, {"--full"}, {"--sweep", "1"}}},
	}
	rounds := 2
	if !seedtest.Long() {
		// The two before it load a reset that an earlier pull told of, too.
		cases, rounds = cases[:len(cases)-1], 1
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newLoadedEnv(t)
			config := w.config(t, "f42-compose")
			builds := []resetBuild{{id: w.buildID(t, "coreutils/9.6/3.fc42").(int64), want: "4 false false"}}
			if c.own {
				builds = append(builds,
					resetBuild{id: w.buildID(t, "curl/8.11.1/4.fc42").(int64), want: "4 true false", deed: `INSERT INTO buildroot (id, br_type) VALUES (990000100, 0);
						INSERT INTO buildroot_listing (buildroot_id, rpm_id) SELECT 990000100, id FROM rpminfo WHERE build_id = %d ORDER BY id LIMIT 1`},
					resetBuild{id: w.buildID(t, "bash/5.3.0/2.fc42").(int64), want: "2 true false", deed: "UPDATE build SET state = 2 WHERE id = %d"})
			}
			for _, b := range builds {
				if b.deed != "" {
					dbtest.Exec(t, w.dsn, fmt.Sprintf(b.deed, b.id))
				}
				must(t, w.prodRows.Change(func(tx *hubtest.Tx) error { return generate.ResetBuild(tx, b.id) }))
			}
			for i, more := range c.pulls {
				if i == 1 && c.again != nil {
					must(t, w.prodRows.Change(func(tx *hubtest.Tx) error { return c.again(tx, builds[0].id) }))
				}
				succeed(t, append([]string{"pull", "-c", config}, more...)...)
			}
			check := func(when string) {
				t.Helper()
				for _, b := range builds {
					got := one(t, w.dsn, fmt.Sprintf("SELECT state || ' ' || EXISTS (SELECT FROM rpminfo WHERE build_id = b.id) || ' ' || EXISTS (SELECT FROM tag_listing WHERE build_id = b.id AND active) FROM build b WHERE id = %d", b.id))
					if got != b.want {
						t.Errorf("%s: build %d: state, rpms, tagged: %s, want %s", when, b.id, got, b.want)
					}
				}
			}
			succeedOr3(t, append([]string{"load", "-c", config}, c.load...)...)
			check("after the load")
			if !c.own && c.again == nil && !seedtest.Long() {
				return // the others stand for all ways here
			}
			for range rounds {
				succeed(t, "pull", "-c", config, "--full")
				succeedOr3(t, "load", "-c", config, "--audit")
				check("after an audit")
			}
		})
	}
}

// resetBuild is a build that production resets.
type resetBuild struct {
	id   int64
	deed string // what staging did to refer to it
	want string // its state in staging, and whether it has rpms and is tagged
}

// succeedOr3 runs a command that may keep something back.
func succeedOr3(t *testing.T, args ...string) {
	t.Helper()
	if o := kojisnapRun(t, args...); o.code != 0 && o.code != 3 {
		t.Fatalf("%v: exit code %d: %s", args, o.code, o.stderr)
	}
}
