package repository_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/store"
)

// TestPruneWhilePulling prunes at each write of a pull that counts on an older snapshot's
// segments.
func TestPruneWhilePulling(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		moments := []string{"create snapshots/", "put segments/", "delete locks/"}
		if strings.HasSuffix(t.Name(), "s3") { // by a directory each of them
			moments = seedtest.Some(moments, 1)
		}
		for _, when := range moments {
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
	eachStoreInTime(t, func(t *testing.T, open func(t *testing.T) store.Store) {
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
