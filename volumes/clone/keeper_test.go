package clone_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"kojisnap/kojisnap/lockfile"
	"kojisnap/volumes/clone"
	"kojisnap/volumes/clone/clonetest"
	"kojisnap/volumes/clone/overlay"
	"kojisnap/volumes/topdir"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is a staging topdir, production's tree and clones of that on a disk of its own.
type site struct {
	disk, top, tree, source string
	rpms                    []string
}

func newSite(t testing.TB) *site {
	t.Helper()
	disk := clonetest.Disk(t, "xfs", 500<<20)
	s := &site{disk: disk, top: filepath.Join(disk, "staging"), tree: filepath.Join(disk, "koji")}
	must(t, os.Mkdir(s.top, 0o755))
	s.rpms = clonetest.Tree(t, s.tree, 5, 1<<20)
	s.source = clonetest.ReadOnly(t, s.tree)
	return s
}

// keeper keeps clones by overlay. The event of the hour makes ids differ.
func (s *site) keeper(t testing.TB, hook func(string) error) *clone.Keeper {
	t.Helper()
	return keeperOf(s.top, s.source, s.tree, filepath.Join(s.disk, "clones"), hook)
}

func keeperOf(top, source, tree, dir string, hook func(string) error) *clone.Keeper {
	p, err := overlay.New(overlay.Options{Env: "stg", Dir: dir, Lower: tree, LiveLower: true, Hook: hook})
	if err != nil {
		panic(err)
	}
	return &clone.Keeper{Topdir: top, Volume: "prod", Env: "stg", Source: source, ProviderName: overlay.Name, Provider: p, Keep: 1, Compose: "compose", Hook: hook}
}

// shows returns what the volume shows: the id of a clone, or the target.
func (s *site) shows(t testing.TB) string {
	t.Helper()
	target, err := os.Readlink(filepath.Join(s.top, "vol/prod/packages"))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	must(t, err)
	if n, err := clone.Current(s.top, "prod"); err != nil {
		t.Fatal(err)
	} else if n != nil {
		return n.ID
	}
	return target
}

// The whole life of clones: made, shown, kept for composes, discarded, led back.
func TestKeeper(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	k := s.keeper(t, nil)
	before := clonetest.List(t, s.tree)
	var made []*clone.Cloned
	for event := int64(10); event < 14; event++ {
		m, err := k.Make(ctx, event, "E-000000000000")
		must(t, err)
		if event > 10 && m.Previous != made[len(made)-1].ID || m.Resumed {
			t.Errorf("made %+v", m)
		}
		if got := s.shows(t); got != m.ID {
			t.Fatalf("the volume shows %q, want %q", got, m.ID)
		}
		if point, err := os.Readlink(filepath.Join(s.top, ".kojisnap/clone")); err != nil || point != m.Path || m.Compose != m.Path+"/compose" {
			t.Errorf("the pointer leads to %q, %v; made %+v", point, err, m)
		}
		// Composes link inside the clone, from the path that Koji has.
		must(t, os.Link(filepath.Join(s.top, "vol/prod", s.rpms[0]), filepath.Join(m.Compose, "a.rpm")))
		made = append(made, m)
	}
	// A compose works in the second one.
	f, err := os.Open(filepath.Join(made[1].Compose, "a.rpm"))
	must(t, err)
	d, err := k.Retire(ctx)
	must(t, err)
	if want := (&clone.Discarded{Discarded: []string{made[0].ID}, Busy: []string{made[1].ID}}); !reflect.DeepEqual(d, want) {
		t.Errorf("retired %+v, want %+v", d, want)
	}
	must(t, f.Close())
	d, err = k.Retire(ctx)
	must(t, err)
	if want := (&clone.Discarded{Discarded: []string{made[1].ID}}); !reflect.DeepEqual(d, want) {
		t.Errorf("retired %+v, want %+v", d, want)
	}
	if _, err := os.Stat(filepath.Join(made[2].Compose, "a.rpm")); err != nil {
		t.Errorf("the clone that is kept: %v", err)
	}
	list, err := k.List(ctx)
	must(t, err)
	if len(list) != 2 || list[0].ID != made[2].ID || list[0].State != "kept" || list[1].ID != made[3].ID || list[1].State != "in use" || list[1].Trouble != "" || list[1].Event != 13 {
		t.Errorf("list %+v", list)
	}
	var used *clone.UsedError
	if err := k.Discard(ctx, made[3].ID, false); !errors.As(err, &used) {
		t.Errorf("the clone in use: %v", err)
	}
	if err := k.Discard(ctx, made[0].ID, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a clone that is gone: %v", err)
	}
	must(t, k.Discard(ctx, made[2].ID, false))
	must(t, k.Discard(ctx, made[3].ID, true))
	if got := s.shows(t); got != s.source+"/packages" {
		t.Errorf("led back to %q", got)
	}
	if left, err := os.ReadDir(filepath.Join(s.disk, "clones")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if notes, err := clone.Notes(s.top); err != nil || len(notes) != 0 {
		t.Errorf("notes left: %v, %v", notes, err)
	}
	if clonetest.List(t, s.tree) != before {
		t.Error("production's tree changed")
	}
}

// Two at once: the second is told that the topdir is locked.
func TestTwoAtOnce(t *testing.T) {
	s := newSite(t)
	var second error
	k := s.keeper(t, func(step string) error {
		if step == "create" {
			_, second = s.keeper(t, nil).Make(t.Context(), 11, "")
		}
		return nil
	})
	m, err := k.Make(t.Context(), 10, "")
	must(t, err)
	if !errors.Is(second, lockfile.ErrLocked) || s.shows(t) != m.ID {
		t.Errorf("the second: %v; shown is %s", second, s.shows(t))
	}
}

// An error before the switch leaves all as it was, and the next run of another event discards what was begun.
func TestFailedBeforeSwitch(t *testing.T) {
	s := newSite(t)
	first, err := s.keeper(t, nil).Make(t.Context(), 10, "")
	must(t, err)
	for _, step := range []string{"note", "directory", "probe", "create", "mount", "compose", "built", "intent"} {
		failure := errors.New("no")
		k := s.keeper(t, func(name string) error {
			if name == step {
				return failure
			}
			return nil
		})
		if _, err := k.Make(t.Context(), 11, ""); !errors.Is(err, failure) || s.shows(t) != first.ID {
			t.Errorf("%s: %v; shown is %s", step, err, s.shows(t))
		}
	}
	k := s.keeper(t, nil)
	if first, err = k.Make(t.Context(), 12, ""); err != nil {
		t.Fatal(err)
	}
	k.Keep = 0
	if _, err := k.Retire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Join(s.disk, "clones")); err != nil || len(entries) != 1 || entries[0].Name() != first.ID {
		t.Errorf("there are %v, %v", entries, err)
	}
}

// What kojisnap did not put at vol/prod stays, and clones whose directory is removed by hand are told, and forgotten.
func TestHands(t *testing.T) {
	s := newSite(t)
	must(t, os.MkdirAll(filepath.Join(s.top, "vol/prod"), 0o755))
	other := t.TempDir()
	must(t, os.Symlink(other, filepath.Join(s.top, "vol/prod/packages")))
	k := s.keeper(t, nil)
	if _, err := k.Make(t.Context(), 10, ""); err == nil || !strings.Contains(err.Error(), "was not made by kojisnap") {
		t.Errorf("another's symlink: %v", err)
	}
	if got := s.shows(t); got != other {
		t.Errorf("shown is %q", got)
	}
	must(t, os.Remove(filepath.Join(s.top, "vol/prod/packages")))
	m, err := k.Make(t.Context(), 10, "")
	must(t, err)
	clonetest.UnmountAll(t, m.Path)
	n, err := clone.Current(s.top, "prod")
	must(t, err)
	if err := n.Check(); err == nil || !strings.Contains(err.Error(), "kojisnap clones --mount") {
		t.Errorf("after a reboot: %v", err)
	}
	must(t, k.Remount(t.Context()))
	must(t, n.Check())
	clonetest.UnmountAll(t, m.Path)
	must(t, os.RemoveAll(filepath.Dir(m.Path)))
	if err := n.Check(); err == nil {
		t.Error("a clone that was removed by hand is well")
	}
	list, err := k.List(t.Context())
	must(t, err)
	if len(list) != 1 || list[0].State != "in use" || !strings.Contains(list[0].Trouble, "was removed") {
		t.Errorf("list %+v", list)
	}
	next, err := k.Make(t.Context(), 10, "")
	must(t, err)
	must(t, k.Discard(t.Context(), m.ID, false))
	if s.shows(t) != next.ID {
		t.Errorf("shown is %s", s.shows(t))
	}
	// A damaged note is named, and nothing is removed.
	bad := filepath.Join(s.top, ".kojisnap/clones", m.ID+".json")
	must(t, os.WriteFile(bad, []byte(`{"format":1,"id":"../../x"}`), 0o644))
	if _, err := k.Retire(t.Context()); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("a damaged note: %v", err)
	}
}

// answers is a provider that gives what it is told.
type answers struct {
	clone clone.Clone
	path  string
}

func (a answers) Create(context.Context, clone.ID) (clone.Clone, error) { return a.clone, nil }
func (a answers) Mount(context.Context, clone.Clone) (string, error)    { return a.path, nil }
func (a answers) List(context.Context) ([]clone.Clone, error)           { return nil, nil }
func (a answers) Discard(context.Context, clone.Clone) error            { return nil }

// A provider that answers with what is no clone of production's tree changes nothing below vol.
func TestNonsense(t *testing.T) {
	s := newSite(t)
	empty := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(empty, "packages"), 0o755))
	linked := t.TempDir()
	clonetest.Tree(t, linked, 1, 10)
	must(t, os.Symlink(s.top, filepath.Join(linked, "compose")))
	at := time.Date(2026, 11, 29, 20, 0, 0, 0, time.UTC)
	id, err := clone.NewID("stg", 10, at)
	must(t, err)
	for name, c := range map[string]struct {
		id, path, want string
	}{
		"another id":      {"stg-11-20261129t200000z", s.tree, "answered with clone"},
		"a relative path": {id.String(), "koji", "want an absolute path"},
		"a line break":    {id.String(), "/a\nb", "want an absolute path"},
		"absent":          {id.String(), filepath.Join(empty, "x"), "does not exist"},
		"another tree":    {id.String(), os.TempDir(), "is not laid out"},
		"empty":           {id.String(), empty, "is empty"},
		"topdir":          {id.String(), s.top, "not production's tree"},
		"read-only":       {id.String(), s.source, "read-only"},
		"a symlink":       {id.String(), linked, "no directory"},
	} {
		k := s.keeper(t, nil)
		k.Provider, k.Now = answers{clone.Clone{ID: c.id}, c.path}, func() time.Time { return at }
		if _, err := k.Make(t.Context(), 10, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if got := s.shows(t); got != "" {
			t.Errorf("%s: the volume shows %q", name, got)
		}
	}
}

// Ids are read back as they are written; others are refused.
func TestID(t *testing.T) {
	now := time.Date(2026, 11, 29, 20, 21, 22, 5, time.FixedZone("", 3600))
	for _, env := range []string{"stg", "stg-2", "a_b", "stg-1-20261129t202122z", "-"} {
		id, err := clone.NewID(env, 412345, now)
		must(t, err)
		if want := env + "-412345-20261129t192122z"; id.String() != want {
			t.Errorf("%s, want %s", id, want)
		}
		if back, err := clone.ParseID(id.String()); err != nil || back != id {
			t.Errorf("%s is read as %+v, %v", id, back, err)
		}
	}
	for _, bad := range []string{"", "Stg-1-20261129t192122z", "stg/-1-20261129t192122z", "-1-20261129t192122z", "stg--20261129t192122z", "stg-1-20261329t192122z",
		"stg-1-20261129t192122z\n", "../stg-1-20261129t192122z", "stg-99999999999999999999-20261129t192122z", "stg-1-20261129T192122Z"} {
		if id, err := clone.ParseID(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, id)
		}
	}
	if _, err := clone.NewID("", 1, now); err == nil {
		t.Error("an id without an environment")
	}
	if _, err := clone.NewID("stg", -1, now); err == nil {
		t.Error("an id of a negative event")
	}
}

// The directory for composes is its owner's.
func TestComposeOwner(t *testing.T) {
	s := newSite(t)
	k := s.keeper(t, nil)
	k.ComposeOwner = &topdir.Owner{UID: 4848, GID: 4849}
	m, err := k.Make(t.Context(), 10, "")
	must(t, err)
	info, err := os.Stat(m.Compose)
	must(t, err)
	if got := fmt.Sprint(topdir.Owner{UID: int(statOf(info).Uid), GID: int(statOf(info).Gid)}); got != "4848:4849" {
		t.Errorf("owner %s", got)
	}
}

func statOf(info fs.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }
