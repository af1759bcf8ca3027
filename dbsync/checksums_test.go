package dbsync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
)

// checksums are the rows of rpm_checksum, "RPM KEY SUM TYPE".
func (s *staging) checksums() []string {
	return s.dump(`SELECT concat_ws(' ', rpm_id, sigkey, checksum, checksum_type) FROM rpm_checksum`)
}

// TestChecksums: loads bring in what production's hub hashed, for signatures that staging has as production has them; a
// taken checksum holds back nothing; what a changed or removed signature left goes; staging's own rows stay; and a snapshot
// of a hub, which has none, changes nothing.
func TestChecksums(t *testing.T) {
	t.Parallel()
	const key = "41526f0e"
	w, s := newProduction(t), newStaging(t, admin)
	sum := func(rpm int, sigkey, checksum string, kind int) {
		w.add("rpm_checksum", "rpm_id", rpm, "sigkey", sigkey, "checksum", checksum, "checksum_type", kind)
	}
	holds := func(when string, want ...string) {
		t.Helper()
		slices.Sort(want)
		got := s.checksums()
		for i := range got {
			got[i] = strings.Trim(got[i], "()\"")
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	sum(1, key, "one", 2)
	sum(2, key, "two", 2)
	sum(2, key, "two-md5", 0)
	sum(2, "", "two-unsigned", 2)
	sum(999999, key, "of an rpm that the snapshot does not have", 2)
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	holds("first", "1 "+key+" one 2", "2 "+key+" two 2", "2 "+key+" two-md5 0", "2  two-unsigned 2")
	if i := slices.IndexFunc(rep.Relations, func(r book.RelationReport) bool { return r.Relation == "rpm_checksum" }); i < 0 || rep.Relations[i].Inserted != 4 {
		t.Errorf("report: %+v", rep.Relations)
	}

	// Staging signs and hashes on its own.
	s.exec(`INSERT INTO rpmsigs VALUES (20, 'cafecafe', 'own');
		INSERT INTO rpm_checksum VALUES (20, 'cafecafe', 'twenty', 2);
		INSERT INTO rpmsigs VALUES (3, 'feedbeef', 'own')`)
	sum(20, key, "twenty", 2) // the value is taken
	sum(20, key, "twenty-md5", 0)
	w.add("rpmsigs", "rpm_id", 3, "sigkey", "feedbeef", "sighash", "production's")
	sum(3, "feedbeef", "of another signature than staging's", 2)
	w.event()
	rep = s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if rep.Base == "" {
		t.Error("the second load compared all rows")
	}
	own := "20 cafecafe twenty 2"
	holds("second", "1 "+key+" one 2", "2 "+key+" two 2", "2 "+key+" two-md5 0", "2  two-unsigned 2", own, "20 "+key+" twenty-md5 0")

	// Production signs 1 again, and drops a signature of 2.
	w.find("rpmsigs", "rpm_id", 1, "sigkey", key)["sighash"] = str("again")
	w.drop("rpm_checksum", "rpm_id", 1)
	w.drop("rpmsigs", "rpm_id", 2, "sigkey", key)
	w.drop("rpm_checksum", "rpm_id", 2, "sigkey", key)
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	holds("signed again", "2  two-unsigned 2", own, "20 "+key+" twenty-md5 0")
	sum(1, key, "one-again", 2)
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	all := []string{"1 " + key + " one-again 2", "2  two-unsigned 2", own, "20 " + key + " twenty-md5 0"}
	holds("hashed again", all...)

	// Of the hub, then of the database again, each row compared.
	sums := w.rows["rpm_checksum"]
	w.rows["rpm_checksum"] = nil
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	holds("of the hub", all...)
	w.rows["rpm_checksum"] = sums
	s.exec("DELETE FROM rpm_checksum WHERE rpm_id = 1")
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{Audit: true})
	holds("audited", all...)

	// An rpm that production deleted goes with its checksums.
	for _, rel := range []string{"rpm_checksum", "rpmsigs", "archive_rpm_components"} {
		w.drop(rel, "rpm_id", 1)
	}
	w.drop("rpminfo", "id", 1)
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if n := s.one("SELECT count(*) FROM rpminfo WHERE id = 1"); n != "0" {
		t.Error("an rpm that production deleted is there")
	}
	holds("deleted", all[1:]...)
	rep = s.load(w.snapshot(shot{}), dbsync.LoadOptions{Audit: true})
	if rep.Changed() {
		t.Errorf("the same again: %+v", rep.Relations)
	}
}

// TestChecksumsRefused: a role without INSERT on rpm_checksum loads everything else, and the report says what to grant;
// a Koji without the table loads such a snapshot, too.
func TestChecksumsRefused(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	w.add("rpm_checksum", "rpm_id", 1, "sigkey", "41526f0e", "checksum", "one", "checksum_type", 2)
	snap := w.snapshot(shot{})
	s := newStaging(t, admin)
	role := s.role("checksums")
	s.exec(fmt.Sprintf("GRANT ALL ON ALL TABLES IN SCHEMA public, kojisnap TO %s; GRANT ALL ON ALL SEQUENCES IN SCHEMA public, kojisnap TO %[1]s; GRANT USAGE ON SCHEMA kojisnap TO %[1]s; REVOKE INSERT ON rpm_checksum FROM %[1]s", role))
	rep, err := dbsync.Load(t.Context(), s.as(role), snap, dbsync.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(rep.Notes, func(n string) bool {
		return strings.Contains(n, "rpm_checksum") && strings.Contains(n, "scripts/grants.sql")
	}) || s.one("SELECT count(*) FROM rpm_checksum") != "0" {
		t.Errorf("notes %q, checksums %q", rep.Notes, s.checksums())
	}
	old := stagingOn(t, dbtest.Release(t, 31), admin)
	old.load(snap, dbsync.LoadOptions{})
	if n := old.one("SELECT count(*) FROM rpmsigs"); n == "0" {
		t.Error("no signatures in a Koji of 1.31")
	}
}
