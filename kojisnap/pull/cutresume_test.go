package pull_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/store/dir"
)

// TestPullGoesOnOrNot interrupts a pull, changes something, and pulls again: the pull is resumed or not.
func TestPullGoesOnOrNot(t *testing.T) {
	w := newCutHub(t, pull.Options{Margin: -1, Sweep: 3, Overlap: 5 * time.Second}.WithPager(pager.Options{Batch: 50}))
	base := pulltest.NewStore(t)
	w.whole(t, base)
	w.change(t, 20)
	at := &changingHub{t: t, rows: w.rows}
	event := at.event()
	want, needed := w.whole(t, copyOf(t, base))
	w.gate.set(len(needed)-1, func() bool { return true })
	cutOff := copyOf(t, base)
	if _, err := w.pull(t.Context(), t, cutOff); err == nil {
		t.Fatal("not cut off")
	}
	at.wait(time.Minute)
	set := func(t *testing.T, values hubtest.Values) {
		t.Helper()
		if n, err := w.rows.Update("events", hubtest.Values{"id": event}, values); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	row, err := w.rows.Select("events", hubtest.Values{"id": event})
	if err != nil || len(row) != 1 {
		t.Fatal(row, err)
	}
	const no, yes, damaged = "no", "yes", "yes, but parts are damaged"
	for name, test := range map[string]struct {
		goesOn string
		change func(t *testing.T, w *cutHub, s *dir.Store)
	}{
		"at once":             {yes, func(*testing.T, *cutHub, *dir.Store) {}},
		"eleven hours":        {yes, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.later(11 * time.Hour) }},
		"twelve hours":        {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.later(12 * time.Hour) }},
		"the clock went back": {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.later(-12 * time.Hour) }},
		"another sweep":       {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.opt.Sweep = 2 }},
		"another overlap":     {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.opt.Overlap = 6 * time.Second }},
		"full":                {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.opt.Full = true }},
		"another event":       {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.opt.Event = event - 1 }},
		"the same event":      {yes, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.opt.Event = event }},
		"another Koji": {no, func(t *testing.T, w *cutHub, _ *dir.Store) {
			was := w.gate.hub
			w.gate.hub = hubtest.New(w.rows, hubtest.Options{KojiVersion: "1.35.4"})
			t.Cleanup(func() { w.gate.hub = was })
		}},
		"the base is gone": {no, func(t *testing.T, _ *cutHub, s *dir.Store) { removeAll(t, s, "snapshots/") }},
		"a snapshot in between": {no, func(t *testing.T, w *cutHub, s *dir.Store) {
			between := *w
			between.opt.Event, between.opt.Full = event-1, true
			putBack := remember(t, s, "pulls/") // Pull removes them, but that of another version may not
			between.whole(t, s)
			putBack()
		}},
		"a later snapshot": {no, func(t *testing.T, w *cutHub, s *dir.Store) {
			later := *w
			later.opt.Event, later.opt.Full = event+1, true
			putBack := remember(t, s, "pulls/")
			later.whole(t, s)
			putBack()
		}},
		"another history": {no, func(t *testing.T, _ *cutHub, _ *dir.Store) {
			set(t, hubtest.Values{"time": row[0]["time"].(hubtest.Time) + 1})
			t.Cleanup(func() { set(t, row[0]) })
		}},
		"the event is gone": {no, func(t *testing.T, w *cutHub, _ *dir.Store) {
			set(t, hubtest.Values{"id": event + 2})
			t.Cleanup(func() {
				if n, err := w.rows.Update("events", hubtest.Values{"id": event + 2}, row[0]); n != 1 || err != nil {
					t.Error(n, err)
				}
			})
		}},
		"parts are damaged": {damaged, func(t *testing.T, _ *cutHub, s *dir.Store) {
			damage(t, s, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}},
		"parts are cut short": {damaged, func(t *testing.T, _ *cutHub, s *dir.Store) {
			damage(t, s, func(b []byte) []byte { return b[:len(b)-1] })
		}},
		"parts are empty": {damaged, func(t *testing.T, _ *cutHub, s *dir.Store) { damage(t, s, func([]byte) []byte { return nil }) }},
		"parts are gone":  {damaged, func(t *testing.T, _ *cutHub, s *dir.Store) { damage(t, s, nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := *w, copyOf(t, cutOff)
			test.change(t, &w, s)
			got, methods := w.whole(t, s)
			if went := got.Manifest.Event == event; went != (test.goesOn != no) {
				t.Errorf("event %d, the one that was cut off was at %d", got.Manifest.Event, event)
			}
			if asked := slices.Contains(methods, "listChannels"); asked != (test.goesOn != yes) {
				t.Errorf("asked for %v", count(methods))
			}
			if test.goesOn != no && !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) {
				t.Error("not what a pull at once gives")
			}
			if left, err := s.List(t.Context(), "pulls/"); err != nil || len(left) > 0 {
				t.Errorf("%d objects stay, %v", len(left), err)
			}
		})
	}
}

// remember returns a function that restores objects.
func remember(t *testing.T, s *dir.Store, prefix string) func() {
	t.Helper()
	saved := copyOf(t, s)
	return func() {
		t.Helper()
		all, err := saved.List(t.Context(), prefix)
		if err != nil || len(all) == 0 {
			t.Fatal(len(all), err)
		}
		for _, e := range all {
			body, err := os.ReadFile(filepath.Join(saved.String(), filepath.FromSlash(e.Name)))
			if err == nil {
				err = s.Put(t.Context(), e.Name, bytes.NewReader(body))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (w *cutHub) later(d time.Duration) {
	at := w.opt.Now().Add(d)
	w.opt.Now = func() time.Time { return at }
}

func removeAll(t *testing.T, s *dir.Store, prefix string) {
	t.Helper()
	all, err := s.List(t.Context(), prefix)
	if err != nil || len(all) == 0 {
		t.Fatal(len(all), err)
	}
	for _, e := range all {
		if err := s.Delete(t.Context(), e.Name); err != nil {
			t.Fatal(err)
		}
	}
}

// damage changes or removes all parts in a store.
func damage(t *testing.T, s *dir.Store, how func([]byte) []byte) {
	t.Helper()
	all, err := s.List(t.Context(), "pulls/")
	if err != nil || len(all) < 5 {
		t.Fatal(len(all), err)
	}
	for _, e := range all {
		path := filepath.Join(s.String(), filepath.FromSlash(e.Name))
		switch {
		case strings.HasSuffix(e.Name, "/state"):
		case how == nil:
			err = os.Remove(path)
		default:
			var body []byte
			if body, err = os.ReadFile(path); err == nil {
				err = os.WriteFile(path, how(body), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
