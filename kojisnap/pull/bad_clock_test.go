package pull_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
)

// eventRows returns the hub's events by id.
func eventRows(t *testing.T, rows *hubtest.Memory) map[int64]hubtest.Time {
	t.Helper()
	found, err := rows.Select("events", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := map[int64]hubtest.Time{}
	for _, e := range found {
		at[e["id"].(int64)] = e["time"].(hubtest.Time)
	}
	return at
}

func setEventTime(t *testing.T, rows *hubtest.Memory, id int64, at hubtest.Time) {
	t.Helper()
	if n, err := rows.Update("events", hubtest.Values{"id": id}, hubtest.Values{"time": at}); n != 1 || err != nil {
		t.Fatal(id, n, err)
	}
}

func hours(n int64) hubtest.Time { return hubtest.Time(n * time.Hour.Microseconds()) }

// untag removes the first build from badTag, at a new event.
func untag(t *testing.T, rows *hubtest.Memory, event int64, at hubtest.Time) {
	t.Helper()
	if err := rows.Insert("events", hubtest.Values{"id": event, "time": at}); err != nil {
		t.Fatal(err)
	}
	tag, err := rows.Select("tag", hubtest.Values{"name": badTag})
	if err != nil {
		t.Fatal(err)
	}
	where := hubtest.Values{"tag_id": tag[0]["id"], "active": true}
	tagged, err := rows.Select("tag_listing", where)
	if err != nil || len(tagged) == 0 {
		t.Fatal(len(tagged), err)
	}
	where["build_id"] = tagged[0]["build_id"]
	n, err := rows.Update("tag_listing", where, hubtest.Values{"active": nil, "revoke_event": event, "revoker_id": 1})
	if n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

// logged is a log that a test reads.
type logged struct{ bytes.Buffer }

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&l.Buffer, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// sameView compares the rows of two snapshots, except those of some relations.
func sameView(t *testing.T, got, want *snapfile.Snapshot, but ...string) {
	t.Helper()
	for _, r := range want.Manifest.Relations {
		if slices.Contains(but, r.Name) {
			continue
		}
		if a, b := pulltest.SnapshotRows(t, got, r.Name), pulltest.SnapshotRows(t, want, r.Name); !slices.Equal(a, b) {
			t.Errorf("%s: too many %q, missing %q", r.Name, difference(a, b), difference(b, a))
		}
	}
}

// open runs the pull and opens its snapshot.
func (b badPull) open(t *testing.T) (*pull.Result, *snapfile.Snapshot) {
	t.Helper()
	r, err := b.run()
	if err != nil {
		t.Fatal(err)
	}
	snap, err := repository.Open(t.Context(), b.store, r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	return r, snap
}

// TestPullBase has stores with snapshots that a pull cannot continue: it says why, in one warning, and asks
// for everything. It continues one that it can.
func TestPullBase(t *testing.T) {
	t.Parallel()
	segment := func(t *testing.T, b badPull, snap *snapfile.Snapshot) string {
		return filepath.Join(b.store.String(), snap.Relation("rpminfo").Segments[0].Object())
	}
	for name, test := range map[string]struct {
		spoil func(t *testing.T, b badPull, snap *snapfile.Snapshot, rows *hubtest.Memory)
		says  []string // empty: the pull continues the snapshot
		quiet bool     // it is no candidate, so there is no warning
		event int64
		last  int64 // the last event before the margin
	}{
		"it will do": {},
		"segment damaged": {spoil: func(t *testing.T, b badPull, snap *snapfile.Snapshot, _ *hubtest.Memory) {
			path := segment(t, b, snap)
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			body[len(body)/2] ^= 0xff
			if err := os.WriteFile(path, body, 0o644); err != nil {
				t.Fatal(err)
			}
		}, says: []string{"not going on from a snapshot", "damaged", "segments/"}},
		"segment missing": {spoil: func(t *testing.T, b badPull, snap *snapfile.Snapshot, _ *hubtest.Memory) {
			if err := os.Remove(segment(t, b, snap)); err != nil {
				t.Fatal(err)
			}
		}, says: []string{"not going on from a snapshot", "no such file", "segments/"}},
		"manifest damaged": {spoil: func(t *testing.T, b badPull, snap *snapfile.Snapshot, _ *hubtest.Memory) {
			path := filepath.Join(b.store.String(), "snapshots", snap.ID+".json")
			if err := os.Truncate(path, 200); err != nil {
				t.Fatal(err)
			}
		}, says: []string{"not going on from a snapshot", "damaged", "snapshots/"}},
		"manifest of a newer kojisnap": {spoil: func(t *testing.T, b badPull, snap *snapfile.Snapshot, _ *hubtest.Memory) {
			if err := os.Remove(filepath.Join(b.store.String(), "snapshots", snap.ID+".json")); err != nil {
				t.Fatal(err)
			}
			body := strings.NewReader(`{"format": "kojisnap-snapshot", "version": 99}`)
			if err := b.store.Put(t.Context(), "snapshots/410-0123456789ab.json", body); err != nil {
				t.Fatal(err)
			}
		}, says: []string{"not going on from a snapshot", "410-0123456789ab", "newer"}},
		"its event has another time": {spoil: func(t *testing.T, b badPull, snap *snapfile.Snapshot, rows *hubtest.Memory) {
			setEventTime(t, rows, 410, eventRows(t, rows)[410]-1)
		}, says: []string{"not going on from a snapshot", "event 410 was of", "restored from a backup"}},
		"its event is gone": {spoil: func(t *testing.T, b badPull, snap *snapfile.Snapshot, rows *hubtest.Memory) {
			if n, err := rows.Delete("events", hubtest.Values{"id": 410}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}, says: []string{"not going on from a snapshot", "no event 410 any more", "restored from a backup"}},
		"it is of a later event": {event: 390, quiet: true},
		"it is later than the margin": {spoil: func(t *testing.T, _ badPull, _ *snapfile.Snapshot, rows *hubtest.Memory) {
			for id, at := range eventRows(t, rows) {
				if id > 400 {
					setEventTime(t, rows, id, at+hours(2))
				}
			}
		}, last: 400, says: []string{"not going on from a snapshot", "event 410, later than 400", "margin"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, rows := badHub(t, hubtest.Options{})
			var log logged
			b := badPull{client: through(t, p, eager), store: pulltest.NewStore(t), opt: pull.Options{Event: 410, Log: log.logger()}}
			_, snap := b.open(t)
			if test.spoil != nil {
				test.spoil(t, b, snap, rows)
			}
			b.opt.Event = test.event
			if test.last > 0 {
				b.opt.Margin = time.Since(time.UnixMicro(int64(eventRows(t, rows)[test.last] + hours(1))))
			}
			got, view := b.open(t)
			wantBase := ""
			if test.spoil == nil && !test.quiet {
				wantBase = snap.ID
			}
			if got.Base != wantBase {
				t.Errorf("base %q, want %q", got.Base, wantBase)
			}
			if lines := strings.Count(log.String(), "\n"); len(test.says) == 0 && lines > 0 || len(test.says) > 0 && lines != 1 {
				t.Errorf("%d warnings: %s", lines, &log)
			}
			for _, s := range test.says {
				if !strings.Contains(log.String(), s) {
					t.Errorf("%s does not say %q", &log, s)
				}
			}
			if got.Event == pulltest.LastEvent && got.Base == "" {
				want, err := goodRelations(badTag)
				if err != nil {
					t.Fatal(err)
				}
				differ(t, view.Manifest.Relations, want)
				return
			}
			sameView(t, view, pulltest.Pull(t, b.client, pulltest.NewStore(t), got.Event, badTag))
		})
	}
}

// TestPullClocks continues a snapshot with hubs whose events have odd times, and on machines with a wrong
// clock. The result is that of a full pull.
func TestPullClocks(t *testing.T) {
	t.Parallel()
	const next = pulltest.LastEvent + 1
	// The expected result: hub and machine have the right time.
	p, rows := badHub(t, hubtest.Options{})
	whole := badPull{client: through(t, p, eager), store: pulltest.NewStore(t), opt: pull.Options{Sweep: 1}}
	whole.open(t)
	untag(t, rows, next, eventRows(t, rows)[pulltest.LastEvent]+hours(1))
	whole.opt.Event = next
	_, want := whole.open(t)
	for name, test := range map[string]struct {
		at     func(last hubtest.Time) hubtest.Time     // time of the event after the base's
		events func(t *testing.T, rows *hubtest.Memory) // changes before the base is pulled
		now    func() time.Time                         // this machine's clock at the second pull
		whole  string                                   // the warning with which everything is asked for
	}{
		"an hour earlier":         {at: func(last hubtest.Time) hubtest.Time { return last - hours(1) }},
		"ten years earlier":       {at: func(last hubtest.Time) hubtest.Time { return last - hours(10*365*24) }, whole: "the hub's clock went back: asking for everything"},
		"ten years later":         {at: func(last hubtest.Time) hubtest.Time { return last + hours(10*365*24) }},
		"at the same microsecond": {at: func(last hubtest.Time) hubtest.Time { return last }},
		"the base was of the future": {at: func(last hubtest.Time) hubtest.Time { return last - hours(48) },
			events: func(t *testing.T, rows *hubtest.Memory) {
				setEventTime(t, rows, pulltest.LastEvent, eventRows(t, rows)[pulltest.LastEvent]+hours(40*24))
			}, whole: "the hub's clock went back: asking for everything"},
		"events shuffled": {at: func(last hubtest.Time) hubtest.Time { return last + hours(1) },
			events: func(t *testing.T, rows *hubtest.Memory) {
				at := eventRows(t, rows)
				for id := int64(300); id < pulltest.LastEvent; id++ {
					setEventTime(t, rows, id, at[pulltest.LastEvent]-hours(id*7%13))
				}
			}},
		"here it is 1970": {at: func(last hubtest.Time) hubtest.Time { return last + hours(1) }, now: func() time.Time { return time.Unix(0, 0) }},
		"here it is 2200": {at: func(last hubtest.Time) hubtest.Time { return last + hours(1) }, now: func() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }},
	} {
		t.Run(name, func(t *testing.T) {
			p, rows := badHub(t, hubtest.Options{})
			if test.events != nil {
				test.events(t, rows)
			}
			var log logged
			b := badPull{client: through(t, p, eager), store: pulltest.NewStore(t), opt: pull.Options{Log: log.logger()}}
			base, _ := b.open(t)
			untag(t, rows, next, test.at(eventRows(t, rows)[pulltest.LastEvent]))
			b.opt.Event, b.opt.Now = next, test.now
			got, view := b.open(t)
			if got.Base != base.Snapshot || got.Event != next {
				t.Errorf("base %q, event %d", got.Base, got.Event)
			}
			if said := log.String(); test.whole == "" && said != "" || strings.Count(said, "\n") > 1 || !strings.Contains(said, test.whole) {
				t.Errorf("said %q, want %q", said, test.whole)
			}
			sameView(t, view, want, "events")
			if old, new := base.Rows["tag_listing"], got.Rows["tag_listing"]; new != old-1 {
				t.Errorf("%d builds tagged, before %d", new, old)
			}
		})
	}
}

// TestPullLastEventGoesDown: the hub's clock, which selects the event, goes back between two pulls. The
// second pull has an earlier event, continues nothing, and is right.
func TestPullLastEventGoesDown(t *testing.T) {
	t.Parallel()
	p, rows := badHub(t, hubtest.Options{})
	setEventTime(t, rows, pulltest.LastEvent, eventRows(t, rows)[pulltest.LastEvent]+hours(1000))
	at := eventRows(t, rows)
	date := func(event int64) string {
		return time.UnixMicro(int64(at[event])).Add(2 * time.Second).UTC().Format(http.TimeFormat)
	}
	now := date(pulltest.LastEvent)
	p.after = func(x *exchange) { x.header.Set("Date", now) }
	b := badPull{client: through(t, p, eager), store: pulltest.NewStore(t), opt: pull.Options{Margin: -1}}
	events := []int64{}
	for range 2 {
		b.opt.Tags = []string{badTag}
		r, err := pull.Pull(t.Context(), b.client, b.store, b.opt)
		if err != nil {
			t.Fatal(err)
		}
		if r.Base != "" {
			t.Errorf("base %q", r.Base)
		}
		events = append(events, r.Event)
		snap, err := repository.Open(t.Context(), b.store, r.Snapshot)
		if err != nil {
			t.Fatal(err)
		}
		sameView(t, snap, pulltest.Pull(t, b.client, pulltest.NewStore(t), r.Event, badTag))
		now = date(100)
	}
	if events[0] != pulltest.LastEvent || events[1] >= pulltest.LastEvent {
		t.Errorf("events %v", events)
	}
	latest, err := repository.Open(t.Context(), b.store, "latest")
	if err != nil || latest.Manifest.Event != events[0] {
		t.Errorf("latest is of event %d, %v", latest.Manifest.Event, err)
	}

	// A clock before all events, and none.
	for date, says := range map[string]string{
		"Thu, 01 Jan 1970 00:00:10 GMT": "has no event older than 1970-01-01T00:00:",
		"the day before yesterday":      "its replies have no Date",
	} {
		p, _ := badHub(t, hubtest.Options{})
		p.after = func(x *exchange) { x.header.Set("Date", date) }
		b := badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}
		_, err := pull.Pull(t.Context(), b.client, b.store, pull.Options{Tags: []string{badTag}, Margin: -1})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", date, err)
		}
	}
}
