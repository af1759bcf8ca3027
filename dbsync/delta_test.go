package dbsync_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

// TestBase says when a load reads only what changed, and when it reads every row. What it comes
// to is the same, which staging.load's audit and check compare.
func TestBase(t *testing.T) {
	t.Parallel()
	overlay := parse(t, `block_users = ["nobody"]`)
	for _, test := range seedtest.Some([]struct {
		name   string
		change func(s *staging, w *production, first *snapfile.Snapshot) shot
		opt    dbsync.LoadOptions
		delta  bool
		notes  int
	}{
		{name: "a tagging", delta: true, change: func(s *staging, w *production, _ *snapfile.Snapshot) shot {
			w.revoke(w.find("tag_listing", "build_id", 9, "tag_id", 4, "active", "t"))
			return shot{}
		}},
		{name: "nothing", delta: true, change: func(s *staging, w *production, _ *snapfile.Snapshot) shot {
			w.event()
			return shot{}
		}},
		{name: "audit", opt: dbsync.LoadOptions{Audit: true}},
		{name: "another overlay", opt: dbsync.LoadOptions{Overlay: overlay}},
		{name: "fewer tags", delta: true, change: func(s *staging, w *production, _ *snapfile.Snapshot) shot {
			return shot{tags: []int64{2}}
		}},
		{name: "a tag that another snapshot brought", change: func(s *staging, w *production, _ *snapfile.Snapshot) shot {
			w.event()
			s.load(w.snapshot(shot{tags: []int64{2}}), dbsync.LoadOptions{})
			return shot{}
		}},
		{name: "a build comes back", change: func(s *staging, w *production, _ *snapfile.Snapshot) shot {
			for _, l := range w.all("tag_listing", "build_id", 9, "active", "t") {
				w.revoke(l)
			}
			tags := []int64{}
			for _, tag := range w.rows["tag"] {
				tags = append(tags, tag.int("id"))
			}
			s.load(w.snapshot(shot{tags: tags}), dbsync.LoadOptions{})
			rpm := w.all("rpminfo", "build_id", 9)[0]
			w.drop("rpmsigs", "rpm_id", rpm.int("id"))
			w.drop("rpminfo", "id", rpm.int("id"))
			w.tag(9, 4)
			return shot{tags: tags}
		}},
		{name: "a build is reset", change: func(s *staging, w *production, _ *snapfile.Snapshot) shot {
			for _, l := range w.all("tag_listing", "build_id", 9) {
				w.drop("tag_listing", "build_id", 9, "tag_id", l.int("tag_id"), "create_event", l.int("create_event"))
			}
			for _, rpm := range w.all("rpminfo", "build_id", 9) {
				w.drop("rpmsigs", "rpm_id", rpm.int("id"))
				w.drop("rpminfo", "id", rpm.int("id"))
			}
			b := w.find("build", "id", 9)
			b["state"], b["volume_id"], b["task_id"] = str(4), str(0), nil
			w.event()
			return shot{}
		}},
		{name: "the base was pruned", change: func(s *staging, w *production, first *snapfile.Snapshot) shot {
			delete(s.loaded, first.ID)
			w.event()
			return shot{}
		}},
		{name: "the base's manifest is damaged", notes: 1, change: func(s *staging, w *production, first *snapfile.Snapshot) shot {
			s.open = func(context.Context, string) (*snapfile.Snapshot, error) {
				return nil, fmt.Errorf("snapshot x: %w", &snapfile.DamagedError{Object: "x", Reason: "y"})
			}
			w.event()
			return shot{}
		}},
		{name: "the base's rows are damaged", change: func(s *staging, w *production, first *snapfile.Snapshot) shot {
			w.revoke(w.find("tag_listing", "build_id", 9, "tag_id", 4, "active", "t"))
			object := first.Relation("tag_listing").Segments[0].Object()
			w.store.objects[object] = w.store.objects[object][:100]
			return shot{}
		}},
		{name: "the base's rows are gone", change: func(s *staging, w *production, first *snapfile.Snapshot) shot {
			w.revoke(w.find("tag_listing", "build_id", 9, "tag_id", 4, "active", "t"))
			delete(w.store.objects, first.Relation("tag_listing").Segments[0].Object())
			return shot{}
		}},
		{name: "the hub could not give all", delta: true, change: func(s *staging, w *production, _ *snapfile.Snapshot) shot {
			w.event()
			return shot{none: []string{"win_archives"}}
		}},
		{name: "it could not give all before", change: func(s *staging, w *production, _ *snapfile.Snapshot) shot {
			w.event()
			s.load(w.snapshot(shot{none: []string{"win_archives"}}), dbsync.LoadOptions{})
			w.event()
			return shot{}
		}},
		{name: "it could not give one row before", delta: true, change: func(s *staging, w *production, _ *snapfile.Snapshot) shot {
			w.event()
			s.load(w.snapshot(shot{lost: []snapfile.LeftOut{{Relation: "build", Column: "id", ID: 9}}}), dbsync.LoadOptions{})
			w.event()
			return shot{}
		}},
		{name: "the tables were upgraded", change: func(s *staging, w *production, _ *snapfile.Snapshot) shot {
			s.exec("ALTER TABLE tag_external_repos DROP COLUMN arches")
			w.event()
			return shot{}
		}},
	}, 9) {
		t.Run(test.name, func(t *testing.T) {
			w, s, first := newLoadedOf(t, shot{})
			var sh shot
			if test.change != nil {
				sh = test.change(s, w, first)
			}
			rep := s.load(w.snapshot(sh), test.opt)
			if delta := rep.Base != ""; delta != test.delta {
				t.Errorf("only what changed since %q was read", rep.Base)
			}
			if test.notes > 0 && len(rep.Notes) != test.notes {
				t.Errorf("notes: %q", rep.Notes)
			}
		})
	}
}

// TestAside: rows that could not go in are not in what changed later, and go in all the same once
// staging gives way.
func TestAside(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	// Staging imports what production builds next, takes a tagging back, and edits a build.
	s.exec(`INSERT INTO build (id, pkg_id, version, release, owner, state, completion_time, volume_id) VALUES (990000100, 1, '9', '9', 990000000, 1, now(), 0)`)
	e := w.event()
	w.add("build", "id", 100, "volume_id", 0, "pkg_id", 1, "version", "9", "release", "9", "draft", "f", "create_event", e,
		"completion_time", "2026-11-21 01:00:00+00", "state", 1, "owner", 1)
	w.add("build_types", "build_id", 100, "btype_id", 1)
	w.add("rpminfo", "id", 1000, "build_id", 100, "name", "bash", "version", "9", "release", "9", "arch", "src",
		"draft", "f", "external_repo_id", 0, "payloadhash", "00", "size", 5, "buildtime", 3, "metadata_only", "f")
	w.add("rpmsigs", "rpm_id", 1000, "sigkey", "", "sighash", "aa")
	w.tag(100, 4)
	w.find("build", "id", 1)["epoch"] = str(9)
	s.exec(`UPDATE build SET owner = 990000000 WHERE id = 1`)
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if len(rep.Conflicts) != 1 || len(rep.LeftOut) < 4 || len(rep.Kept) != 1 || rep.Base == "" {
		t.Fatalf("report: %+v", rep)
	}
	entries := func(r *book.LoadReport) []string {
		var out []string
		for _, e := range slices.Concat(r.Conflicts, r.LeftOut, r.Kept) {
			out = append(out, e.Relation+" "+e.Key)
		}
		return out
	}
	w.event()
	again := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if again.Base == "" || !slices.Equal(entries(again), entries(rep)) {
		t.Errorf("one event later: base %q, %q, want %q", again.Base, entries(again), entries(rep))
	}
	s.exec(`DELETE FROM build WHERE id = 990000100; UPDATE build SET owner = 1 WHERE id = 1`)
	s.exec(`UPDATE build SET owner = ` + w.find("build", "id", 1).get("owner") + ` WHERE id = 1`)
	last := w.snapshot(shot{})
	rep = s.load(last, dbsync.LoadOptions{})
	if rep.Base == "" || len(entries(rep)) > 0 || counted(rep, "rpmsigs").Inserted != 1 || counted(rep, "build").Updated != 1 {
		t.Errorf("staging gave way: %+v", rep)
	}
	s.check(w, shot{})
	if rep := s.load(last, dbsync.LoadOptions{}); !rep.Skipped {
		t.Errorf("again: %+v", rep)
	}
	if ids := slices.Collect(maps.Keys(s.loaded)); len(ids) < 3 {
		t.Errorf("loaded %q", ids)
	}
}
