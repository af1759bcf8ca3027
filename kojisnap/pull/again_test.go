package pull_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

const (
	againSteps = 18 // changes before each
	againSweep = 3  // pulls of a whole sweep
	// Late commits stay within the overlap, and the changes continue for longer than that.
	againPace    = 5 * time.Minute
	againLate    = time.Hour
	againOverlap = 90 * time.Minute
)

// againPulls is how often is pulled while the hub changes.
func againPulls() int {
	if seedtest.Long() {
		return 6
	}
	return 2
}

// againSeeds are the seeds of TestPullAgain. Together they make changes of all kinds.
var againSeeds = []uint64{55, 56, 58}

// againKinds are the kinds of change that must all have happened, by the Mutator's description.
var againKinds = map[string]string{
	"tag": `^tagged `, "untag": `^untagged `, "move": `^moved \S+ from `, "retag": `^retagged `,
	"block": `: blocked is true$`, "unblock": `: blocked is false$`,
	"new build": `^new build `, "a build's end": `^build \S+ ended in state 1`, "deletion": `^deleted build `,
	"reset": `^reset build `, "made anew": `^recycled build `, "import of an rpm": `^imported rpm `,
	"signing": `^signed `, "removal of signatures": `^removed the signature `, "volume move": `^moved build \S+ to volume `,
	"draft": `^new draft build `, "draft promotion": `^promoted draft build `,
	"rename of a tag": `^tag \S+ is renamed`, "rename of a user": `^users \S+ is renamed`, "rename of a target": `^build_target \S+ is renamed`,
	"rename of an external repo": `^external_repo \S+ is renamed`, "rename of a channel": `^channels \S+ is renamed`,
	"owner of a package": `'s$`, "owner of a build": `^changed the owner of build `, "completion time": `^changed the completion time of build `,
	"package of a group": `in group|(from|to) group`, "group": `^edited group `, "need of a group": `needs group`,
	"inheritance": `^edited how \S+ inherits from `, "new inheritance": `^\S+ inherits from `, "no more inheritance": `no longer inherits from `,
	"late import": `^the import of event .* committed`, "late revocation": `^the untagging of event .* committed`,
	"tag's config": `^edited tag `, "tag's extra": `extra .* of `, "external repo of a tag": `uses external repo `, "target": `^target \S+ leads to `,
}

// changingHub is a hub whose rows change, and two stores: one where each pull continues the last, and one
// where each asks for everything.
type changingHub struct {
	t          *testing.T
	rows       *hubtest.Memory
	server     *hubtest.Server
	client     *hub.Client
	again, all *dir.Store
	tags       []string
	stale      staleRows
	base, last *snapfile.Snapshot // of the last incremental and full pull; nil: none yet
	pulls      int
	asked      [2]int // calls of getBuild
	since      int64  // history is pulled from this event on; 0: no history
	everything bool   // is pulled, not tags
	// resets are the builds that a pull reported as reset, by id: [0] by an incremental pull, [1] by a full
	// one.
	resets map[string][2]bool
}

// event is the last event of the hub.
func (w *changingHub) event() int64 {
	w.t.Helper()
	last := int64(0)
	for _, e := range w.find("events", nil) {
		last = max(last, e["id"].(int64))
	}
	return last
}

// wait inserts an event some time after the last.
func (w *changingHub) wait(d time.Duration) {
	w.t.Helper()
	id := w.event()
	at := w.find("events", hubtest.Values{"id": id})[0]["time"].(hubtest.Time) + hubtest.Time(d.Microseconds())
	if err := w.rows.Insert("events", hubtest.Values{"id": id + 1, "time": at}); err != nil {
		w.t.Fatal(err)
	}
}

// find returns rows of the hub.
func (w *changingHub) find(table string, where hubtest.Values) []hubtest.Values {
	w.t.Helper()
	rows, err := w.rows.Select(table, where)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// askedTags are the tags that pulls ask for.
func (w *changingHub) askedTags() []string {
	if w.everything {
		return nil
	}
	return w.tags
}

func (w *changingHub) pull(s *dir.Store, sweep int) *snapfile.Snapshot {
	w.t.Helper()
	r, err := pull.Pull(w.t.Context(), w.client, s, pull.Options{Tags: w.askedTags(), Everything: w.everything, Event: w.event(), Sweep: sweep, Overlap: againOverlap, Program: "test", Since: w.since})
	if err != nil {
		w.t.Fatal(err)
	}
	snap, err := repository.Open(w.t.Context(), s, r.Snapshot)
	if err != nil {
		w.t.Fatal(err)
	}
	return snap
}

// compare pulls both ways. The snapshots may differ only where no event shows a change, for a build that was
// not swept since.
func (w *changingHub) compare() {
	w.t.Helper()
	before := w.server.Calls()["getBuild"]
	again := w.pull(w.again, againSweep)
	between := w.server.Calls()["getBuild"]
	all := w.pull(w.all, 1)
	w.asked[0] += between - before
	w.asked[1] += w.server.Calls()["getBuild"] - between
	w.forget(all)
	w.pulls++
	for _, d := range w.unexpected(again, all) {
		w.t.Errorf("pull %d: %s", w.pulls, d)
	}
	if w.t.Failed() {
		w.t.FailNow()
	}
	if w.base != nil {
		// Otherwise each pull would read all snapshots' manifests.
		w.remove(w.again, w.base)
		w.remove(w.all, w.last)
	}
	w.base, w.last = again, all
}

func (w *changingHub) remove(s *dir.Store, snap *snapfile.Snapshot) {
	w.t.Helper()
	object, err := snapfile.ManifestObject(snap.ID)
	if err == nil {
		err = s.Delete(w.t.Context(), object)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func rowsOf(t testing.TB, snap *snapfile.Snapshot, name string, revoked bool) []string {
	t.Helper()
	if !revoked {
		return pulltest.SnapshotRows(t, snap, name)
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

// TestPullAgain makes random changes in a hub. After some of them it compares a pull that continues the last
// one with one that asks for everything, at the same event.
func TestPullAgain(t *testing.T) {
	var did []string
	var ran []uint64
	seedtest.Each(t, againSeeds, func(t *testing.T, seed uint64) {
		did = append(did, testPullAgain(t, seed, 0, false)...)
		ran = append(ran, seed)
	})
	if t.Failed() || !slices.Equal(ran, againSeeds) {
		return // another subtest is wanted
	}
	if len(did) < 300 {
		t.Errorf("only %d changes", len(did))
	}
	for kind, like := range againKinds {
		if !slices.ContainsFunc(did, regexp.MustCompile(like).MatchString) {
			t.Errorf("no change of %d was of the kind %s", len(did), kind)
		}
	}
}

// TestPullEverythingAgain is TestPullAgain for everything.
func TestPullEverythingAgain(t *testing.T) {
	seedtest.Each(t, []uint64{55, 56}, func(t *testing.T, seed uint64) { testPullAgain(t, seed, 0, true) })
}

// TestPullEverythingSince is the same with history.
func TestPullEverythingSince(t *testing.T) {
	seedtest.Each(t, []uint64{58}, func(t *testing.T, seed uint64) { testPullAgain(t, seed, 400, true) })
}

func testPullAgain(t *testing.T, seed uint64, since int64, everything bool) (changes []string) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	server := hubtest.New(rows, hubtest.Options{Released: true}) // it answers less
	w := &changingHub{t: t, rows: rows, server: server, client: pulltest.Client(t, server), again: pulltest.NewStore(t), all: pulltest.NewStore(t),
		tags: []string{"f42-candidate", "f42-compose", "f42-infra", "f43-build"}, stale: staleRows{}, since: since, everything: everything}
	w.compare()
	// Everything so far is older than the overlap, and later changes are not.
	w.wait(10 * 24 * time.Hour)
	m, err := generate.NewMutator(rows, generate.MutatorOptions{Seed: seed, Tags: w.tags, Pace: againPace, Late: againLate})
	if err != nil {
		t.Fatal(err)
	}
	for range againPulls() {
		for n, last := 0, w.event(); n < againSteps || w.event() == last; n++ {
			did, err := m.Step()
			if err != nil {
				t.Fatal(err)
			}
			w.note(did)
			t.Log(did)
			changes = append(changes, did)
		}
		w.compare()
	}
	// After a whole sweep nothing may differ, and without changes a pull asks for little.
	for n := range againSweep {
		w.wait(10 * 24 * time.Hour)
		if n == 1 {
			w.asked = [2]int{}
		}
		w.compare()
	}
	w.checkResets()
	if len(w.stale) > 0 {
		t.Fatalf("not swept: %v", w.stale)
	}
	if w.asked[0]*2 > w.asked[1] {
		t.Errorf("nothing changed, but %d builds asked for going on, %d by asking for everything", w.asked[0], w.asked[1])
	}
	return changes
}
