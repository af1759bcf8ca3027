package dbsync_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

// assassin ends backends of a load's sessions: the one that is about to run the n-th statement of all.
type assassin struct {
	mu sync.Mutex
	killer
}

func (a *assassin) TraceQueryStart(ctx context.Context, conn *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.killer.TraceQueryStart(ctx, conn, q)
}

// loader opens a connection whose statements, and those of the sessions that an import opens, are traced.
func (s *staging) loader(tracer pgx.QueryTracer) *pgx.Conn {
	s.t.Helper()
	config, err := pgx.ParseConfig(s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	config.Tracer, config.DefaultQueryExecMode = tracer, pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(s.t.Context(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// refuses checks that nothing but a load of the snapshot can use a database that an import fills.
func (s *staging) refuses(importing, other *snapfile.Snapshot) {
	s.t.Helper()
	check := func(what string, err error) {
		s.t.Helper()
		var refused *book.ImportingError
		if !errors.As(err, &refused) || !errors.Is(err, lockfile.ErrLocked) || refused.Importing.Snapshot != importing.ID || strings.Contains(err.Error(), "\n") {
			s.t.Errorf("%s: %v", what, err)
		}
	}
	ctx := s.t.Context()
	_, err := dbsync.Load(ctx, s.conn, other, dbsync.LoadOptions{})
	check("load of another snapshot", err)
	_, err = dbsync.Load(ctx, s.conn, other, dbsync.LoadOptions{DryRun: true})
	check("dry run of another snapshot", err)
	check("check of another snapshot", dbsync.CheckLoad(ctx, s.conn, other, dbsync.LoadOptions{}))
	_, err = status.ReadPin(ctx, s.conn)
	check("pin", err)
	_, err = status.DecidedBuilds(ctx, s.conn)
	check("builds", err)
	_, err = status.CopiedBuilds(ctx, s.conn, "staged")
	check("copied builds", err)
	if st, err := status.Read(ctx, s.conn); err != nil || st.Importing == nil || st.Importing.Snapshot != importing.ID {
		s.t.Errorf("status: %v, %+v", err, st)
	}
	if err := dbsync.CheckLoad(ctx, s.conn, importing, dbsync.LoadOptions{}); err != nil {
		s.t.Errorf("check of the snapshot: %v", err)
	}
}

// sameAs checks that an import that was broken off has come to the same as one that was not, but for ids that the former
// has taken.
func (s *staging) sameAs(want *staging) {
	s.t.Helper()
	all, got := want.alike(), s.alike()
	for _, name := range []string{"events", "tag_updates", "tag_inheritance", "kojisnap.load"} { // a killed load may have taken an id
		if len(all[name]) != len(got[name]) {
			s.t.Errorf("%s: %d rows and %d", name, len(all[name]), len(got[name]))
		}
		delete(all, name)
		delete(got, name)
	}
	same(s.t, all, got)
	a, b := want.definitions(), s.definitions()
	delete(a, "sequences")
	delete(b, "sequences")
	same(s.t, a, b)
}

// TestFullImportKilled ends the backends of an import at many statements, one run after the other: what is recorded
// stays, nothing else can use the database, and in the end it is as if nothing had happened.
func TestFullImportKilled(t *testing.T) {
	t.Parallel()
	w := everything(t)
	other := w.snapshot(shot{})
	w.parent = 0 // no history of before
	snap := w.snapshot(shot{everything: true})
	var before []string // TestFullImport has the admin's in the short form
	if seedtest.Long() {
		before = []string{admin}
	}
	slow, fast := newStaging(t, before...), newStaging(t, before...)
	slow.load(snap, dbsync.LoadOptions{Import: dbsync.ImportNever})
	defs := fast.definitions()
	begun, killed, extra, far := 0, 0, 0, ""
	killing := dbtest.Connect(t, fast.dsn)
	step, further := 160, 320
	if seedtest.Long() {
		step, further = 40, 200
	}
	for n := 20; ; {
		k := &assassin{killer: killer{t: t, other: killing, n: n}}
		conn := fast.loader(k)
		rep, err := dbsync.Load(t.Context(), conn, snap, dbsync.LoadOptions{Sessions: 1 + killed%3})
		conn.Close(context.Background())
		if err == nil {
			if rep.Mode != "import" {
				t.Errorf("mode %q", rep.Mode)
			}
			break
		}
		if killed++; killed > 60 {
			t.Fatalf("no end: %v", err)
		}
		var temporary *retry.TemporaryError
		if !errors.As(err, &temporary) {
			t.Errorf("killed at statement %d: %v", n, err)
		}
		st, err := status.Read(t.Context(), fast.conn)
		if err != nil {
			t.Fatal(err)
		}
		if st.Importing == nil {
			if begun > 0 {
				t.Fatalf("the mark has gone: %+v", st.Runs)
			}
			n += step
			same(t, defs, fast.definitions())
			continue
		}
		if begun++; begun%5 == 1 {
			fast.refuses(snap, other)
		}
		// As long as nothing is added, the next run gets further.
		now := fmt.Sprint(st.Importing.Tables, st.Importing.Objects)
		if now == far {
			extra += 250
		}
		far, n = now, further+extra+57*(begun%4)
	}
	t.Logf("killed %d times", killed)
	if begun < 5 {
		t.Errorf("only %d of %d kills met an import", begun, killed)
	}
	fast.sameAs(slow)
	fast.check(w, shot{})
}

// TestFullImportCancelled breaks an import off while it copies, goes on with it, begins anew with another snapshot, and
// undoes it.
func TestFullImportCancelled(t *testing.T) {
	t.Parallel()
	w := everything(t)
	snap := w.snapshot(shot{everything: true})
	plain := w.snapshot(shot{})
	s := newStaging(t, admin)
	defs := s.definitions()
	broken := func(snap *snapfile.Snapshot, opt dbsync.LoadOptions, stage string, n int64) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		opt.Progress = &at{stage: stage, n: n, do: cancel}
		if _, err := dbsync.Load(ctx, dbtest.Connect(t, s.dsn), snap, opt); !errors.Is(err, context.Canceled) {
			t.Fatalf("load: %v", err)
		}
		s.refuses(snap, plain)
	}
	broken(snap, dbsync.LoadOptions{}, "copy", 100)
	broken(snap, dbsync.LoadOptions{}, "index", 3)
	w.tag(w.untagged(2), 2)
	w.event()
	w.parent = 0
	next := w.snapshot(shot{everything: true})
	if _, err := dbsync.Load(t.Context(), s.conn, plain, dbsync.LoadOptions{Import: dbsync.ImportRestart}); err == nil || !strings.Contains(err.Error(), "not one of everything") {
		t.Errorf("anew with a snapshot of some tags: %v", err)
	}
	broken(next, dbsync.LoadOptions{Import: dbsync.ImportRestart}, "index", 20)
	whole := s.definitions()
	rep := s.load(next, dbsync.LoadOptions{DryRun: true, Import: dbsync.ImportRestart})
	if rep.Mode != "import" || !rep.DryRun {
		t.Errorf("dry run: %+v", rep)
	}
	same(t, whole, s.definitions())
	broken(next, dbsync.LoadOptions{}, "merge", 5)
	rep = s.load(next, dbsync.LoadOptions{Import: dbsync.ImportNever})
	if rep.Mode != "full" {
		t.Errorf("mode %q", rep.Mode)
	}
	s.check(w, shot{})
	now := s.definitions()
	delete(defs, "sequences")
	delete(now, "sequences")
	same(t, defs, now)
	if _, err := book.ReadMark(t.Context(), s.conn); err != nil {
		t.Error(err)
	}
}
