package repository_test

import (
	"context"
	"io"
	"log/slog"
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
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/s3/s3test"
)

// scope is a tag with few builds; in the long form it has more.
func scope() string {
	if seedtest.Long() {
		return "f42-compose"
	}
	return "f42-infra"
}

// oneLine checks that an error is told in one line that names what it has to.
func oneLine(t testing.TB, err error, names ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	for _, name := range append(names, " ") {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %q", err, name)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "tmp-kojisnap") {
		t.Errorf("not a clear line: %q", err)
	}
}

// warnings are the lines of a log from level warn on.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	w.text = append(w.text, text)
	return nil
}
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w *warnings) WithGroup(string) slog.Handler      { return w }

// check compares the warnings with what each has to say.
func (w *warnings) check(t testing.TB, want ...string) {
	t.Helper()
	if !slices.EqualFunc(w.text, want, strings.Contains) {
		t.Errorf("warnings: %q, want %q", w.text, want)
	}
}

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

// eachStoreInTime is eachStore in the long form, and runs a test with a directory alone in the short one: for what is
// the same with each store that keeps the contract, which storetest tests.
func eachStoreInTime(t *testing.T, test func(t *testing.T, open func(t *testing.T) store.Store)) {
	if seedtest.Long() {
		eachStore(t, test)
		return
	}
	test(t, func(t *testing.T) store.Store { return pulltest.NewStore(t) })
}

// pullTo pulls from a hub of its own: a snapshot of an earlier call is no base.
func pullTo(t testing.TB, s store.Store, event int64, log *slog.Logger) string {
	t.Helper()
	c, _ := pulltest.Production(t, hubtest.Options{})
	return pullFrom(t, c, s, event, log)
}
func pullFrom(t testing.TB, c *hub.Client, s store.Store, event int64, log *slog.Logger) string {
	t.Helper()
	r, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: []string{scope()}, Event: event, Program: "test", Log: log})
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
