package kojisnap_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// traceless are the changes of a build that leave no event and are in no list by time: only a
// sweep finds them.
var traceless = regexp.MustCompile(`^(?:reset build|changed the owner of build|changed the completion time of build|moved build|signed \d+ rpms of build|removed the signature "\w*" of rpm \d+ of build|imported rpm \d+ into build|deleted build) (\S+)`)

// world is a hub whose rows change, and two stores: one where each pull goes on from the last, one
// where each asks for everything.
type world struct {
	t          *testing.T
	last       *snapfile.Snapshot         // that was asked for whole
	inImages   map[string]map[string]bool // builds, and those of images that consist of them
	rows       *hubtest.Memory
	server     *hubtest.Server
	client     *hub.Client
	again, all *dir.Store
	tags       []string
	sweep      int
	dirty      map[string]string // id of build: what nobody told
	pulls      int
	asked      [2]int // calls of getBuild
}

// event is the last event of the hub.
func (w *world) event() int64 {
	w.t.Helper()
	events, err := w.rows.Select("events", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	last := int64(0)
	for _, e := range events {
		last = max(last, e["id"].(int64))
	}
	return last
}

// wait inserts an event some time after the last.
func (w *world) wait(d time.Duration) {
	w.t.Helper()
	id := w.event()
	last, err := w.rows.Select("events", hubtest.Values{"id": id})
	if err != nil {
		w.t.Fatal(err)
	}
	at := last[0]["time"].(hubtest.Time) + hubtest.Time(d.Microseconds())
	if err := w.rows.Insert("events", hubtest.Values{"id": id + 1, "time": at}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) builds() map[string]string {
	w.t.Helper()
	pkgs, err := w.rows.Select("package", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	names := map[any]any{}
	for _, p := range pkgs {
		names[p["id"]] = p["name"]
	}
	builds, err := w.rows.Select("build", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ids := map[string]string{}
	for _, b := range builds {
		ids[fmt.Sprintf("%s-%s-%s", names[b["pkg_id"]], b["version"], b["release"])] = fmt.Sprint(b["id"])
	}
	return ids
}

// note remembers which build a change was of that nobody tells of.
func (w *world) note(did string) {
	w.t.Helper()
	if m := traceless.FindStringSubmatch(did); m != nil {
		id := w.builds()[m[1]]
		if id == "" {
			w.t.Fatalf("no build %s", m[1])
		}
		w.dirty[id] = did
		if strings.HasPrefix(did, "reset ") {
			// Its rpms go from the images that have them, too, which a sweep finds at the image.
			for image := range w.images(w.last)[id] {
				w.dirty[image] = did
			}
		}
	}
}

// images returns for builds the builds whose archives have rpms or archives of them, in any of
// some snapshots.
func (w *world) images(snaps ...*snapfile.Snapshot) map[string]map[string]bool {
	w.t.Helper()
	in := map[string]map[string]bool{}
	for _, snap := range snaps {
		if snap == nil {
			continue
		}
		builds := map[string]map[string]string{"rpminfo": {}, "archiveinfo": {}}
		for name, of := range builds {
			at := relation.Get(name).Index("build_id")
			for _, row := range snapshotRows(w.t, snap, name) {
				fields := strings.Split(row, "\t")
				of[fields[0]] = fields[at]
			}
		}
		for name, of := range map[string]string{"archive_rpm_components": "rpminfo", "archive_components": "archiveinfo"} {
			for _, row := range snapshotRows(w.t, snap, name) {
				archive, part, _ := strings.Cut(row, "\t")
				build := builds[of][part]
				if in[build] == nil {
					in[build] = map[string]bool{}
				}
				in[build][builds["archiveinfo"][archive]] = true
			}
		}
	}
	return in
}

// excused reports whether rows of a build may differ still: it, or an image that consists of it,
// changed without a trace.
func (w *world) excused(build string) bool {
	if w.dirty[build] != "" {
		return true
	}
	for image := range w.inImages[build] {
		if w.dirty[image] != "" {
			return true
		}
	}
	return false
}

func (w *world) pull(s *dir.Store, sweep int) *snapfile.Snapshot {
	w.t.Helper()
	r, err := kojisnap.Pull(w.t.Context(), w.client, s, kojisnap.PullOptions{Tags: w.tags, Event: w.event(), Sweep: sweep, Program: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	snap, err := kojisnap.OpenSnapshot(w.t.Context(), s, r.Snapshot)
	if err != nil {
		w.t.Fatal(err)
	}
	return snap
}

// compare pulls both ways. What differs must be of a build that changed without a trace and was
// not swept since.
func (w *world) compare() {
	w.t.Helper()
	before := w.server.Calls()["getBuild"]
	again := w.pull(w.again, w.sweep)
	between := w.server.Calls()["getBuild"]
	all := w.pull(w.all, 1)
	w.inImages = w.images(w.last, again)
	w.last = all
	w.asked[0] += between - before
	w.asked[1] += w.server.Calls()["getBuild"] - between
	for id := range w.dirty {
		if (number(id)-int64(w.pulls-1))%int64(w.sweep) == 0 || w.pulls == 0 {
			delete(w.dirty, id)
		}
	}
	w.pulls++
	owner := w.owners(again, all)
	for _, rel := range relation.All() {
		for _, revoked := range []bool{false, true} {
			want, got := rowsOf(w.t, all, rel.Name, revoked), rowsOf(w.t, again, rel.Name, revoked)
			missing := difference(want, got)
			for i, row := range append(missing, difference(got, want)...) {
				build, ofBuild := owner(rel, row)
				if ofBuild && !w.excused(build) || !ofBuild && len(w.dirty) == 0 {
					w.t.Errorf("pull %d, %s: of build %q (revoked %v, missing %v), not the same: %s", w.pulls, rel.Name, build, revoked, i < len(missing), row)
				}
			}
		}
	}
	if w.t.Failed() {
		w.t.FailNow()
	}
}

func rowsOf(t testing.TB, snap *snapfile.Snapshot, name string, revoked bool) []string {
	t.Helper()
	if !revoked {
		return snapshotRows(t, snap, name)
	}
	var lines []string
	rows := snap.Revoked(t.Context(), name)
	defer rows.Close()
	for rows.Next() {
		lines = append(lines, strings.TrimSuffix(string(rows.Line()), "\n"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// owners says which build a row belongs to; rows of names and events belong to none.
func (w *world) owners(snaps ...*snapfile.Snapshot) func(rel *relation.Relation, row string) (string, bool) {
	of := map[string]map[string]string{"rpminfo": {}, "archiveinfo": {}}
	for name, builds := range of {
		at := relation.Get(name).Index("build_id")
		for _, snap := range snaps {
			for _, row := range snapshotRows(w.t, snap, name) {
				fields := strings.Split(row, "\t")
				builds[fields[0]] = fields[at]
			}
		}
	}
	return func(rel *relation.Relation, row string) (string, bool) {
		fields := strings.Split(row, "\t")
		switch {
		case rel.Name == "build":
			return fields[0], true
		case rel.Index("build_id") >= 0:
			return fields[rel.Index("build_id")], true
		case rel.Name == "rpmsigs":
			return of["rpminfo"][fields[0]], true
		case rel.Index("archive_id") >= 0:
			return of["archiveinfo"][fields[rel.Index("archive_id")]], true
		}
		return "", rel.Versioned
	}
}

// TestPullAgain applies random changes to a hub and compares, after some at a time, a pull that
// goes on from the last with one that asks for everything, at the same event.
func TestPullAgain(t *testing.T) {
	seed := rand.Uint64() >> 1
	if text := os.Getenv("KOJISNAP_SEED"); text != "" {
		seed = uint64(number(text))
	}
	t.Logf("KOJISNAP_SEED=%d", seed)
	testPullAgain(t, seed, 3, 6)
}

func testPullAgain(t *testing.T, seed uint64, phases, pulls int) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	server := hubtest.New(rows, hubtest.Options{})
	w := &world{t: t, rows: rows, server: server, client: client(t, server), again: newStore(t), all: newStore(t),
		tags: []string{"f42-candidate", "f42-compose", "f42-infra", "f43-build"}, sweep: 3, dirty: map[string]string{}}
	slices.Sort(w.tags)
	w.compare()
	for phase := range phases {
		// All so far is older than the overlap; what comes now is not.
		w.wait(10 * 24 * time.Hour)
		m, err := hubtest.NewMutator(rows, hubtest.MutatorOptions{Seed: seed + uint64(phase), Tags: w.tags})
		if err != nil {
			t.Fatal(err)
		}
		for range pulls {
			for n, last := 0, w.event(); n < 4 || w.event() == last; n++ {
				did, err := m.Step()
				if err != nil {
					t.Fatal(err)
				}
				w.note(did)
				t.Log(did)
			}
			w.compare()
		}
		// After a whole sweep nothing may differ.
		for range w.sweep {
			w.wait(time.Second)
			w.compare()
		}
		if len(w.dirty) > 0 {
			t.Fatalf("not swept: %v", w.dirty)
		}
	}
	if w.asked[0]*3 > w.asked[1]*2 {
		t.Errorf("%d builds asked for going on, %d by asking for everything", w.asked[0], w.asked[1])
	}
}
