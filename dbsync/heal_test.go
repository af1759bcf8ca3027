package dbsync_test

import (
	"fmt"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/snapfile"
)

// TestHeals: a database that an earlier kojisnap loaded, in which staging's changes had kept
// production's out, answers as production does after its next load, at the events that it held
// before no worse than before.
func TestHeals(t *testing.T) {
	t.Parallel()
	w, s, first := newLoadedOf(t, shot{}, admin)
	before := w.last()
	// Staging untagged a build and edited a tag, as did production, and tagged one as production did.
	s.exec(atEvent + gone("tag_listing", "build_id = 1 AND tag_id = 2") + gone("tag_listing", "build_id = 2 AND tag_id = 2") +
		gone("tag_config", "tag_id = 2") + made("tag_config", "tag_id, arches", "2, 's390x'") + made("tag_listing", "build_id, tag_id", "20, 3"))
	ends("tag_listing", "build_id", 1, "tag_id", 2)(w)
	again("tag_listing", "build_id", 2, "tag_id", 2)(w)
	ends("tag_listing", "build_id", 3, "tag_id", 2)(w)
	again("tag_config", "tag_id", 2)(w)
	w.tag(20, 3)
	second := w.snapshot(shot{})
	held := w.last()
	s.load(second, dbsync.LoadOptions{})
	own := s.own()

	// What the earlier one made of it: staging's revocations stayed, and no row of production's had
	// gone in where staging had one. It knew of no revocation but those of the last snapshot.
	s.exec(fmt.Sprintf(`
		UPDATE tag_listing t SET revoke_event = d.event, revoker_id = d.user_id FROM kojisnap.decided d
			WHERE d.relation = 'tag_listing' AND d.subject = ARRAY[t.build_id::text, t.tag_id::text] AND t.create_event <= %[1]d;
		DELETE FROM tag_listing WHERE create_event > %[1]d AND create_event < %[2]d;
		UPDATE tag_config SET revoke_event = (SELECT max(create_event) FROM tag_config WHERE tag_id = 2), revoker_id = 990000000 WHERE tag_id = 2 AND create_event <= %[1]d;
		DELETE FROM tag_config WHERE create_event > %[1]d AND create_event < %[2]d;
		UPDATE tag_listing SET revoke_event = %[3]d, revoker_id = (SELECT user_id FROM kojisnap.mark) WHERE build_id = 3 AND tag_id = 2 AND create_event <= %[1]d;
		INSERT INTO tag_listing (build_id, tag_id, create_event, revoke_event, creator_id, revoker_id, active)
			SELECT 1, tag_id, create_event, revoke_event, creator_id, revoker_id, NULL FROM tag_inheritance WHERE tag_id = parent_id;
		DELETE FROM tag_inheritance WHERE tag_id = parent_id;
		DROP TABLE kojisnap.decided, kojisnap.hidden, kojisnap.sync, kojisnap.import, kojisnap.import_table, kojisnap.import_object;
		ALTER TABLE kojisnap.left_out DROP bad;
		ALTER TABLE kojisnap.tag DROP history;
		UPDATE kojisnap.mark SET format = 4;
		UPDATE kojisnap.load SET columns = 'of an earlier kojisnap'`, before, book.DefaultFloor, held))

	w.event()
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{Between: between([]*snapfile.Snapshot{first, second})})
	if rep.Mode != "full" || len(rep.Conflicts) > 0 {
		t.Errorf("mode %q, conflicts %+v", rep.Mode, rep.Conflicts)
	}
	same(t, own, s.own())
	s.checkAt(w, "healed", before, held, w.last())
	for what, now := range map[string]string{
		"both untagged":                 rows("tag_listing", "build_id = 1 AND tag_id = 2 AND active", 0),
		"production tagged again":       rows("tag_listing", "build_id = 2 AND tag_id = 2 AND active", 0),
		"both edited":                   rows("tag_config", "tag_id = 2 AND active AND arches = 's390x'", 1),
		"both tagged":                   rows("tag_listing", "build_id = 20 AND tag_id = 3 AND active AND create_event >= 990000000", 1),
		"a revocation that was guessed": rows("tag_listing", "build_id = 3 AND tag_id = 2 AND revoker_id = 1", 1),
	} {
		if s.one("SELECT "+now) != "true" {
			t.Errorf("%s: it is not so that %s", what, now)
		}
	}
	// Touches of the earlier one, and this load's own, mislead nobody who reads the history of taggings.
	touch := "create_event = revoke_event AND create_event >= 990000000 AND creator_id = (SELECT user_id FROM kojisnap.mark)"
	if s.one("SELECT "+rows("tag_listing", touch, 0)+" AND (SELECT count(DISTINCT create_event) FROM tag_inheritance WHERE tag_id = parent_id AND "+touch+") >= 2") != "true" {
		t.Error("touches are not where they should be")
	}
	w.event()
	if rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{Base: s.base}); rep.Mode != "delta" || len(rep.Touched) > 0 {
		t.Errorf("the load after: %+v", rep)
	}
}
