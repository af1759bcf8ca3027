package dbsync_test

import (
	"fmt"
	"slices"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/snapfile"
)

// histories are the events from which on the history of tags is whole, by tag.
func (s *staging) histories(tags ...int64) (out []int64) {
	s.t.Helper()
	st := s.status()
	for _, id := range tags {
		i := slices.IndexFunc(st.Tags, func(t status.TagStatus) bool { return t.ID == id })
		if i < 0 {
			s.t.Fatalf("no tag %d", id)
		}
		out = append(out, st.Tags[i].History)
	}
	return out
}

// every are the events from the first to the last, step apart.
func every(step, first, last int64) (events []int64) {
	for e := first; e <= last; e += step {
		events = append(events, e)
	}
	return events
}

// TestHistoryOnRecord follows from which event on history is whole over a chain of loads: the earliest
// that joins on stays, what a load brings of earlier times goes in at the same event as well, and where
// revocations were skipped it begins anew.
func TestHistoryOnRecord(t *testing.T) {
	t.Parallel()
	w, s, snap := newLoadedOf(t, shot{}, admin)
	first := w.last()
	taken := []*snapfile.Snapshot{snap}
	load := func(what string, snap *snapfile.Snapshot, want int64) *book.LoadReport {
		t.Helper()
		taken = append(taken, snap)
		rep := s.load(snap, dbsync.LoadOptions{Between: between(taken)})
		if got := s.status().History; got != want {
			t.Errorf("%s: history is whole from event %d on, not %d", what, got, want)
		}
		s.checkAt(w, what, every(1, max(want, w.last()-4), w.last())...)
		return rep
	}
	if got := s.status().History; got != first {
		t.Errorf("first: history is whole from event %d on, not %d", got, first)
	}
	s.checkAt(w, "first", first)

	// Of earlier times, at the same event: nothing that any tag shows now.
	const before = 250
	rep := load("history of before", w.snapshot(shot{since: before}), before)
	s.checkAt(w, "history of before", every(9, before, first)...)
	if in, _, _ := rep.Totals(); in == 0 || rep.Mode != "delta" {
		t.Errorf("mode %s, %d rows inserted", rep.Mode, in)
	}
	if len(rep.Touched) > 0 {
		t.Errorf("touched %q, although nothing of them changed", rep.Touched)
	}

	// One with what was revoked since the last joins on.
	w.revoke(w.find("tag_listing", "build_id", 9, "tag_id", 4, "active", "t"))
	load("a later one", w.snapshot(shot{since: first}), before)

	// So do two snapshots if the first was not loaded.
	w.tag(9, 4)
	w.revoke(w.find("tag_listing", "build_id", 9, "tag_id", 4, "active", "t"))
	at := w.last()
	taken = append(taken, w.snapshot(shot{since: first + 1}))
	w.tag(20, 3)
	w.event()
	load("one in between was not loaded", w.snapshot(shot{since: at}), before)

	// A row that was revoked and that no snapshot tells of any more.
	w.revoke(w.find("tag_listing", "build_id", 20, "tag_id", 3, "active", "t"))
	w.event()
	at = w.event()
	w.event()
	load("a gap", w.snapshot(shot{since: at}), w.last()) // until then the row is there

	// It is put right.
	w.event()
	load("no more", w.snapshot(shot{since: 200}), 200)
	s.checkAt(w, "no more", every(13, 200, w.last())...)
	if rep := load("again", w.snapshot(shot{since: 200}), 200); rep.Changed() {
		t.Errorf("the same again changed %+v", rep.Relations)
	}
}

// TestHistoryOfTags: what a tag inherits counts, while it does.
func TestHistoryOfTags(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, admin)
	link := w.add("tag_inheritance", "tag_id", 2, "parent_id", 16, "priority", 77, "create_event", w.event(), "creator_id", 1, "active", "t",
		"intransitive", "f", "noconfig", "f", "pkg_filter", "")
	linked := w.last()
	unlinked := w.revoke(link)
	w.event()
	// Neither tag is asked for with the history of the other.
	snap := w.snapshot(shot{since: 400, tags: w.inheritedBy(2)})
	if slices.Contains(w.inheritedBy(2), 16) {
		t.Fatal("tag 2 inherits tag 16 by another link")
	}
	s.load(snap, dbsync.LoadOptions{})
	if got := s.histories(2)[0]; got != unlinked {
		t.Errorf("tag 2 inherited tag 16, which is not there, from event %d to %d: its history is whole from %d on", linked, unlinked, got)
	}
}

// inheritedBy are a tag and all that it inherits now.
func (w *production) inheritedBy(tag int64) (all []int64) {
	all = []int64{tag}
	for i := 0; i < len(all); i++ {
		for _, l := range w.all("tag_inheritance", "tag_id", fmt.Sprint(all[i]), "active", "t") {
			if id := l.int("parent_id"); !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// TestHistoryKeptBack: history of a build whose name staging has waits until the build can go in, like the
// view.
func TestHistoryKeptBack(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	e := w.event()
	w.add("build", "id", 100, "volume_id", 0, "pkg_id", 1, "version", "5.3", "release", "9", "draft", "f", "create_event", e,
		"completion_time", "2026-11-21 01:00:00+00", "state", 1, "owner", 1)
	tagged := w.tag(100, 4)
	was := w.last()
	w.revoke(tagged)
	s.exec(`INSERT INTO build (id, pkg_id, version, release, state, owner, volume_id, completion_time) VALUES (990000500, 1, '5.3', '9', 1, 990000000, 0, now())`)
	count := func() string {
		return s.one("SELECT count(*) FROM tag_listing WHERE build_id = 100 AND create_event = $1", was)
	}
	s.load(w.snapshot(shot{since: 420}), dbsync.LoadOptions{})
	if count() != "0" || s.status().History > 420 {
		t.Errorf("%s rows of a build that is left out; history from event %d on", count(), s.status().History)
	}
	s.exec(`DELETE FROM build WHERE id = 990000500`)
	w.event()
	if rep := s.load(w.snapshot(shot{since: 420}), dbsync.LoadOptions{}); rep.Mode != "delta" || count() != "1" {
		t.Errorf("mode %s, %s rows of a build that is there now", rep.Mode, count())
	}
	s.checkAt(w, "at last", was)
}

// TestHistoryOfResetBuild: when staging resets a build of production's Koji deletes all its taggings. At
// production's events it has them all the same, after the next load.
func TestHistoryOfResetBuild(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, admin)
	w.revoke(w.find("tag_listing", "build_id", 20, "active", "t"))
	was := w.last() - 1
	s.load(w.snapshot(shot{since: 300}), dbsync.LoadOptions{})
	s.checkAt(w, "before", was)
	w.find("build", "id", 20)["state"] = str(2) // as koji-gc does then
	w.event()
	s.load(w.snapshot(shot{since: 300}), dbsync.LoadOptions{})
	for _, change := range []string{"", atEvent + "UPDATE build SET create_event = (SELECT max(id) FROM events), state = 0, completion_time = NULL WHERE id = 20"} {
		s.exec("DELETE FROM tag_listing WHERE build_id = 20; UPDATE build SET state = 4, volume_id = 0 WHERE id = 20;" + change)
		w.event()
		if rep := s.load(w.snapshot(shot{since: 300}), dbsync.LoadOptions{}); rep.Mode != "delta" {
			t.Errorf("mode %s", rep.Mode)
		}
		s.checkAt(w, "after", was)
	}
}
