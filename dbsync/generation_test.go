package dbsync_test

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
)

// later are the columns that releases brought, with what stands for them in a row that an older
// production had.
var later = []struct {
	release          relation.Release
	relation, column string
	older            func(r row) *string
}{
	{24, "tag_external_repos", "arches", null},
	{26, "channels", "description", null},
	{26, "channels", "enabled", func(row) *string { return str("t") }},
	{26, "channels", "comment", null},
	{28, "permissions", "description", null},
	{30, "archivetypes", "compression_type", func(r row) *string {
		switch r.get("name") {
		case "jar", "zip":
			return str("zip")
		case "tar":
			return str("tar")
		}
		return nil
	}},
	{34, "build", "draft", func(row) *string { return str("f") }},
	{34, "build", "promotion_time", null},
	{34, "build", "promoter", null},
	{34, "rpminfo", "draft", func(r row) *string {
		if r["build_id"] == nil {
			return nil
		}
		return str("f")
	}},
}

func null(row) *string { return nil }

// clone copies all rows.
func (w *production) clone() *production {
	c := *w
	c.rows = map[string][]row{}
	for rel, rows := range w.rows {
		for _, r := range rows {
			c.rows[rel] = append(c.rows[rel], maps.Clone(r))
		}
	}
	return &c
}

// cut takes away the rows that a Koji 1.release cannot hold, and returns the keys of those that
// are in the last view.
func (w *production) cut(release relation.Release) (keys []string) {
	view := w.view(shot{event: w.last()})
	gone := map[string]func(row) bool{}
	if release < 34 {
		drafts, rpms := map[string]bool{}, map[string]bool{}
		for _, b := range w.all("build", "draft", "t") {
			drafts[b.get("id")] = true
		}
		for _, r := range w.all("rpminfo", "draft", "t") {
			rpms[r.get("id")] = true
		}
		gone["build"] = func(r row) bool { return drafts[r.get("id")] }
		gone["rpminfo"] = func(r row) bool { return rpms[r.get("id")] }
		gone["rpmsigs"] = func(r row) bool { return rpms[r.get("rpm_id")] }
		for _, rel := range []string{"tag_listing", "build_types"} {
			gone[rel] = func(r row) bool { return drafts[r.get("build_id")] }
		}
		gone["permissions"] = func(r row) bool { return r.get("name") == "draft-promoter" }
	}
	if release < 23 {
		gone["tag_extra"] = func(r row) bool { return r["value"] == nil }
	}
	for rel, is := range gone {
		w.rows[rel] = slices.DeleteFunc(w.rows[rel], is)
		for _, r := range view[rel] {
			if is(r) {
				key := rel
				for _, k := range relation.Get(rel).Key {
					if rel == "permissions" {
						k = "name" // the id stands for no row of staging's
					}
					key += " " + k + "=" + r.get(k)
				}
				keys = append(keys, key)
			}
		}
	}
	sort.Strings(keys)
	return keys
}

// as is the production as a hub of Koji 1.release gives it.
func (w *production) as(release relation.Release) *production {
	c := w.clone()
	c.version = fmt.Sprintf("1.%d.0", release)
	c.cut(release)
	for _, l := range later {
		if l.release > release {
			for _, r := range c.rows[l.relation] {
				r[l.column] = l.older(r)
			}
		}
	}
	return c
}

// TestLater: every column that the catalogue says came later is in the table above.
func TestLater(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, r := range relation.All() {
		for _, c := range r.Columns {
			if c.Since > 0 {
				want = append(want, fmt.Sprint(c.Since, r.Name, c.Name))
			}
		}
	}
	for _, l := range later {
		got = append(got, fmt.Sprint(l.release, l.relation, l.column))
	}
	sort.Strings(want)
	sort.Strings(got)
	diff(t, "later columns", want, got)
}

// TestGenerations loads the oldest production and one of today into databases of all ages, and
// productions of all ages into the oldest database and the newest, and into some between them.
func TestGenerations(t *testing.T) {
	t.Parallel()
	stagings, productions := []relation.Release{21, 37}, []relation.Release{21, 35}
	// Each age of production meets one of staging; TestUpgradedStaging has staging's other ages.
	between := map[relation.Release]relation.Release{23: 35, 26: 25, 28: 29, 32: 33, 34: 34} // by staging
	for staging := relation.Release(dbtest.OldestRelease); staging <= dbtest.NewestRelease; staging++ {
		for _, production := range []relation.Release{21, 25, 29, 33, 34, 35, 37} {
			end, ofEnds := slices.Contains(stagings, staging), slices.Contains(productions, production)
			if between[staging] == production || end && ofEnds || seedtest.Long() && (end || ofEnds) {
				t.Run(fmt.Sprintf("production=1.%d/staging=1.%d", production, staging), func(t *testing.T) {
					t.Parallel()
					generation(t, production, staging)
				})
			}
		}
	}
}

func generation(t *testing.T, production, release relation.Release) {
	w := newProduction(t).as(production)
	s := stagingOn(t, dbtest.Release(t, int(release)), admin)
	before := s.own()
	snap := w.snapshot(shot{})
	rep := s.load(snap, dbsync.LoadOptions{})
	holds := w.clone()
	out := holds.cut(release)
	s.checkView(holds.view(shot{event: w.last()}), release)
	same(t, before, s.own())
	if got := leftOut(rep); !slices.Equal(got, out) || len(rep.Conflicts)+len(rep.Kept)+len(rep.Overwritten)+len(rep.Notes) > 0 {
		t.Errorf("left out %q, want %q; report: %+v", got, out, rep)
	}
	whole := s.whole()
	again, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if again.Changed() || again.Skipped != (len(out) == 0) || !slices.Equal(leftOut(again), out) {
		t.Errorf("the same snapshot again: %+v", again)
	}
	after := s.whole()
	for _, table := range []string{"kojisnap.load", "kojisnap.left_out", "kojisnap.aside"} { // numbers of loads
		delete(whole, table)
		delete(after, table)
	}
	same(t, whole, after)
	// Something changes.
	w.tag(20, w.find("tag", "name", "f42-infra").int("id"))
	w.find("permissions", "name", "compose-lock")["name"] = str("compose-block")
	w.find("channels", "name", "heavy")["name"] = str("heaviest")
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	holds = w.clone()
	holds.cut(release)
	s.checkView(holds.view(shot{event: w.last()}), release)
	same(t, before, s.own())
}

func leftOut(rep *book.LoadReport) (keys []string) {
	for _, e := range rep.LeftOut {
		keys = append(keys, e.Relation+" "+e.Key)
	}
	sort.Strings(keys)
	return keys
}

// TestReleaseTold: init says which release's schema it found.
func TestReleaseTold(t *testing.T) {
	t.Parallel()
	dsn := dbtest.Release(t, dbtest.OldestRelease)
	conn := dbtest.Connect(t, dsn)
	for release := dbtest.OldestRelease; release <= dbtest.NewestRelease; release++ {
		if release > dbtest.OldestRelease { // package dbtest tests that this makes what the release makes
			dbtest.Exec(t, dsn, dbtest.Upgrade(release-1, release))
		}
		want := map[int]int{27: 26, 29: 28, 31: 30, 36: 35, 37: 35}[release] // no new column
		if want == 0 {
			want = release
		}
		rep, err := setup.Init(t.Context(), conn, setup.Options{Env: "stg", DryRun: true})
		if err != nil || rep.Release != fmt.Sprintf("1.%d", want) || strings.Contains(fmt.Sprint(rep.Notes), "new") {
			t.Errorf("1.%d: %+v, %v", release, rep, err)
		}
	}
}

// TestDraftsNames: a draft's rpms, which older tables cannot hold, do not take the place of those
// of the build that has these names, which is out of the scope by then.
func TestDraftsNames(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := stagingOn(t, dbtest.Release(t, 33))
	s.load(w.snapshot(shot{tags: []int64{2}}), dbsync.LoadOptions{})
	of := w.find("build", "id", 44)
	w.add("build", "id", 300, "volume_id", 0, "pkg_id", of.get("pkg_id"), "version", of.get("version"), "release", of.get("release")+",draft_300",
		"draft", "t", "create_event", w.event(), "completion_time", "2026-11-21 03:00:00+00", "state", 1, "owner", 1)
	for i, r := range w.all("rpminfo", "build_id", 44) {
		r = maps.Clone(r)
		r["id"], r["build_id"], r["draft"] = str(3000+i), str(300), str("t")
		w.rows["rpminfo"] = append(w.rows["rpminfo"], r)
	}
	w.tag(300, 19)
	rep := s.load(w.snapshot(shot{tags: []int64{19}}), dbsync.LoadOptions{})
	if got := s.one("SELECT string_agg(id::text, ' ' ORDER BY id) FROM rpminfo WHERE name LIKE 'libpq%' AND version = '16.8'"); got != "280 281 282" {
		t.Errorf("rpms of libpq: %s", got)
	}
	if got := fmt.Sprint(leftOut(rep)); got != "[build id=300 permissions name=draft-promoter rpminfo id=3000 rpminfo id=3001 rpminfo id=3002 tag_listing create_event=421 build_id=300 tag_id=19]" {
		t.Errorf("left out: %s", got)
	}
	// Tables that can hold them take them in.
	dbtest.Exec(t, s.dsn, dbtest.Upgrade(33, 34))
	s.load(w.snapshot(shot{tags: []int64{19}}), dbsync.LoadOptions{})
	if got := s.one("SELECT count(*) FROM rpminfo WHERE name LIKE 'libpq%' AND version = '16.8'"); got != "6" {
		t.Errorf("%s rpms of libpq after the upgrade", got)
	}
	if got := s.one("SELECT m.staging_id >= 990000000 AND NOT made FROM kojisnap.idmap m WHERE relation = 'permissions' AND prod_id = 15"); got != "true" {
		t.Errorf("the permission that the upgrade made is staging's: %s", got)
	}
}
