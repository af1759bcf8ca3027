package dbsync_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/seedtest"
)

// TestCallsDuringLoads: people edit in staging, call after call as Koji's hub writes for them, the very keys
// that production edits, and one load after another brings those. A call fails for nothing but that a
// load brings its key at that moment: then Koji has what two people have who edit one key at once, a
// unique constraint, and the call succeeds when it is made again. Without loads none fails.
//
// KOJISNAP_CALLS is how many calls are made, 20000 to tell how often that is. It is 100 in the short form.
func TestCallsDuringLoads(t *testing.T) {
	t.Parallel()
	most, least := 100, 3
	c := &callers{t: t, failed: map[string]int{}, idle: 3}
	if seedtest.Long() {
		most, least, c.idle = 600, 5, 1
	}
	if n, err := strconv.Atoi(os.Getenv("KOJISNAP_CALLS")); err == nil {
		most = n
	}
	w, s := newLoaded(t, admin)
	c.dsn = s.dsn

	c.start()
	c.wait(most / 4)
	c.end()
	if len(c.failed) > 0 {
		t.Errorf("without loads: of %d calls failed %v", c.made, c.failed)
	}

	before := c.made
	c.start()
	loads := 0
	for pairs := unlisted(w, 2*callersAtOnce); loads < least || c.calls() < before+most; loads++ {
		if len(pairs) < callersAtOnce {
			t.Fatalf("after %d loads and %d calls no keys are left", loads, c.calls()-before)
		}
		c.now(pairs[:callersAtOnce])
		for _, p := range pairs[:callersAtOnce] {
			w.add("tag_packages", "package_id", p.pkg, "tag_id", p.tag, "blocked", "f", "create_event", w.event(), "creator_id", 1, "active", "t")
			w.add("tag_package_owners", "package_id", p.pkg, "tag_id", p.tag, "owner", 1, "create_event", w.event(), "creator_id", 1, "active", "t")
		}
		pairs = pairs[callersAtOnce:]
		snap := w.snapshot(shot{})
		if _, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{Base: s.base}); err != nil {
			t.Fatal(err)
		}
		s.loaded[snap.ID] = snap
	}
	c.end()
	t.Logf("of %d calls during %d loads failed %v", c.made-before, loads, c.failed)
	for code := range c.failed {
		if !strings.HasPrefix(code, "23505 tag_package") {
			t.Errorf("calls failed for another reason than a key that a load brought: %v", c.failed)
		}
	}
	if c.stuck > 0 {
		t.Errorf("%d calls failed again when they were made again", c.stuck)
	}
}

// callersAtOnce is how many people work at once.
const callersAtOnce = 6

// listing is a package in a tag.
type listing struct{ pkg, tag int64 }

// unlisted are packages and tags that have nothing to do with each other yet, at least so many.
func unlisted(w *production, least int) (pairs []listing) {
	for _, tag := range w.rows["tag"] {
		for _, pkg := range w.rows["package"] {
			l := listing{pkg.int("id"), tag.int("id")}
			if len(w.all("tag_packages", "package_id", l.pkg, "tag_id", l.tag)) == 0 && len(w.activeAt("tag_config", w.last(), "tag_id", l.tag)) > 0 {
				pairs = append(pairs, l)
			}
		}
	}
	if len(pairs) < least {
		w.t.Fatalf("%d pairs", len(pairs))
	}
	return pairs
}

// callers make calls, each about keys of their own, so that none is in another's way.
type callers struct {
	t    *testing.T
	dsn  string
	stop context.CancelFunc
	idle int // how many times as long people pause between calls, which are the more often about a new key
	work sync.WaitGroup

	mu     sync.Mutex
	keys   []listing // one for each, the same that production makes now
	made   int
	failed map[string]int // by SQLSTATE
	stuck  int            // that failed twice
}

// now gives each one the key that production makes.
func (c *callers) now(keys []listing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = slices.Clone(keys)
}

// take takes a caller's key, if there is one that was not taken before.
func (c *callers) take(i int) (l listing, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i >= len(c.keys) || c.keys[i] == (listing{}) {
		return l, false
	}
	l, c.keys[i] = c.keys[i], listing{}
	return l, true
}

func (c *callers) start() {
	ctx, stop := context.WithCancel(c.t.Context())
	c.stop = stop
	for i := range callersAtOnce {
		conn := dbtest.Connect(c.t, c.dsn)
		c.work.Go(func() {
			mine := []listing{{int64(1 + i), 2}}
			for n := 0; ctx.Err() == nil; n++ {
				l := mine[n%len(mine)]
				if rand.IntN(25/c.idle) == 0 { // some time into the load, or before it
					if taken, ok := c.take(i); ok {
						l = taken
						mine = append(mine, l)
					}
				}
				for _, table := range []string{"tag_packages", "tag_package_owners"} {
					err := c.call(conn, table, l, n)
					if err != nil {
						err = c.call(conn, table, l, n)
					}
					if err != nil {
						c.mu.Lock()
						c.stuck++
						c.mu.Unlock()
					}
				}
				time.Sleep(time.Duration(c.idle*(30+10*i)) * time.Millisecond) // the machine is others', too
			}
		})
	}
}

func (c *callers) end() {
	c.stop()
	c.work.Wait()
}

func (c *callers) calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made
}

func (c *callers) wait(calls int) {
	for c.calls() < calls {
		time.Sleep(10 * time.Millisecond)
	}
}

// call is one call of the hub's about a package in a tag: it reads what holds, revokes it if there is
// something, and puts in what is to hold.
func (c *callers) call(conn *pgx.Conn, table string, l listing, n int) error {
	ctx := context.WithoutCancel(c.t.Context())
	column, value := "blocked", fmt.Sprint(n%4 < 2)
	if table == "tag_package_owners" {
		column, value = "owner", fmt.Sprint(1+n%3)
	}
	where := fmt.Sprintf("package_id = %d AND tag_id = %d AND active", l.pkg, l.tag)
	err := transaction(ctx, conn, n, newEvent,
		fmt.Sprintf("SELECT %s FROM %s WHERE %s", column, table, where),
		fmt.Sprintf("UPDATE %s SET active = NULL, revoke_event = currval('events_id_seq'), revoker_id = 990000000 WHERE %s", table, where),
		fmt.Sprintf("INSERT INTO %s (package_id, tag_id, %s, creator_id, create_event, active) VALUES (%d, %d, %s, 990000000, currval('events_id_seq'), true)", table, column, l.pkg, l.tag, value),
		fmt.Sprintf("INSERT INTO tag_updates (tag_id, updater_id, update_type) VALUES (%d, 990000000, 2)", l.tag))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	if err != nil {
		var pg *pgconn.PgError
		code := err.Error()
		if errors.As(err, &pg) {
			code = pg.Code + " " + pg.TableName
		}
		c.failed[code]++
	}
	return err
}
