package dbsync_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
)

// TestLive loads what changed in production, some changes after the others, while staging's hub answers calls,
// others read the database, and staging's people work in it as Koji's hub writes for them, some
// of them with locks on what the load is about to write. No call and no writer fails, no reader
// waits for a lock, what is pinned at the first event stays the same throughout, what a single
// statement sees is the state before a load or after it, and what staging's people did is all
// there in the end.
func TestLive(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	l := newLive(t, s.dsn, w.last())
	atOnce := 9
	if seedtest.Long() {
		atOnce = 5
	}
	for some := range slices.Chunk(changes, atOnce) {
		for _, c := range some {
			c.change(w)
		}
		snap := w.snapshot(shot{})
		l.round(func() {
			rep := s.load(snap, dbsync.LoadOptions{Progress: &at{stage: "merge", n: int64(len(relation.All())), do: func() { l.checkLocks(s.conn) }}})
			if !rep.Changed() || len(rep.Conflicts)+len(rep.LeftOut) > 0 {
				t.Errorf("report: %+v", rep)
			}
		})
	}
	l.end()
	s.check(w, shot{})
}

// live is what goes on in a staging during loads.
type live struct {
	t       *testing.T
	dsn     string
	check   *pgx.Conn
	working context.Context
	stop    context.CancelFunc
	workers sync.WaitGroup
	readers []*reader
	did     [3]int        // what each writer did
	rest    time.Duration // of writers and readers between two pieces of work
	began   atomic.Int64  // when this round did, in nanoseconds
}

// reader asks one thing again and again.
type reader struct {
	name   string
	ask    func() (string, error)
	pinned string // what it always says, if it is not empty

	mu    sync.Mutex
	asked int
	seen  map[string]bool // in this round
}

func newLive(t *testing.T, dsn string, event int64) *live {
	l := &live{t: t, dsn: dsn, check: dbtest.Connect(t, dsn), rest: 60 * time.Millisecond}
	if seedtest.Long() {
		l.rest = 10 * time.Millisecond
	}
	l.working, l.stop = context.WithCancel(t.Context())
	l.began.Store(time.Now().UnixNano())
	t.Cleanup(func() { l.stop(); l.workers.Wait() })
	l.read("pinned views", pinned(event))
	l.readers[0].pinned, _ = l.readers[0].ask()
	l.read("state", state())
	l.readHub()
	l.write("hub tags and untags", &l.did[0], tagAndUntag)
	l.write("hub builds", &l.did[1], newBuild)
	l.write("hub signs, edits", &l.did[2], signAndEdit)
	l.lock("SELECT FROM build WHERE id = ANY ('{1,9,10,15,17,36,43,44,66,71,75}') FOR UPDATE")
	l.lock("LOCK TABLE rpmsigs IN SHARE ROW EXCLUSIVE MODE") // as a schema upgrade does
	return l
}

// pinned are the views of all versioned relations at an event, by Koji's own condition.
func pinned(event int64) string {
	var parts []string
	for _, r := range relation.All() {
		if r.Versioned {
			cols := slices.DeleteFunc(r.ColumnNames(), func(c string) bool { return c == "revoke_event" || c == "revoker_id" || c == "active" })
			parts = append(parts, fmt.Sprintf("SELECT '%s ' || ROW(%s)::text AS x FROM %[1]s WHERE create_event <= %[3]d AND (active OR revoke_event > %[3]d)",
				r.Name, strings.Join(cols, ", "), event))
		}
	}
	return "SELECT md5(string_agg(x, E'\\n' ORDER BY x)) FROM (" + strings.Join(parts, " UNION ALL ") + ") v"
}

// state is all that is production's, of relations that change together.
func state() string {
	var parts []string
	for _, r := range relation.All() {
		first := r.Columns[0].Name
		if r.Versioned {
			first = "create_event"
		}
		parts = append(parts, fmt.Sprintf(`SELECT '%s ' || x::text AS x FROM %[1]s x WHERE %s < %d`, r.Name, first, book.DefaultFloor))
		if r.Name == "rpmsigs" {
			parts[len(parts)-1] += " AND sigkey <> 'beef'" // a writer's
		}
	}
	return "SELECT md5(string_agg(x, E'\\n' ORDER BY x)) FROM (" + strings.Join(parts, " UNION ALL ") + ") v"
}

// read adds a reader of a statement, which waits for no lock.
func (l *live) read(name, sql string) {
	conn := dbtest.Connect(l.t, l.dsn)
	if _, err := conn.Exec(l.t.Context(), "SET lock_timeout = 1"); err != nil {
		l.t.Fatal(err)
	}
	l.reader(name, func() (said string, err error) {
		err = conn.QueryRow(context.WithoutCancel(l.working), sql).Scan(&said)
		return said, err
	})
}

// readHub adds a reader of hub calls, about tags that no writer writes to.
func (l *live) readHub() {
	src, err := hubtest.PostgreSQL(l.t.Context(), l.dsn)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(src.Close)
	srv := httptest.NewServer(hubtest.New(src, hubtest.Options{}))
	l.t.Cleanup(srv.Close)
	client, err := hub.New(srv.URL+"/kojihub", hub.Options{Retries: -1})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, tag := range []int64{2, 11} {
		var calls []hub.Call
		for _, method := range []string{"getTag", "getBuildConfig", "getFullInheritance", "getTagGroups", "getTagExternalRepos"} {
			calls = append(calls, hub.Call{Method: method, Args: []any{tag}})
		}
		inherit := map[string]any{"inherit": true, "latest": true}
		calls = append(calls, hub.Call{Method: "listTagged", Args: []any{tag}, Kwargs: inherit}, hub.Call{Method: "listTaggedRPMS", Args: []any{tag}, Kwargs: inherit},
			hub.Call{Method: "listPackages", Kwargs: map[string]any{"tagID": tag, "inherited": true}})
		l.reader(fmt.Sprintf("hub about tag %d", tag), func() (string, error) {
			answers, err := client.Multi(context.WithoutCancel(l.working), calls) // one request sees one state
			var said []string
			for i, a := range answers {
				if a.Err != nil {
					return "", fmt.Errorf("%s: %w", calls[i], a.Err)
				}
				said = append(said, fmt.Sprint(a.Value.Any()))
			}
			return strings.Join(said, "\n"), err
		})
	}
}

func (l *live) reader(name string, ask func() (string, error)) {
	r := &reader{name: name, seen: map[string]bool{}}
	var one sync.Mutex
	r.ask = func() (string, error) {
		one.Lock()
		defer one.Unlock()
		return ask()
	}
	l.readers = append(l.readers, r)
	l.workers.Go(func() {
		for l.working.Err() == nil {
			said, err := r.ask()
			if err != nil {
				l.t.Errorf("%s: %v", name, err)
				return
			}
			r.mu.Lock()
			r.asked++
			r.seen[said] = true
			r.mu.Unlock()
			l.pause(40*time.Millisecond + l.rest)
		}
	})
}

// write adds a writer. It waits for locks as the hub does, that is as long as it takes, and may be
// refused nothing, least of all for a deadlock.
func (l *live) write(name string, did *int, do func(ctx context.Context, conn *pgx.Conn, n int) error) {
	conn := dbtest.Connect(l.t, l.dsn)
	l.workers.Go(func() {
		for l.working.Err() == nil {
			if err := do(context.WithoutCancel(l.working), conn, *did); err != nil {
				l.t.Errorf("%s: %v", name, err)
				return
			}
			*did++
			l.pause(l.rest)
		}
	})
}

// pause leaves the machine to others: nothing depends on how long it is.
func (l *live) pause(d time.Duration) {
	select {
	case <-l.working.Done():
	case <-time.After(d):
	}
}

// lock adds one who holds a lock for a while, longer than a load waits, and lets go of it for a
// while. An attempt at a load gets through only if nobody comes for these locks between its first write to such a row and
// its last: who has some of the rows and waits for the load to let go of others is never waited for. On a busy machine
// that takes longer than any fixed while, so this one is as long as the load has been at it.
func (l *live) lock(sql string) {
	conn := dbtest.Connect(l.t, l.dsn)
	l.workers.Go(func() {
		for l.working.Err() == nil {
			for _, s := range []string{"BEGIN", sql, "SELECT pg_sleep(0.3)", "COMMIT"} {
				if _, err := conn.Exec(context.WithoutCancel(l.working), s); err != nil {
					l.t.Errorf("%s: %v", s, err)
					return
				}
			}
			l.pause(max(700*time.Millisecond, time.Since(time.Unix(0, l.began.Load()))))
		}
	})
}

// transaction runs statements as one call of the hub does. $1 is n.
func transaction(ctx context.Context, conn *pgx.Conn, n int, statements ...string) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	for _, s := range statements {
		if _, err := tx.Exec(ctx, strings.ReplaceAll(s, "$1", fmt.Sprint(n))); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return tx.Commit(ctx)
}

const newEvent = "INSERT INTO events (time) VALUES (clock_timestamp())"

// tagAndUntag tags a build of production's in a tag of staging's, and untags it.
func tagAndUntag(ctx context.Context, conn *pgx.Conn, n int) error {
	const build = "(SELECT id FROM build WHERE id < 990000000 AND state = 1 AND id NOT IN (10, 75, 100) ORDER BY id LIMIT 1 OFFSET 20 + $1 % 20)"
	if err := transaction(ctx, conn, n, newEvent,
		"INSERT INTO tag_listing (build_id, tag_id, creator_id, create_event) SELECT "+build+", 990000000, 990000000, currval('events_id_seq')",
		"INSERT INTO tag_updates (tag_id, updater_id, update_type) VALUES (990000000, 990000000, 2)"); err != nil {
		return err
	}
	return transaction(ctx, conn, n, newEvent,
		"UPDATE tag_listing SET active = NULL, revoke_event = currval('events_id_seq'), revoker_id = 990000000 WHERE tag_id = 990000000 AND active")
}

// newBuild is a build of staging's own, from its start until it is tagged.
func newBuild(ctx context.Context, conn *pgx.Conn, n int) error {
	if err := transaction(ctx, conn, n, newEvent,
		`INSERT INTO build (volume_id, pkg_id, version, release, state, owner, create_event) VALUES (0, 1, 'live', '$1', 0, 990000000, currval('events_id_seq'))`); err != nil {
		return err
	}
	return transaction(ctx, conn, n, newEvent,
		`INSERT INTO rpminfo (build_id, name, version, release, arch, draft, external_repo_id, payloadhash, size, buildtime)
			SELECT id, 'bash', version, release, 'src', draft, 0, '00', 1, 1 FROM build WHERE version = 'live' AND release = '$1'`,
		`INSERT INTO rpmsigs SELECT id, '', 'aa' FROM rpminfo WHERE version = 'live' AND release = '$1'`,
		`UPDATE build SET state = 1, completion_time = now() WHERE version = 'live' AND release = '$1'`,
		`INSERT INTO tag_listing (build_id, tag_id, creator_id, create_event) SELECT id, 3, 990000000, currval('events_id_seq') FROM build WHERE version = 'live' AND release = '$1'`,
		`INSERT INTO tag_updates (tag_id, updater_id, update_type) VALUES (3, 990000000, 2)`)
}

// signAndEdit signs an rpm of production's, edits a tag of staging's, and is heard of.
func signAndEdit(ctx context.Context, conn *pgx.Conn, n int) error {
	if err := transaction(ctx, conn, n,
		`INSERT INTO rpmsigs SELECT id, 'beef', 'aa' FROM rpminfo r WHERE build_id = 20 AND NOT EXISTS (SELECT FROM rpmsigs s WHERE s.rpm_id = r.id AND sigkey = 'beef') LIMIT 1`,
		`UPDATE sessions SET update_time = clock_timestamp()`,
		`UPDATE users SET status = 0 WHERE id = 990000000`); err != nil {
		return err
	}
	return transaction(ctx, conn, n, newEvent,
		"UPDATE tag_config SET active = NULL, revoke_event = currval('events_id_seq'), revoker_id = 990000000 WHERE tag_id = 990000000 AND active",
		"INSERT INTO tag_config (tag_id, arches, creator_id, create_event) VALUES (990000000, 'x86_64 $1', 990000000, currval('events_id_seq'))")
}

// round runs a load, and holds what the readers saw to what there was before and is after.
func (l *live) round(load func()) {
	before := l.ask()
	l.began.Store(time.Now().UnixNano())
	for _, r := range l.readers {
		r.mu.Lock()
		r.asked, r.seen = 0, map[string]bool{}
		r.mu.Unlock()
	}
	load()
	after := l.ask()
	for i, r := range l.readers {
		r.mu.Lock()
		for said := range r.seen {
			switch {
			case r.pinned != "" && said != r.pinned:
				l.t.Errorf("%s: not what it was", r.name)
			case said != before[i] && said != after[i]:
				l.t.Errorf("%s saw neither the state before nor the one after", r.name)
			}
		}
		l.t.Logf("%s: asked %d times", r.name, r.asked)
		r.mu.Unlock()
	}
}

func (l *live) ask() (said []string) {
	for _, r := range l.readers {
		s, err := r.ask()
		if err != nil {
			l.t.Errorf("%s: %v", r.name, err)
		}
		said = append(said, s)
	}
	return said
}

// checkLocks looks at the locks that a load holds on Koji's tables before it commits: they are
// those that any INSERT or UPDATE takes, which block neither readers nor writers.
func (l *live) checkLocks(load *pgx.Conn) {
	rows, err := l.check.Query(l.t.Context(), `SELECT DISTINCT relation::regclass::text || ' ' || mode FROM pg_locks
		WHERE pid = $1 AND locktype = 'relation' AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
		AND mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')`, int32(load.PgConn().PID()))
	if err != nil {
		l.t.Fatal(err)
	}
	bad, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(bad) > 0 {
		l.t.Errorf("the load holds %q, %v", bad, err)
	}
}

// end stops the work and looks whether it is all there.
func (l *live) end() {
	l.stop()
	l.workers.Wait()
	for i, sql := range []string{
		"SELECT count(*) FROM tag_listing WHERE tag_id = 990000000 AND active IS NULL AND revoker_id = 990000000",
		"SELECT count(*) FROM build b JOIN rpminfo r ON r.build_id = b.id JOIN rpmsigs ON rpm_id = r.id JOIN tag_listing l ON l.build_id = b.id AND tag_id = 3 AND active WHERE b.version = 'live' AND state = 1 AND volume_id = 0",
		"SELECT count(*) FROM tag_config WHERE tag_id = 990000000 AND active IS NULL",
	} {
		var n int
		if err := l.check.QueryRow(context.Background(), sql).Scan(&n); err != nil {
			l.t.Fatal(err)
		}
		if n != l.did[i] || n == 0 {
			l.t.Errorf("writer %d did its work %d times, there is %d of it", i, l.did[i], n)
		}
	}
	// What the writer made of production's rpms is no row of production's.
	dbtest.Exec(l.t, l.dsn, "DELETE FROM rpmsigs WHERE sigkey = 'beef'")
	l.t.Logf("tagged %d, built %d, edited %d times", l.did[0], l.did[1], l.did[2])
}
