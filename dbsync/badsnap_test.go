package dbsync_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// rewritten gives a snapshot in which one relation's lines are others, as no writer of ours would
// write them.
func (w *world) rewritten(snap *snapfile.Snapshot, name string, change func(lines []string) []string) *snapfile.Snapshot {
	w.t.Helper()
	ctx := context.Background()
	man := *snap.Manifest
	man.Relations = slices.Clone(man.Relations)
	for i := range man.Relations {
		rel := &man.Relations[i]
		if rel.Name != name {
			continue
		}
		rows := snap.Rows(ctx, name)
		var lines []string
		for rows.Next() {
			lines = append(lines, string(rows.Line()))
		}
		if err := rows.Err(); err != nil {
			w.t.Fatal(err)
		}
		lines = change(lines)
		body := []byte(strings.Join(lines, ""))
		sum := sha256.Sum256(body)
		enc, err := zstd.NewWriter(nil)
		if err != nil {
			w.t.Fatal(err)
		}
		s := snapfile.Segment{SHA256: hex.EncodeToString(sum[:]), Rows: int64(len(lines)), Bytes: int64(len(body))}
		w.store.objects[s.Object()] = enc.EncodeAll(body, nil)
		rel.Rows, rel.Segments = s.Rows, []snapfile.Segment{s}
	}
	return w.open(ctx, man)
}

// set writes a field of a line.
func set(name, line, column, value string) string {
	fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
	fields[relation.Get(name).Index(column)] = value
	return strings.Join(fields, "\t") + "\n"
}

// TestBadRows: snapshots with rows that may not be. Each is refused in one line, with relation,
// key and reason, after at most two attempts; nothing has changed.
func TestBadRows(t *testing.T) {
	// Column: value in the row with this key, its first field.
	type change map[string]string
	tests := []struct {
		name, relation, row string
		change              change
		line                string // instead of the row
		again               bool   // with this row again, behind itself
		loaded              bool   // where the database holds the row, such a snapshot is loaded
		says                []string
	}{
		{name: "an id twice", relation: "build", row: "7", again: true, change: change{"version": "7"}, says: []string{"build id=7 is there twice"}},
		{name: "a user's id twice", relation: "users", row: "3", again: true, change: change{"name": "other"}, says: []string{"users id=3 is there twice"}},
		{name: "an event twice", relation: "events", row: "7", again: true, says: []string{"events id=7 is there twice"}},
		{name: "a tagging twice", relation: "tag_listing", row: "9", again: true, change: change{"creator_id": "2"}, says: []string{"tag_listing create_event=", "is there twice"}},
		{name: "a signature twice", relation: "rpmsigs", row: "1", again: true, loaded: true, says: []string{"rpmsigs rpm_id=1 sigkey=", "is there twice"}},
		{name: "a name twice", relation: "tag", row: "3", change: change{"name": "f42"}, says: []string{"tag id=2 is there twice: two rows have the same name"}},
		{name: "an NVR twice", relation: "build", row: "7", again: true, change: change{"id": "5000"}, says: []string{"build id=7 is there twice", "pkg_id, version, release"}},
		{name: "active twice", relation: "tag_config", row: "2", again: true, change: change{"create_event": "419"}, says: []string{"tag_config create_event=", "tag_id=2 is there twice"}},

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
		{name: "a name too long", relation: "users", row: "3", change: change{"name": strings.Repeat("x", 1000)}, says: []string{"users id=3 has a name of 1000 characters"}},
		{name: "NULL", relation: "rpminfo", row: "7", change: change{"name": `\N`}, says: []string{"rpminfo id=7: name must not be NULL"}},
		{name: "a NULL key", relation: "rpmsigs", row: "1", change: change{"sigkey": `\N`}, says: []string{"rpmsigs rpm_id=1 sigkey=NULL: sigkey must not be NULL"}},

		{name: "revoked in the view", relation: "tag_listing", row: "9", change: change{"active": `\N`, "revoke_event": "410", "revoker_id": "1"}, says: []string{"tag_listing create_event=", "build_id=9", "is not in the view at event 419"}},
		{name: "neither active nor revoked", relation: "tag_packages", row: "1", change: change{"active": `\N`}, says: []string{"tag_packages create_event=", "is not in the view"}},
		{name: "after E", relation: "tag_extra", row: "", change: change{"create_event": "420"}, says: []string{"tag_extra create_event=420", "is not in the view at event 419"}},
		{name: "building, yet complete", relation: "build", row: "7", change: change{"state": "0"}, says: []string{"build id=7 does not meet the check completion_sane"}},
		{name: "a draft with a release of no draft", relation: "build", row: "7", change: change{"draft": "t"}, says: []string{"build id=7 does not meet the check draft_release_sane"}},
		{name: "an rpm of nowhere", relation: "rpminfo", row: "7", change: change{"build_id": `\N`}, says: []string{"rpminfo id=7 does not meet the check build_id_draft_external_repo_id_sane"}},

		{name: "no such package", relation: "build", row: "7", change: change{"pkg_id": "7777"}, says: []string{"build id=7 refers by pkg_id to package 7777"}},
		{name: "no such owner", relation: "build", row: "7", change: change{"owner": "7777"}, says: []string{"build id=7 refers by owner to users 7777"}},
		{name: "no such event", relation: "build", row: "7", change: change{"create_event": "7777"}, says: []string{"build id=7 refers by create_event to events 7777"}},
		{name: "no such volume", relation: "build", row: "7", change: change{"volume_id": "7777"}, says: []string{"build 7 stands on volume 7777"}},
		{name: "no such content generator", relation: "build", row: "7", change: change{"cg_id": "7777"}, says: []string{"build id=7 refers by cg_id to content_generator 7777"}},
		{name: "no such build", relation: "rpminfo", row: "7", change: change{"build_id": "7777"}, says: []string{"rpminfo id=7 refers by build_id to build 7777"}},
		{name: "no such repo", relation: "rpminfo", row: "7", change: change{"build_id": `\N`, "draft": `\N`, "external_repo_id": "7777"}, says: []string{"rpminfo id=7 refers by external_repo_id to external_repo 7777"}},
		{name: "no such rpm", relation: "rpmsigs", row: "1", change: change{"rpm_id": "7777"}, says: []string{"rpmsigs rpm_id=7777", "refers by rpm_id to rpminfo 7777"}},
		{name: "no such build type", relation: "build_types", row: "1", change: change{"btype_id": "7777"}, says: []string{"build_types build_id=1 btype_id=7777 refers by btype_id to btype 7777"}},
		{name: "no such tag", relation: "tag_listing", row: "9", change: change{"tag_id": "7777"}, says: []string{"tag_listing create_event=", "refers by tag_id to tag 7777"}},
		{name: "a tagging of no build", relation: "tag_listing", row: "9", change: change{"build_id": "7777"}, says: []string{"refers by build_id to build 7777"}},
		{name: "no such creator", relation: "tag_listing", row: "9", change: change{"creator_id": "7777"}, loaded: true, says: []string{"refers by creator_id to users 7777"}},
		{name: "no such parent", relation: "tag_inheritance", row: "3", change: change{"parent_id": "7777"}, says: []string{"refers by parent_id to tag 7777"}},
		{name: "no such permission", relation: "tag_config", row: "2", change: change{"perm_id": "7777"}, says: []string{"tag_config create_event=", "refers by perm_id to permissions 7777"}},
		{name: "no such archive type", relation: "archiveinfo", row: "1", change: change{"type_id": "7777"}, says: []string{"archiveinfo id=1 refers by type_id to archivetypes 7777"}},
		{name: "no such archive", relation: "maven_archives", row: "", change: change{"archive_id": "7777"}, says: []string{"maven_archives archive_id=7777 refers by archive_id to archiveinfo 7777"}},
		{name: "no such component", relation: "archive_rpm_components", row: "", change: change{"rpm_id": "7777"}, says: []string{"refers by rpm_id to rpminfo 7777"}},
		{name: "no such target's tag", relation: "build_target_config", row: "", change: change{"dest_tag": "7777"}, says: []string{"refers by dest_tag to tag 7777"}},
		{name: "no such group", relation: "group_req_listing", row: "", change: change{"req_id": "7777"}, says: []string{"refers by req_id to groups 7777"}},
		{name: "too few columns", relation: "tag", row: "3", line: "3\n", says: []string{"tag: row 3", "missing data"}},
		{name: "too many columns", relation: "tag", row: "3", line: "3\tx\ty\n", says: []string{"tag: row 3", "extra data"}},
	}
	w := newWorld(t)
	good := w.snapshot(shot{})
	fresh, loaded := newStaging(t, admin), newStaging(t, admin)
	loaded.load(good, dbsync.LoadOptions{})
	before := map[*staging]map[string][]string{fresh: fresh.whole(), loaded: loaded.whole()}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			found := false
			bad := w.rewritten(good, c.relation, func(lines []string) []string {
				var out []string
				for _, l := range lines {
					was := l
					if first, _, _ := strings.Cut(l, "\t"); !found && (c.row == "" || first == c.row) {
						found = true
						for column, value := range c.change {
							l = set(c.relation, l, column, value)
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
				t.Fatalf("no row %s of %s", c.row, c.relation)
			}
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
				var temporary *dbsync.TemporaryError
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

// begins is told of each stage's beginning.
type begins func(stage string)

func (f begins) Begin(stage string, _ int64) progress.Counter { f(stage); return &counter{at: &at{}} }
