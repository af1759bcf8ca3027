package dbsync_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// production is a production: the rows of the catalogue's relations, which tests change as Koji
// would, and snapshots of it.
type production struct {
	t      testing.TB
	rows   map[string][]row
	store  *memory
	parent int64 // the event of the snapshot before

	version string // of Koji; "" is 1.35.3
}

// row is by column name; nil is NULL.
type row map[string]*string

func str(v any) *string { s := fmt.Sprint(v); return &s }

func (r row) get(c string) string {
	if r[c] == nil {
		return "NULL"
	}
	return *r[c]
}

func (r row) int(c string) int64 {
	n, err := strconv.ParseInt(r.get(c), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// newProduction is the production of package kojiprod.
func newProduction(t testing.TB) *production {
	return &production{t: t, rows: cloneRows(kojiprodRows(t)), store: &memory{objects: map[string][]byte{}}}
}

// find returns the only row with these values ("column", value, …).
func (w *production) find(rel string, want ...any) row {
	w.t.Helper()
	found := w.all(rel, want...)
	if len(found) != 1 {
		w.t.Fatalf("%s with %v: %d rows", rel, want, len(found))
	}
	return found[0]
}

func (w *production) all(rel string, want ...any) []row {
	var found []row
next:
	for _, r := range w.rows[rel] {
		for i := 0; i < len(want); i += 2 {
			if r.get(want[i].(string)) != fmt.Sprint(want[i+1]) {
				continue next
			}
		}
		found = append(found, r)
	}
	return found
}

func (w *production) drop(rel string, want ...any) {
	gone := w.all(rel, want...)
	w.rows[rel] = slices.DeleteFunc(w.rows[rel], func(r row) bool {
		return slices.ContainsFunc(gone, func(g row) bool { return fmt.Sprintf("%p", g) == fmt.Sprintf("%p", r) })
	})
}

// add puts in a row: "column", value, …; nil is NULL.
func (w *production) add(rel string, values ...any) row {
	r := row{}
	for i := 0; i < len(values); i += 2 {
		if values[i+1] != nil {
			r[values[i].(string)] = str(values[i+1])
		}
	}
	w.rows[rel] = append(w.rows[rel], r)
	return r
}

// next takes an id.
func (w *production) next(rel string) int64 {
	var n int64
	for _, r := range w.rows[rel] {
		n = max(n, r.int("id"))
	}
	return n + 1
}

// event makes an event.
func (w *production) event() int64 {
	id := w.next("events")
	w.add("events", "id", id, "time", time.Unix(1800000000+id, 0).UTC().Format("2006-01-02 15:04:05+00"))
	return id
}

// revoke ends an active row.
func (w *production) revoke(r row) int64 {
	e := w.event()
	r["active"], r["revoke_event"], r["revoker_id"] = nil, str(e), str(1)
	return e
}

// tag tags a build.
func (w *production) tag(build, tag int64) row {
	return w.add("tag_listing", "build_id", build, "tag_id", tag, "create_event", w.event(), "creator_id", 1, "active", "t")
}

func (w *production) last() int64 { return w.next("events") - 1 }

// shot says what a snapshot holds: tags nil is all tags and all builds.
type shot struct {
	event int64 // 0 is the last
	since int64 // history from this event on; 0: what was revoked since the snapshot before
	tags  []int64
	none  []string           // relations that are empty in it, as the hub could not give them
	lost  []snapfile.LeftOut // what else it could not give

	everything bool
}

// snapshot writes a snapshot as pull would.
func (w *production) snapshot(s shot) *snapfile.Snapshot {
	w.t.Helper()
	if s.event == 0 {
		s.event = w.last()
	}
	view := w.view(s)
	o := snapshot.Options{TempDir: w.t.TempDir()}
	if len(w.rows["rpm_checksum"]) > 0 {
		o.Optional = []string{"rpm_checksum"}
	}
	b := snapshot.New(o)
	defer b.Discard()
	if o.Optional != nil {
		w.addRows(b.Add, relation.Get("rpm_checksum"), w.rows["rpm_checksum"])
	}
	for _, rel := range s.none {
		b.Skip(snapfile.LeftOut{Relation: rel, Row: "all", Reason: "not well-formed"})
	}
	for _, x := range s.lost {
		b.Skip(x)
	}
	man := &snapfile.Manifest{Hub: "https://koji.example.com/kojihub", KojiVersion: cmp.Or(w.version, "1.35.3"), Event: s.event,
		EventTime: time.Unix(1800000000+s.event, 0).UTC(), Created: time.Unix(1900000000, 0).UTC(), CreatedBy: "test"}
	for _, t := range view["tag"] {
		if s.tags == nil && (s.since > 0 || len(w.activeAt("tag_config", s.event, "tag_id", t.get("id"))) > 0) || slices.Contains(s.tags, t.int("id")) {
			man.Scope.All = append(man.Scope.All, snapfile.Tag{ID: t.int("id"), Name: t.get("name"), History: s.since})
			man.Scope.Tags = append(man.Scope.Tags, t.get("name"))
		}
	}
	if s.everything {
		man.Scope.Everything, man.Scope.Tags = true, []string{}
	}
	slices.SortFunc(man.Scope.All, func(a, b snapfile.Tag) int { return int(a.ID - b.ID) })
	slices.Sort(man.Scope.Tags)
	for _, r := range relation.All() {
		w.addRows(b.Add, r, view[r.Name])
		if r.Versioned && (w.parent > 0 || s.since > 0) {
			var gone []row
			for _, x := range w.rows[r.Name] {
				if x["revoke_event"] != nil && x.int("revoke_event") > cmp.Or(s.since, w.parent) && x.int("revoke_event") <= s.event {
					gone = append(gone, x)
				}
			}
			w.addRows(b.AddRevoked, r, gone)
		}
	}
	w.parent = s.event
	ctx := context.Background()
	id, _, err := b.Commit(ctx, snapshot.Target{Put: w.store.put, PutManifest: func(ctx context.Context, name string, body []byte) error {
		return w.store.put(ctx, name, bytes.NewReader(body))
	}}, man)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.opened(ctx, id)
}

// open puts a manifest into the store and opens the snapshot that it is of.
func (w *production) open(ctx context.Context, man snapfile.Manifest) *snapfile.Snapshot {
	w.t.Helper()
	body, id, err := man.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	object, err := snapfile.ManifestObject(id)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store.objects[object] = body
	return w.opened(ctx, id)
}

func (w *production) opened(ctx context.Context, id string) *snapfile.Snapshot {
	w.t.Helper()
	snap, err := snapfile.Open(ctx, w.store.get, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return snap
}

func (w *production) addRows(add func(string, [][]byte) ([]snapfile.LeftOut, error), r *relation.Relation, rows []row) {
	w.t.Helper()
	for _, x := range rows {
		fields := make([][]byte, len(r.Columns))
		for i, c := range r.Columns {
			if x[c.Name] != nil {
				fields[i] = []byte(*x[c.Name])
			}
		}
		if _, err := add(r.Name, fields); err != nil {
			w.t.Fatal(err)
		}
	}
}

// activeAt gives the rows of a versioned relation in the view at an event.
func (w *production) activeAt(rel string, event int64, want ...any) []row {
	var out []row
	for _, r := range w.all(rel, want...) {
		if r.int("create_event") <= event && (r["revoke_event"] == nil || r.int("revoke_event") > event) {
			v := row{}
			for k, x := range r {
				v[k] = x
			}
			v["active"], v["revoke_event"], v["revoker_id"] = str("t"), nil, nil
			out = append(out, v)
		}
	}
	return out
}

// view gives the rows of a snapshot: all names and events, the versioned rows of the tags, and
// the builds tagged there with what hangs on them and what their archives name.
func (w *production) view(s shot) map[string][]row {
	view := map[string][]row{}
	builds, rpms, archives := map[string]bool{}, map[string]bool{}, map[string]bool{}
	inScope := func(r row) bool {
		if s.tags == nil || r["tag_id"] == nil && r["build_tag"] == nil {
			return true
		}
		for _, c := range []string{"tag_id", "build_tag", "dest_tag"} {
			if r[c] != nil && slices.Contains(s.tags, r.int(c)) {
				return true
			}
		}
		return false
	}
	for _, r := range relation.All() {
		for _, x := range w.rows[r.Name] {
			in := true
			switch {
			case r.Name == "events":
				in = x.int("id") <= s.event
			case r.Versioned:
				continue
			case r.Name == "build":
				in = x.int("create_event") <= s.event && s.tags == nil
				if in {
					builds[x.get("id")] = true
				}
				continue
			case r.Named():
			default:
				continue
			}
			if in {
				view[r.Name] = append(view[r.Name], x)
			}
		}
		if r.Versioned {
			for _, x := range w.activeAt(r.Name, s.event) {
				if inScope(x) {
					view[r.Name] = append(view[r.Name], x)
					if r.Name == "tag_listing" {
						builds[x.get("build_id")] = true
					}
				}
			}
		}
	}
	for _, x := range w.rows["rpminfo"] {
		rpms[x.get("id")] = builds[x.get("build_id")]
	}
	for _, x := range w.rows["archiveinfo"] {
		archives[x.get("id")] = builds[x.get("build_id")]
	}
	for _, x := range w.rows["archive_components"] {
		if archives[x.get("archive_id")] {
			archives[x.get("component_id")] = true
		}
	}
	for _, x := range w.rows["archive_rpm_components"] {
		if archives[x.get("archive_id")] {
			rpms[x.get("rpm_id")] = true
		}
	}
	pick := func(rel, column string, set map[string]bool) {
		for _, x := range w.rows[rel] {
			if set[x.get(column)] {
				view[rel] = append(view[rel], x)
			}
		}
	}
	pick("rpminfo", "id", rpms)
	pick("archiveinfo", "id", archives)
	for _, x := range view["rpminfo"] {
		builds[x.get("build_id")] = true
	}
	for _, x := range view["archiveinfo"] {
		builds[x.get("build_id")] = true
	}
	pick("build", "id", builds)
	for _, rel := range []string{"build_types", "maven_builds", "win_builds", "image_builds"} {
		pick(rel, "build_id", builds)
	}
	pick("rpmsigs", "rpm_id", rpms)
	for _, rel := range []string{"maven_archives", "win_archives", "image_archives", "archive_rpm_components", "archive_components"} {
		pick(rel, "archive_id", archives)
	}
	for _, rel := range s.none {
		view[rel] = nil
	}
	loseRows(view, s.lost)
	return view
}

// loseRows takes away what the hub could not give, and what refers to it.
func loseRows(view map[string][]row, lost []snapfile.LeftOut) {
	gone := map[string]bool{}
	for _, r := range relation.All() {
		view[r.Name] = slices.DeleteFunc(slices.Clone(view[r.Name]), func(x row) bool {
			var key []string
			for _, k := range r.Key {
				key = append(key, x.get(k))
			}
			out := slices.ContainsFunc(lost, func(l snapfile.LeftOut) bool {
				return l.Relation == r.Name && (l.Column != "" && x.get(l.Column) == fmt.Sprint(l.ID) || l.Tag != 0 && x.get("tag_id") == fmt.Sprint(l.Tag) ||
					slices.Equal(l.Key, key) || l.Column == "" && x["build_id"] != nil && slices.Contains(l.Builds, x.int("build_id")))
			})
			for _, c := range r.Columns {
				out = out || c.Ref != "" && x[c.Name] != nil && gone[c.Ref+" "+x.get(c.Name)]
			}
			if out && r.Columns[0].Name == "id" {
				gone[r.Name+" "+x.get("id")] = true
			}
			return out
		})
	}
}
