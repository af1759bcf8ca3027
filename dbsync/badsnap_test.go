package dbsync_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapfile/forgetest"
)

// rewritten gives a snapshot in which one relation's lines are others, as no writer of ours would
// write them.
func (w *production) rewritten(snap *snapfile.Snapshot, name string, change func(lines []string) []string) *snapfile.Snapshot {
	w.t.Helper()
	return w.open(context.Background(), forgetest.Rewritten(w.t, snap, name, change, w.store.put))
}

// badRow is what makes a row of a snapshot a bad one.
type badRow struct {
	name, relation, row string
	change              map[string]string // column: value in the row with this key, its first field
	line                string            // instead of the row
	again               bool              // with this row again, behind itself
	loaded              bool              // where the database holds the row, such a snapshot is loaded
	leaves              bool              // the row is left out with what hangs on it, all else is loaded
	says                []string
}

// in is the snapshot with the row.
func (c badRow) in(w *production, good *snapfile.Snapshot) *snapfile.Snapshot {
	w.t.Helper()
	found := false
	bad := w.rewritten(good, c.relation, func(lines []string) []string {
		var out []string
		for _, l := range lines {
			was := l
			if first, _, _ := strings.Cut(l, "\t"); !found && (c.row == "" || first == c.row) {
				found = true
				for column, value := range c.change {
					l = forgetest.Set(c.relation, l, column, value)
				}
				if c.line != "" {
					l = c.line
				}
				if c.again {
					out = append(out, was)
				}
			}
			out = append(out, l)
		}
		return out
	})
	if !found {
		w.t.Fatalf("no row %s of %s", c.row, c.relation)
	}
	return bad
}

// leftTogether are rows that can be left out of one snapshot, as none hangs on another.
var leftTogether = []string{"an NVR twice", "NULL", "a draft with a release of no draft", "an rpm that climbs", "a package that climbs", "an archive that climbs",
	"no such owner", "no such rpm", "no such permission", "no such tag", "no such parent", "no such group"}

// TestBadRows: snapshots with rows that may not be, alone or as part of a snapshot that is none. Those
// are left out, with what hangs on them; these are refused in one line, with relation, key and
// reason, after at most two attempts, and nothing has changed.
func TestBadRows(t *testing.T) {
	t.Parallel()
	type change = map[string]string
	tests := []badRow{
		{name: "an id twice", relation: "build", row: "7", again: true, change: change{"version": "7"}, says: []string{"build id=7 is there twice"}},
		{name: "a user's id twice", relation: "users", row: "3", again: true, change: change{"name": "other"}, says: []string{"users id=3 is there twice"}},
		{name: "an event twice", relation: "events", row: "7", again: true, says: []string{"events id=7 is there twice"}},
		{name: "a tagging twice", relation: "tag_listing", row: "9", again: true, change: change{"creator_id": "2"}, says: []string{"tag_listing create_event=", "is there twice"}},
		{name: "a signature twice", leaves: true, relation: "rpmsigs", row: "1", again: true, loaded: true, says: []string{"rpmsigs rpm_id=1 sigkey=: it is there twice"}},
		{name: "a name twice", leaves: true, relation: "tag", row: "3", change: change{"name": "f42"}, says: []string{"tag id=3: it is there twice: an earlier row has the same name"}},
		{name: "an NVR twice", leaves: true, relation: "build", row: "7", again: true, change: change{"id": "5000"}, says: []string{"build id=5000: it is there twice", "pkg_id, version, release"}},
		{name: "active twice", leaves: true, relation: "tag_config", row: "2", again: true, change: change{"create_event": "419"}, says: []string{"tag_config create_event=419 tag_id=2: it is there twice"}},

		{name: "an id above the floor", relation: "rpminfo", row: "7", change: change{"id": "990000000"}, says: []string{"rpminfo id=990000000", "at or above the floor 990000000"}},
		{name: "a reference above the floor", relation: "build", row: "7", change: change{"owner": "1000000000"}, says: []string{"build id=7", "owner is 1000000000", "floor"}},
		{name: "an id below 0", relation: "package", row: "1", change: change{"id": "-1"}, says: []string{"package id=-1", "which is below 0"}},
		{name: "too high for an id", relation: "build", row: "7", change: change{"id": "3000000000"}, says: []string{`build: id="3000000000"`, "out of range"}},
		{name: "too high for a size", relation: "rpminfo", row: "7", change: change{"size": "99999999999999999999"}, says: []string{`rpminfo: id="7"`, "size", "out of range"}},
		{name: "no number", relation: "build", row: "7", change: change{"state": "one"}, says: []string{`build: id="7"`, "state", `"one"`}},
		{name: "no boolean", relation: "tag_config", row: "2", change: change{"locked": "perhaps"}, says: []string{`tag_config: create_event=`, `tag_id="2"`, "locked", `"perhaps"`}},
		{name: "no time", relation: "events", row: "7", change: change{"time": "yesterday evening"}, says: []string{`events: id="7"`, "time", "yesterday evening"}},
		{name: "a NUL", relation: "tag", row: "3", change: change{"name": "f\x0042"}, says: []string{`tag: id="3"`, "invalid byte sequence", "0x00"}},
		{name: "not UTF-8", relation: "tag", row: "3", change: change{"name": "f\xff42"}, says: []string{`tag: id="3"`, "invalid byte sequence", "0xff"}},
		{name: "a name too long", leaves: true, relation: "users", row: "3", change: change{"name": strings.Repeat("x", 1000)}, says: []string{"users id=3: its name has 1000 characters"}},
		{name: "NULL", leaves: true, relation: "rpminfo", row: "7", change: change{"name": `\N`}, says: []string{"rpminfo id=7: name must not be NULL"}},
		{name: "a NULL key", leaves: true, relation: "rpmsigs", row: "1", change: change{"sigkey": `\N`}, says: []string{"rpmsigs rpm_id=1 sigkey=NULL: sigkey must not be NULL"}},

		{name: "revoked in the view", relation: "tag_listing", row: "9", change: change{"active": `\N`, "revoke_event": "410", "revoker_id": "1"}, says: []string{"tag_listing create_event=", "build_id=9", "is not in the view at event 419"}},
		{name: "neither active nor revoked", relation: "tag_packages", row: "1", change: change{"active": `\N`}, says: []string{"tag_packages create_event=", "is not in the view"}},
		{name: "after E", relation: "tag_extra", row: "", change: change{"create_event": "420"}, says: []string{"tag_extra create_event=420", "is not in the view at event 419"}},
		{name: "building, yet complete", leaves: true, relation: "build", row: "7", change: change{"state": "0"}, says: []string{"build id=7: it does not meet the check completion_sane"}},
		{name: "a draft with a release of no draft", leaves: true, relation: "build", row: "21", change: change{"draft": "t"}, says: []string{"build id=21: it does not meet the check draft_release_sane"}},
		{name: "an rpm of nowhere", leaves: true, relation: "rpminfo", row: "7", change: change{"build_id": `\N`}, says: []string{"rpminfo id=7: it does not meet the check build_id_draft_external_repo_id_sane"}},

		{name: "a package that climbs", leaves: true, relation: "package", row: "7", change: change{"name": "../../../etc"}, says: []string{`package id=7: its name "../../../etc" would lead out of its directory`}},
		{name: "a build type that climbs", leaves: true, relation: "btype", row: "1", change: change{"name": ".."}, says: []string{`btype id=1: its name ".." would lead out`}},
		{name: "a version that climbs", leaves: true, relation: "build", row: "7", change: change{"version": "1/.."}, says: []string{`build id=7: its version "1/.." would lead out`}},
		{name: "a release that climbs", leaves: true, relation: "build", row: "7", change: change{"release": "/etc"}, says: []string{`build id=7: its release "/etc" would lead out`}},
		{name: "an rpm that climbs", leaves: true, relation: "rpminfo", row: "8", change: change{"name": "../x", "version": ".."}, says: []string{`rpminfo id=8: its name "../x" would lead out`}},
		{name: "an arch that climbs", leaves: true, relation: "rpminfo", row: "7", change: change{"arch": "x86 64/.."}, says: []string{`rpminfo id=7: its arch "x86 64/.." would lead out`}},
		{name: "a sigkey that climbs", leaves: true, relation: "rpmsigs", row: "1", change: change{"sigkey": "../../../../../../tmp"}, says: []string{`rpmsigs rpm_id=1 sigkey=../../../../../../tmp: its sigkey "../../../../../../tmp" would lead out`}},
		{name: "an archive that climbs", leaves: true, relation: "archiveinfo", row: "1", change: change{"filename": "../../etc/passwd"}, says: []string{`archiveinfo id=1: its filename "../../etc/passwd" would lead out`}},
		{name: "a group of maven's that climbs", leaves: true, relation: "maven_archives", row: "", change: change{"group_id": "org/../.."}, says: []string{`its group_id "org/../.." would lead out`}},
		{name: "a directory of Windows files that climbs", leaves: true, relation: "win_archives", row: "", change: change{"relpath": "../../x"}, says: []string{`its relpath "../../x" would lead out`}},

		{name: "no such package", leaves: true, relation: "build", row: "7", change: change{"pkg_id": "7777"}, says: []string{"build id=7: it refers by pkg_id to package 7777"}},
		{name: "no such owner", leaves: true, relation: "build", row: "22", change: change{"owner": "7777"}, says: []string{"build id=22: it refers by owner to users 7777"}},
		{name: "no such event", leaves: true, relation: "build", row: "7", change: change{"create_event": "7777"}, says: []string{"build id=7: it refers by create_event to events 7777"}},
		{name: "no such volume", leaves: true, relation: "build", row: "7", change: change{"volume_id": "7777"}, says: []string{"build id=7: it stands on volume 7777"}},
		{name: "no such content generator", leaves: true, relation: "build", row: "7", change: change{"cg_id": "7777"}, says: []string{"build id=7: it refers by cg_id to content_generator 7777"}},
		{name: "no such build", leaves: true, relation: "rpminfo", row: "7", change: change{"build_id": "7777"}, says: []string{"rpminfo id=7: it refers by build_id to build 7777"}},
		{name: "no such repo", leaves: true, relation: "rpminfo", row: "7", change: change{"build_id": `\N`, "draft": `\N`, "external_repo_id": "7777"}, says: []string{"rpminfo id=7: it refers by external_repo_id to external_repo 7777"}},
		{name: "no such rpm", leaves: true, relation: "rpmsigs", row: "1", change: change{"rpm_id": "7777"}, says: []string{"rpmsigs rpm_id=7777", "it refers by rpm_id to rpminfo 7777"}},
		{name: "no such build type", leaves: true, relation: "build_types", row: "1", change: change{"btype_id": "7777"}, says: []string{"build_types build_id=1 btype_id=7777: it refers by btype_id to btype 7777"}},
		{name: "no such tag", leaves: true, relation: "tag_listing", row: "9", change: change{"tag_id": "7777"}, says: []string{"tag_listing create_event=", "it refers by tag_id to tag 7777"}},
		{name: "a tagging of no build", leaves: true, relation: "tag_listing", row: "9", change: change{"build_id": "7777"}, says: []string{"it refers by build_id to build 7777"}},
		{name: "no such creator", leaves: true, relation: "tag_listing", row: "9", change: change{"creator_id": "7777"}, loaded: true, says: []string{"it refers by creator_id to users 7777"}},
		{name: "no such parent", leaves: true, relation: "tag_inheritance", row: "3", change: change{"parent_id": "7777"}, says: []string{"it refers by parent_id to tag 7777"}},
		{name: "no such permission", leaves: true, relation: "tag_config", row: "2", change: change{"perm_id": "7777"}, says: []string{"tag_config create_event=", "it refers by perm_id to permissions 7777"}},
		{name: "no such archive type", leaves: true, relation: "archiveinfo", row: "1", change: change{"type_id": "7777"}, says: []string{"archiveinfo id=1: it refers by type_id to archivetypes 7777"}},
		{name: "no such archive", leaves: true, relation: "maven_archives", row: "", change: change{"archive_id": "7777"}, says: []string{"maven_archives archive_id=7777: it refers by archive_id to archiveinfo 7777"}},
		{name: "no such component", leaves: true, relation: "archive_rpm_components", row: "", change: change{"rpm_id": "7777"}, says: []string{"it refers by rpm_id to rpminfo 7777"}},
		{name: "no such target's tag", leaves: true, relation: "build_target_config", row: "", change: change{"dest_tag": "7777"}, says: []string{"it refers by dest_tag to tag 7777"}},
		{name: "no such group", leaves: true, relation: "group_req_listing", row: "", change: change{"req_id": "7777"}, says: []string{"it refers by req_id to groups 7777"}},
		{name: "too few columns", relation: "tag", row: "3", line: "3\n", says: []string{"tag: row 3", "missing data"}},
		{name: "too many columns", relation: "tag", row: "3", line: "3\tx\ty\n", says: []string{"tag: row 3", "extra data"}},
	}
	w, loaded, good := newLoadedOf(t, shot{}, admin)
	fresh := newStaging(t, admin)
	rep, err := dbsync.Load(t.Context(), fresh.conn, good, dbsync.LoadOptions{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	wanted := rep.Relations
	before := map[*staging]map[string][]string{fresh: fresh.whole(), loaded: loaded.whole()}
	var refused, left []badRow
	for _, c := range tests {
		if !c.leaves {
			refused = append(refused, c)
		} else if seedtest.Long() || slices.Contains(leftTogether, c.name) {
			left = append(left, c)
		}
	}
	one := 1
	if !seedtest.Long() {
		one = len(leftTogether)
	}
	for several := range slices.Chunk(left, one) {
		t.Run(several[0].name, func(t *testing.T) {
			w.t = t
			bad := good
			for _, c := range several {
				bad = c.in(w, bad)
			}
			s := *fresh
			s.t = t
			rep, err := dbsync.Load(t.Context(), s.conn, bad, dbsync.LoadOptions{DryRun: true})
			s.checkLeft(rep, err, several, wanted)
		})
	}
	for _, c := range seedtest.Some(refused, 4) {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			bad := c.in(w, good)
			for kind, s := range map[string]*staging{"first load": fresh, "second load": loaded} {
				// What no constraint refuses is refused where the database holds the rows, too.
				if kind == "second load" && (c.loaded || !c.again && !strings.Contains(c.says[len(c.says)-1], "view")) {
					continue
				}
				s := *s
				s.t = t
				attempts := 0
				_, err := dbsync.Load(t.Context(), s.conn, bad, dbsync.LoadOptions{Progress: begins(func(stage string) {
					if stage == "read" {
						attempts++
					}
				})})
				if err == nil {
					t.Fatalf("%s: it is loaded", kind)
				}
				for _, says := range c.says {
					if !strings.Contains(err.Error(), says) {
						t.Errorf("%s: %v; it does not say %q", kind, err, says)
					}
				}
				var temporary *retry.TemporaryError
				if errors.As(err, &temporary) || attempts > 2 || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
					t.Errorf("%s: %d attempts, %v", kind, attempts, err)
				}
				t.Logf("%s: %v", kind, err)
			}
		})
	}
	for s, whole := range before {
		same(t, whole, s.whole())
	}
	w.t = t
	fresh.load(good, dbsync.LoadOptions{})
	fresh.check(w, shot{})
}

// checkLeft demands of a dry run that these rows are bad and named with their reasons, that only what hangs
// on them is left out besides, and that all else goes in.
func (s *staging) checkLeft(rep *book.LoadReport, err error, bad []badRow, wanted []book.RelationReport) {
	s.t.Helper()
	if err != nil {
		s.t.Errorf("all was refused: %v", err)
		return
	}
	if len(rep.Bad) != len(bad) {
		s.t.Errorf("bad: %+v", rep.Bad)
		return
	}
	var said, reasons []string
	for _, e := range rep.Bad {
		said, reasons = append(said, e.Relation+" "+e.Key+": "+e.What), append(reasons, e.What)
	}
	of := map[string]bool{}
	for _, c := range bad {
		of[c.relation] = true
		if !slices.ContainsFunc(said, func(line string) bool {
			return !slices.ContainsFunc(c.says, func(text string) bool { return !strings.Contains(line, text) })
		}) {
			s.t.Errorf("%q; no line says %q", said, c.says)
		}
	}
	left := 0
	for _, e := range rep.LeftOut {
		if !slices.Contains(reasons, e.What) && !strings.Contains(e.What, " was left out") {
			s.t.Errorf("left out: %+v", e)
		}
		left++
	}
	for _, w := range wanted {
		got := counted(rep, w.Relation)
		if missing := w.Inserted - got.Inserted; missing > got.LeftOut || missing < 0 || of[w.Relation] && missing > int64(left) {
			s.t.Errorf("%s: %d inserted of %d, %d left out", w.Relation, got.Inserted, w.Inserted, got.LeftOut)
		}
	}
}

// begins is told of each stage's beginning.
type begins func(stage string)

func (f begins) Begin(stage string, _ int64) progress.Counter { f(stage); return &counter{at: &at{}} }
