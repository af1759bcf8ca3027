package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/retry"
)

const (
	// closeAfter failures in a row close a source for closedFor.
	closeAfter = 3
	// A source that failed less often is left alone for some seconds, more after the second time.
	restFirst = 5 * time.Second
	// turnWait is how long a job waits for its turn at the sources before it goes back to the queue.
	turnWait = time.Minute
	turnPoll = time.Second
)

// SourceError says that a source refused to serve, is overloaded (429, 503), or is gone. The shard is not at fault.
type SourceError struct {
	Source string        // its name in the plan
	After  time.Duration // how long the source asked to be left alone; 0: it did not say
	Err    error
}

func (e *SourceError) Error() string { return e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// Limit is the part of a source's limits that one job has; 0: no limit.
type Limit struct {
	Bytes    int64   // a second
	Requests float64 // a second
}

// sources are the sources of a topdir's plan, as all workers share them.
type sources struct {
	q      *Queue
	leases *leases
	topdir string
	closed time.Duration // how long three failures close a source
}

// turn is a job's turn at all sources.
type turn struct {
	limits map[string]Limit
	locks  []*lock
	probe  bool // a source was closed, and this job tries whether it serves again
}

func (t *turn) end(ctx context.Context) {
	for _, k := range t.locks {
		k.release(ctx)
	}
}

// errNoTurn says that the sources have no room for one more job now, or that one is closed.
var errNoTurn = fmt.Errorf("no turn at the sources")

// wait waits until all sources have a slot for a job. After a while it gives up with errNoTurn.
func (s *sources) wait(ctx context.Context) (*turn, error) {
	deadline := time.Now().Add(turnWait)
	for {
		t, err := s.try(ctx)
		if t != nil || err != nil {
			return t, err
		}
		if time.Now().After(deadline) {
			return nil, errNoTurn
		}
		if err := retry.Sleep(ctx, turnPoll); err != nil {
			return nil, err
		}
	}
}

// try takes a slot of each source, or nothing. A nil turn: not now.
func (s *sources) try(ctx context.Context) (*turn, error) {
	rows, err := s.q.pool.Query(ctx, `SELECT source, slots, bytes, requests, failures, coalesce(open_at > now(), false)
		FROM kojisnap_queue.fleet_source WHERE topdir = $1 ORDER BY source`, s.topdir)
	if err != nil {
		return nil, err
	}
	type source struct {
		Name     string
		Slots    int
		Bytes    int64
		Requests float64
		Failures int
		Closed   bool
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[source])
	if err != nil {
		return nil, err
	}
	t := &turn{limits: map[string]Limit{}}
	for _, src := range all {
		if src.Closed {
			t.end(ctx)
			return nil, nil
		}
		if src.Failures >= closeAfter { // it was closed: one job tries whether it serves again
			if k, err := s.leases.take(ctx, lockKey(s.topdir, "probe", src.Name)); k == nil {
				t.end(ctx)
				return nil, err
			} else {
				t.locks, t.probe = append(t.locks, k), true
			}
		}
		k, err := s.slot(ctx, src.Name, src.Slots)
		if k == nil {
			t.end(ctx)
			return nil, err
		}
		t.locks = append(t.locks, k)
		t.limits[src.Name] = Limit{Bytes: share(src.Bytes, src.Slots), Requests: src.Requests / float64(src.Slots)}
	}
	return t, nil
}

// share is the part of a limit that a slot has; not 0, which would be no limit.
func share(limit int64, slots int) int64 {
	if limit <= 0 {
		return 0
	}
	return max(1, limit/int64(slots))
}

// slot takes one of a source's slots, nil if all are taken.
func (s *sources) slot(ctx context.Context, name string, slots int) (*lock, error) {
	for i := range slots {
		k, err := s.leases.take(ctx, lockKey(s.topdir, fmt.Sprintf("slot %d", i), name))
		if k != nil || err != nil {
			return k, err
		}
	}
	return nil, nil
}

// failed notes a failure of a source for all workers: it is left alone for some time, longer after each failure, and
// after the third in a row it is closed. Failures while it is left alone are of jobs that began before, and do not
// count again. failed returns for how long it is left alone.
func (s *sources) failed(ctx context.Context, e *SourceError) (rest time.Duration, closed bool, err error) {
	err = pgx.BeginFunc(ctx, s.q.pool, func(tx pgx.Tx) error {
		var failures int
		var left float64
		if err := tx.QueryRow(ctx, `SELECT failures, coalesce(extract(epoch FROM open_at - now()), 0) FROM kojisnap_queue.fleet_source
			WHERE topdir = $1 AND source = $2 FOR UPDATE`, s.topdir, SourceKey(e.Source)).Scan(&failures, &left); err != nil {
			return err
		}
		resting := time.Duration(left * float64(time.Second))
		if resting <= 0 {
			failures = min(failures+1, closeAfter)
			rest = restFirst << (failures - 1)
		}
		if closed = failures == closeAfter; closed && resting <= 0 {
			rest = s.closed
		}
		rest = max(rest, resting, e.After)
		_, err := tx.Exec(ctx, `UPDATE kojisnap_queue.fleet_source SET failures = $3, error = $4, open_at = now() + make_interval(secs => $5)
			WHERE topdir = $1 AND source = $2`, s.topdir, SourceKey(e.Source), failures, e.Error(), rest.Seconds())
		return err
	})
	return rest, closed, err
}

// served notes that the sources served a job to its end.
func (s *sources) served(ctx context.Context) error {
	_, err := s.q.pool.Exec(ctx, "UPDATE kojisnap_queue.fleet_source SET failures = 0, error = NULL, open_at = NULL WHERE topdir = $1 AND failures > 0", s.topdir)
	return err
}
