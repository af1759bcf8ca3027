package dbsync_test

import (
	"testing"

	"kojisnap/dbsync"
)

// admin is what an operator makes in a fresh Koji before kojisnap comes: a user with a
// principal and a grant, whose ids production uses too.
const admin = `
INSERT INTO users (name, password, status, usertype) VALUES ('stgadmin', 'secret', 0, 0), ('kojira', NULL, 0, 0);
INSERT INTO user_krb_principals VALUES (1, 'stgadmin@STG.EXAMPLE.COM');
INSERT INTO user_perms (user_id, perm_id, creator_id) VALUES (1, (SELECT id FROM permissions WHERE name = 'admin'), 1), (2, (SELECT id FROM permissions WHERE name = 'repo'), 1);
INSERT INTO tag (name) VALUES ('stg-sandbox');
INSERT INTO tag_config (tag_id, arches, creator_id) VALUES (1, 'x86_64', 1);
INSERT INTO sessions (user_id, hostip) VALUES (1, '127.0.0.1')`

func TestFirstLoad(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, admin)
	snap := w.snapshot(shot{})
	before := s.own()
	rep := s.load(snap, dbsync.LoadOptions{})
	s.check(w, shot{})
	same(t, before, s.own())
	if len(rep.Conflicts)+len(rep.LeftOut)+len(rep.Kept)+len(rep.Overwritten) > 0 || !rep.Changed() {
		t.Errorf("report: %+v", rep)
	}

	whole := s.whole()
	again := s.load(snap, dbsync.LoadOptions{})
	if again.Changed() || !again.Skipped {
		t.Errorf("the same snapshot again: %+v", again)
	}
	same(t, whole, s.whole())
	audit := s.load(snap, dbsync.LoadOptions{Audit: true})
	if audit.Changed() || audit.Skipped {
		t.Errorf("the same snapshot again, audited: %+v", audit)
	}
	delete(whole, "kojisnap.load")
	after := s.whole()
	delete(after, "kojisnap.load")
	same(t, whole, after)
}
