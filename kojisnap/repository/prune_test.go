package repository_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/s3/s3test"
)

// tampered is a store whose clock and operations a test decides.
type tampered struct {
	store.Store
	age    time.Duration               // by which segments, signatures, and what is left of pulls, look older
	before func(op, name string) error // called first; its error is the operation's
}

func (s *tampered) hook(op, name string) error {
	if s.before == nil {
		return nil
	}
	return s.before(op, name)
}

func (s *tampered) Put(ctx context.Context, name string, src io.ReadSeeker) error {
	if err := s.hook("put", name); err != nil {
		return err
	}
	return s.Store.Put(ctx, name, src)
}

func (s *tampered) Create(ctx context.Context, name string, src io.ReadSeeker) error {
	if err := s.hook("create", name); err != nil {
		return err
	}
	return s.Store.(store.Creator).Create(ctx, name, src)
}

func (s *tampered) Delete(ctx context.Context, name string) error {
	if err := s.hook("delete", name); err != nil {
		return err
	}
	return s.Store.Delete(ctx, name)
}

func (s *tampered) Clean(ctx context.Context, prefix string, before time.Time, remove bool) ([]string, error) {
	if err := s.hook("clean", prefix); err != nil {
		return nil, err
	}
	return s.Store.(store.Cleaner).Clean(ctx, prefix, before.Add(s.age), remove)
}

// List shows objects as old as the test wants them.
func (s *tampered) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	entries, err := s.Store.List(ctx, prefix)
	for i := range entries {
		if strings.HasPrefix(entries[i].Name, "segments/") || strings.HasPrefix(entries[i].Name, "pulls/") || strings.HasSuffix(entries[i].Name, ".sig") {
			entries[i].ModTime = entries[i].ModTime.Add(-s.age)
		}
	}
	return entries, err
}

// eachStore runs a test on a directory and on an S3 server.
func eachStore(t *testing.T, test func(t *testing.T, open func(t *testing.T) store.Store)) {
	t.Run("dir", func(t *testing.T) {
		test(t, func(t *testing.T) store.Store { return pulltest.NewStore(t) })
	})
	t.Run("s3", func(t *testing.T) {
		srv := s3test.Start(t)
		test(t, func(t *testing.T) store.Store { return srv.Open(t) })
	})
}

// pullTo pulls from a hub of its own: a snapshot of an earlier call is no base.
func pullTo(t testing.TB, s store.Store, event int64, log *slog.Logger) string {
	t.Helper()
	c, _ := pulltest.Production(t, hubtest.Options{})
	return pullFrom(t, c, s, event, log)
}

func pullFrom(t testing.TB, c *hub.Client, s store.Store, event int64, log *slog.Logger) string {
	t.Helper()
	r, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: []string{"f42-compose"}, Event: event, Program: "test", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return r.Snapshot
}

func objects(t testing.TB, s store.Store, prefix string) []string {
	t.Helper()
	entries, err := s.List(context.Background(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name)
	}
	return list
}

// checkWhole reads every row of every snapshot, and returns the segments that they name.
func checkWhole(t testing.TB, s store.Store) (segments []string) {
	t.Helper()
	ctx := context.Background()
	all, err := repository.Snapshots(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, snap := range all {
		for _, rel := range relation.All() {
			for _, rows := range []*snapfile.Rows{snap.Rows(ctx, rel.Name), snap.Revoked(ctx, rel.Name)} {
				for rows.Next() {
				}
				if rows.Err() != nil {
					t.Errorf("snapshot %s, %s: %v", snap.ID, rel.Name, rows.Err())
				}
				rows.Close()
			}
			r := snap.Relation(rel.Name)
			for _, seg := range slices.Concat(r.Segments, r.Revoked) {
				segments = append(segments, seg.Object())
			}
		}
	}
	slices.Sort(segments)
	return slices.Compact(segments)
}

func TestPrune(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := &tampered{Store: open(t), age: 48 * time.Hour}
		ids := []string{pullTo(t, s, 300, nil), pullTo(t, s, 390, nil), pullTo(t, s, pulltest.LastEvent, nil)}
		if err := s.Put(t.Context(), "ledgers/stg", strings.NewReader("a ledger")); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), "segments/notes.txt", strings.NewReader("somebody's own")); err != nil {
			t.Fatal(err)
		}
		before := objects(t, s, "")
		dry, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		if after := objects(t, s, ""); !reflect.DeepEqual(after, before) {
			t.Fatalf("a dry run left %q of %q", after, before)
		}
		var order []string
		s.before = func(op, name string) error {
			if op == "delete" {
				order = append(order, strings.Split(name, "/")[0])
			}
			return nil
		}
		got, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, dry) {
			t.Errorf("done: %+v\nsaid: %+v", got, dry)
		}
		if !slices.Equal(got.Kept, ids[2:]) || !slices.Equal(got.Removed, []string{ids[1], ids[0]}) || len(got.Segments) == 0 || got.Bytes <= 0 {
			t.Errorf("%+v, of %q", got, ids)
		}
		want := []string{"ledgers/stg", "segments/notes.txt", "snapshots/" + ids[2] + ".json"}
		want = append(want, checkWhole(t, s)...)
		slices.Sort(want)
		if left := objects(t, s, ""); !slices.Equal(left, want) {
			t.Errorf("left:\n%s\nwant:\n%s", strings.Join(left, "\n"), strings.Join(want, "\n"))
		}
		if !slices.Equal(slices.Compact(order), []string{"snapshots", "segments", "locks"}) {
			t.Errorf("removed in the order of %q", order)
		}
		again, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
		if err != nil || len(again.Removed)+len(again.Segments) > 0 {
			t.Errorf("again: %+v, %v", again, err)
		}
	})
}

func TestPruneYoung(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := &tampered{Store: open(t)}
		pullTo(t, s, 300, nil)
		first := checkWhole(t, s)
		latest := pullTo(t, s, pulltest.LastEvent, nil)
		prune := func() *repository.PruneResult {
			t.Helper()
			r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		r := prune()
		needed := checkWhole(t, s)
		unneeded := slices.DeleteFunc(first, func(name string) bool { return slices.Contains(needed, name) })
		if len(unneeded) == 0 || len(r.Segments) != 0 || r.Young != len(unneeded) || len(r.Removed) != 1 {
			t.Errorf("of %d young segments: %+v", len(unneeded), r)
		}
		s.age = repository.PruneAge - time.Hour
		if r := prune(); r.Young != len(unneeded) || len(r.Segments) != 0 {
			t.Errorf("after 23 hours: %+v", r)
		}
		s.age = repository.PruneAge
		if r := prune(); !slices.Equal(r.Segments, unneeded) || r.Young != 0 || !slices.Equal(r.Kept, []string{latest}) {
			t.Errorf("after 24 hours: %+v, want %q", r, unneeded)
		}
	})
}

// TestPruneAgeOfFiles has the times from the file system itself.
func TestPruneAgeOfFiles(t *testing.T) {
	s := pulltest.NewStore(t)
	pullTo(t, s, 300, nil)
	old := checkWhole(t, s)
	pullTo(t, s, pulltest.LastEvent, nil)
	for _, name := range old {
		long := time.Now().Add(-25 * time.Hour)
		if err := os.Chtimes(filepath.Join(s.String(), name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
	if err != nil {
		t.Fatal(err)
	}
	needed := checkWhole(t, s)
	unneeded := slices.DeleteFunc(old, func(name string) bool { return slices.Contains(needed, name) })
	if len(unneeded) == 0 || !slices.Equal(r.Segments, unneeded) {
		t.Errorf("removed %q, want %q", r.Segments, unneeded)
	}
}

// TestPruneKilled ends a prune before each of its operations that change the store.
func TestPruneKilled(t *testing.T) {
	killed := errors.New("killed")
	full := pulltest.NewStore(t)
	pullTo(t, full, 300, nil)
	pullTo(t, full, 390, nil)
	latest := pullTo(t, full, pulltest.LastEvent, nil)
	for n := 0; ; n++ {
		again := pulltest.NewStore(t)
		if err := os.CopyFS(again.String(), os.DirFS(full.String())); err != nil {
			t.Fatal(err)
		}
		s := &tampered{Store: again, age: 48 * time.Hour}
		ops := 0
		s.before = func(op, name string) error {
			if ops++; ops > n {
				return killed
			}
			return nil
		}
		_, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
		s.before = nil
		checkWhole(t, s)
		if err != nil && !errors.Is(err, killed) {
			t.Fatal(err)
		}
		r, next := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
		if next != nil || !slices.Equal(r.Kept, []string{latest}) {
			t.Fatalf("operation %d: the next prune: %+v, %v", n, r, next)
		}
		if got, want := objects(t, s, "segments/"), checkWhole(t, s); !slices.Equal(got, want) {
			t.Fatalf("operation %d: the next prune left %q, want %q", n, got, want)
		}
		if err == nil && ops <= n {
			if n < 4 {
				t.Fatalf("the prune had %d operations only", n)
			}
			return
		}
	}
}

// TestPruneWhilePulling prunes at each write of a pull that counts on an older snapshot's
// segments.
func TestPruneWhilePulling(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		for _, when := range []string{"put segments/", "create snapshots/", "delete locks/"} {
			t.Run(when, func(t *testing.T) {
				s := &tampered{Store: open(t), age: 48 * time.Hour}
				c, _ := pulltest.Production(t, hubtest.Options{})
				pullFrom(t, c, s, 300, nil)
				other := &tampered{Store: s.Store, age: s.age}
				var r *repository.PruneResult
				var once sync.Once // a pull writes some segments at the same time
				s.before = func(op, name string) (err error) {
					if !strings.HasPrefix(op+" "+name, when) {
						return nil
					}
					once.Do(func() {
						// A newer snapshot, so that prune removes the one that the pull counts on.
						_, err = pull.Pull(t.Context(), c, other, pull.Options{Tags: []string{"f43-build"}, Event: pulltest.LastEvent, Program: "test"})
						if err == nil {
							r, err = repository.Prune(t.Context(), other, repository.PruneOptions{Keep: 1})
						}
					})
					return err
				}
				pullFrom(t, c, s, 390, nil)
				if r == nil || !r.Writing || len(r.Segments) > 0 || len(r.Removed) == 0 {
					t.Errorf("prune: %+v", r)
				}
				checkWhole(t, s)
			})
		}
	})
}

// TestPullWhilePruning pulls when a prune is about to remove segments that the pull needs.
func TestPullWhilePruning(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := &tampered{Store: open(t), age: 48 * time.Hour}
		pullTo(t, s, 300, nil)
		pullTo(t, s, pulltest.LastEvent, nil)
		waiting := make(chan struct{})
		log := slog.New(onMessage{"the store is being pruned: waiting", waiting})
		var pulled sync.WaitGroup
		var once sync.Once
		s.before = func(op, name string) error {
			if op == "delete" && strings.HasPrefix(name, "segments/") {
				once.Do(func() {
					pulled.Go(func() { pullTo(t, &tampered{Store: s.Store}, 300, log) })
					<-waiting
				})
			}
			return nil
		}
		r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
		if err != nil {
			t.Fatal(err)
		}
		pulled.Wait()
		if len(r.Segments) == 0 {
			t.Errorf("the prune removed nothing: %+v", r)
		}
		checkWhole(t, s)
		if got := objects(t, s, "snapshots/"); len(got) != 2 {
			t.Errorf("snapshots: %q", got)
		}
		if left := objects(t, s, "locks/"); len(left) != 0 {
			t.Errorf("leases left: %q", left)
		}
	})
}

// onMessage closes a channel at the first message with a text.
type onMessage struct {
	text string
	seen chan struct{}
}

func (onMessage) Enabled(context.Context, slog.Level) bool { return true }
func (h onMessage) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.text {
		close(h.seen)
	}
	return nil
}
func (h onMessage) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h onMessage) WithGroup(string) slog.Handler      { return h }

// TestLeasesOfTheDead: what was killed hinders nobody for ever.
func TestLeasesOfTheDead(t *testing.T) {
	s := pulltest.NewStore(t)
	pullTo(t, s, 300, nil)
	lease := func(name string, age time.Duration) {
		t.Helper()
		if err := s.Put(t.Context(), name, strings.NewReader("gone 1\n")); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(s.String(), name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	lease("locks/prune-dead", 11*time.Minute)
	pullTo(t, s, pulltest.LastEvent, nil) // does not wait
	prune := func() *repository.PruneResult {
		t.Helper()
		r, err := repository.Prune(t.Context(), &tampered{Store: s, age: 48 * time.Hour}, repository.PruneOptions{Keep: 1})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	lease("locks/write-dead", 23*time.Hour)
	if r := prune(); !r.Writing || len(r.Segments) != 0 {
		t.Errorf("with a lease of 23 hours: %+v", r)
	}
	lease("locks/write-dead", 25*time.Hour)
	if r := prune(); r.Writing || len(r.Segments) == 0 {
		t.Errorf("with a lease of 25 hours: %+v", r)
	}
	if left := objects(t, s, "locks/"); !slices.Equal(left, []string{"locks/prune-dead"}) {
		t.Errorf("leases left: %q", left)
	}
}

func TestPruneRefuses(t *testing.T) {
	s := &tampered{Store: pulltest.NewStore(t), age: 48 * time.Hour}
	if _, err := repository.Prune(t.Context(), s, repository.PruneOptions{}); err == nil {
		t.Error("a prune that keeps nothing was accepted")
	}
	id := pullTo(t, s, 300, nil)
	pullTo(t, s, pulltest.LastEvent, nil)
	if err := s.Put(t.Context(), "snapshots/"+id+".json", strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	before := objects(t, s, "")
	var damaged *snapfile.DamagedError
	if _, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1}); !errors.As(err, &damaged) {
		t.Errorf("a damaged manifest: %v", err)
	}
	if after := objects(t, s, ""); !slices.Equal(after, before) {
		t.Errorf("left %q of %q", after, before)
	}
}

// TestManifestRace: a manifest that is there already is taken, unless it is damaged.
func TestManifestRace(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		for name, first := range map[string]func(s store.Store, object string, body string) error{
			"same": func(s store.Store, object, body string) error {
				return s.Put(t.Context(), object, strings.NewReader(body))
			},
			"damaged": func(s store.Store, object, body string) error {
				return s.Put(t.Context(), object, strings.NewReader(body[:len(body)/2]))
			},
		} {
			t.Run(name, func(t *testing.T) {
				s := &racing{Store: open(t), first: first}
				id := pullTo(t, s, 300, nil)
				if !s.exists {
					t.Error("the manifest was not there already")
				}
				if got := objects(t, s, "snapshots/"); !slices.Equal(got, []string{"snapshots/" + id + ".json"}) {
					t.Errorf("snapshots: %q", got)
				}
				if len(checkWhole(t, s)) == 0 {
					t.Error("the snapshot names no segment")
				}
			})
		}
	})
}

// racing is a store where another writer is faster.
type racing struct {
	store.Store
	first  func(s store.Store, object, body string) error
	exists bool
}

func (s *racing) Create(ctx context.Context, name string, src io.ReadSeeker) error {
	body, err := io.ReadAll(src)
	if err != nil {
		return err
	}
	if err := s.first(s.Store, name, string(body)); err != nil {
		return err
	}
	err = s.Store.(store.Creator).Create(ctx, name, strings.NewReader(string(body)))
	s.exists = errors.Is(err, fs.ErrExist)
	return err
}
