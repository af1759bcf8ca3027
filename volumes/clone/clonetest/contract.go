package clonetest

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"kojisnap/volumes/clone"
)

// Env is the environment for which Contract makes clones.
const Env = "stg-2"

// ID returns an id of Env.
func ID(event int64) clone.ID {
	return clone.ID{Env: Env, Event: event, Time: time.Date(2026, 11, 29, 20, 0, int(event), 0, time.UTC)}
}

// Contract holds a provider for Env to what clone.Provider promises. tree is production's, with the rpms. busy says that
// the provider knows of open files.
func Contract(t *testing.T, p clone.Provider, tree string, rpms []string, busy bool) {
	ctx := t.Context()
	before := List(t, tree)
	list := func(want ...string) {
		t.Helper()
		have, err := p.List(ctx)
		must(t, err)
		ids := []string{}
		for _, c := range have {
			ids = append(ids, c.ID)
		}
		if want == nil {
			want = []string{}
		}
		if !reflect.DeepEqual(ids, want) {
			t.Errorf("list: %q, want %q", ids, want)
		}
	}
	list()
	a, err := p.Create(ctx, ID(7))
	must(t, err)
	again, err := p.Create(ctx, ID(7))
	must(t, err)
	if a.ID != ID(7).String() || !reflect.DeepEqual(a, again) {
		t.Errorf("the same id again: %+v, then %+v", a, again)
	}
	path, err := p.Mount(ctx, a)
	must(t, err)
	if second, err := p.Mount(ctx, a); err != nil || second != path {
		t.Errorf("mounted again: %q, %v; want %q", second, err, path)
	}
	for _, rel := range rpms {
		want, err := os.ReadFile(filepath.Join(tree, rel))
		must(t, err)
		if have, err := os.ReadFile(filepath.Join(path, rel)); err != nil || string(have) != string(want) {
			t.Fatalf("%s in the clone: %d bytes, %v", rel, len(have), err)
		}
	}
	// What is written, linked and removed in a clone is there alone.
	must(t, os.Mkdir(filepath.Join(path, "compose"), 0o755))
	must(t, os.Link(filepath.Join(path, rpms[0]), filepath.Join(path, "compose/a.rpm")))
	must(t, os.Remove(filepath.Join(path, rpms[1])))
	must(t, os.WriteFile(filepath.Join(path, rpms[2]), []byte("other"), 0o644))
	b, err := p.Create(ctx, ID(8))
	must(t, err)
	other, err := p.Mount(ctx, b)
	must(t, err)
	if other == path {
		t.Fatal("two clones are at one place")
	}
	if _, err := os.Stat(filepath.Join(other, rpms[1])); err != nil {
		t.Error("a second clone lacks what was removed in the first one")
	}
	if _, err := os.Stat(filepath.Join(other, "compose")); err == nil {
		t.Error("a second clone has what was made in the first one")
	}
	list(ID(7).String(), ID(8).String())
	if after := List(t, tree); after != before {
		t.Error("production's tree changed")
	}
	if busy {
		f, err := os.Open(filepath.Join(path, rpms[0]))
		must(t, err)
		if err := p.Discard(ctx, a); !errors.Is(err, clone.ErrBusy) {
			t.Errorf("a file is open in the clone: %v", err)
		}
		if _, err := os.Stat(filepath.Join(path, rpms[0])); err != nil {
			t.Errorf("after a refusal: %v", err)
		}
		must(t, f.Close())
	}
	must(t, p.Discard(ctx, a))
	must(t, p.Discard(ctx, a)) // one that is gone
	list(ID(8).String())
	if _, err := os.Stat(filepath.Join(other, rpms[1])); err != nil {
		t.Errorf("the other clone: %v", err)
	}
	for _, hostile := range []string{"", "..", "../" + ID(8).String(), "prod-1-20261129t200000z", "stg-2-1-now", ID(8).String() + "/x"} {
		if err := p.Discard(ctx, clone.Clone{ID: hostile}); err == nil {
			t.Errorf("discarded %q", hostile)
		}
	}
	must(t, p.Discard(ctx, b))
	list()
	if after := List(t, tree); after != before {
		t.Error("production's tree changed")
	}
}
