package dbsync_test

import (
	"slices"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/seedtest"
)

// TestTouchOnce: a load touches, once, the tags that show something else now.
func TestTouchOnce(t *testing.T) {
	t.Parallel()
	w, s, snap := newLoadedOf(t, shot{}, admin)
	marks := func() string {
		return s.one(`SELECT (SELECT count(*) FROM tag_updates WHERE updater_id = m.user_id) || ' ' ||
			(SELECT count(*) FROM tag_inheritance WHERE create_event = revoke_event AND tag_id = parent_id AND create_event >= m.floor) FROM kojisnap.mark m`)
	}
	for _, c := range []struct {
		name   string
		change func()
		opt    dbsync.LoadOptions
		want   []string
		with   bool // in the short form one load brings this and the next, of which nothing shows either
	}{
		{name: "the same once more", change: nil},
		{name: "all rows compared", change: nil, opt: dbsync.LoadOptions{Audit: true}},
		{name: "one tag of many", change: func() { w.tag(20, 3) }, want: []string{w.find("tag", "id", 3).get("name")}},
		{name: "the same after it", change: nil, opt: dbsync.LoadOptions{Audit: true}},
		{name: "a user's state", with: true, change: func() { w.find("users", "id", 3)["status"] = str(1) }},
		{name: "a build's owner", with: true, change: func() { w.find("build", "id", 20)["owner"] = str(2) }},
		{name: "when a build ended", with: true, change: func() { w.find("build", "id", 20)["completion_time"] = str("2026-11-21 01:02:03+00") }},
		{name: "tagged and untagged in between", with: true, change: func() { w.revoke(w.tag(9, 16)) }},
		{name: "a package's owner", with: true, change: func() {
			old := w.all("tag_package_owners", "active", "t")[0]
			next := row{}
			for k, v := range old {
				next[k] = v
			}
			next["create_event"], next["owner"] = str(w.revoke(old)), str(2)
			w.rows["tag_package_owners"] = append(w.rows["tag_package_owners"], next)
		}},
		{name: "what staging untagged", change: func() {
			s.exec(atEvent + gone("tag_listing", "build_id = 20 AND tag_id = 3"))
			w.revoke(w.find("tag_listing", "build_id", 20, "tag_id", 3, "active", "t"))
		}},
		{name: "a signature that staging removed", change: func() {
			w.add("rpmsigs", "rpm_id", 2, "sigkey", "deadbeef", "sighash", "aa")
			s.load(w.snapshot(shot{event: w.event()}), dbsync.LoadOptions{})
			s.exec("DELETE FROM rpmsigs WHERE rpm_id = 2 AND sigkey = 'deadbeef'")
			w.find("users", "id", 3)["status"] = str(0) // something changes
		}, opt: dbsync.LoadOptions{Audit: true}},
		{name: "a link", change: func() {
			w.find("tag", "id", 3) /* alone: not who inherits it */
			w.revoke(w.find("tag_inheritance", "tag_id", 2, "active", "t"))
		},
			want: []string{w.find("tag", "id", 2).get("name")}},
	} {
		if c.with && !seedtest.Long() {
			c.change()
			continue
		}
		if c.change != nil {
			c.change()
			w.event()
			snap = w.snapshot(shot{})
		}
		before := marks()
		rep := s.load(snap, c.opt)
		if !slices.Equal(rep.Touched, c.want) {
			t.Errorf("%s: touched %q, not %q", c.name, rep.Touched, c.want)
		}
		if same := marks() == before; same != (len(c.want) == 0) {
			t.Errorf("%s: marks were %s, and are %s", c.name, before, marks())
		}
		if c.change != nil && !rep.Changed() {
			t.Errorf("%s: nothing changed: the test tests nothing", c.name)
		}
	}
}
