package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"kojisnap/kojisnap/retry"
)

const (
	reclaimEvery = 3 * time.Second
	// reclaimAfter is for how long a job must have run without its shard's lock before it goes back. It is longer
	// than stopWithin: a worker whose session ended may be at work for that long.
	reclaimAfter = 12 * time.Second
	healEvery    = 30 * time.Second
)

// attempt is one run of a job.
type attempt struct {
	id int64
	at time.Time
}

// reclaimer gives back jobs whose worker has died or was cut off.
type reclaimer struct {
	w       *worker
	client  *river.Client[pgx.Tx]
	topdir  string
	suspect map[attempt]time.Time // since when nobody holds the lock of a running job's shard
}

// run looks until ctx ends.
func (r *reclaimer) run(ctx context.Context) {
	r.suspect = map[attempt]time.Time{}
	healed := time.Now()
	for retry.Sleep(ctx, reclaimEvery) == nil {
		if r.w.leases.current() == nil {
			clear(r.suspect) // while the queue is lost, nothing is seen
			continue
		}
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			clear(r.suspect)
			r.w.opts.Log.DebugContext(ctx, "the queue does not say which jobs run", "err", err)
		}
		if time.Since(healed) > healEvery {
			healed = time.Now()
			if err := r.heal(ctx); err != nil && ctx.Err() == nil {
				r.w.opts.Log.DebugContext(ctx, "the queue does not say which shards lack a job", "err", err)
			}
		}
	}
}

// look finds the running jobs whose shard nobody holds, and gives back those for which that has been so for long.
func (r *reclaimer) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	rows, err := r.w.q.pool.Query(ctx, `SELECT id, attempted_at, args ->> 'shard' FROM kojisnap_queue.river_job
		WHERE queue = $1 AND kind = $2 AND state = 'running' ORDER BY id`, queueName(r.topdir), kind)
	if err != nil {
		return err
	}
	type job struct {
		ID    int64
		At    time.Time
		Shard string
	}
	running, err := pgx.CollectRows(rows, pgx.RowToStructByPos[job])
	if err != nil {
		return err
	}
	seen := map[attempt]bool{}
	for _, j := range running {
		a := attempt{j.ID, j.At}
		back, free := false, false
		err := pgx.BeginFunc(ctx, r.w.q.pool, func(tx pgx.Tx) error {
			// For the time of this transaction the lock is ours: nobody takes it meanwhile.
			if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", lockKey(r.topdir, "shard", j.Shard)).Scan(&free); err != nil || !free {
				return err
			}
			if since, known := r.suspect[a]; !known || time.Since(since) < reclaimAfter {
				return nil
			}
			var err error
			back, err = r.giveBack(ctx, tx, j.ID, j.At, j.Shard)
			return err
		})
		if err != nil {
			return err
		}
		if back {
			r.w.opts.Log.InfoContext(ctx, "a worker has died, or was cut off: its shard goes back", "shard", j.Shard)
		} else if free {
			seen[a] = true
			if _, known := r.suspect[a]; !known {
				r.suspect[a] = time.Now()
			}
		}
	}
	for a := range r.suspect {
		if !seen[a] {
			delete(r.suspect, a)
		}
	}
	return nil
}

// giveBack does what River's rescue would do later. It does not count an attempt: the work did not fail. But a shard
// over which workers die again and again is failed.
func (r *reclaimer) giveBack(ctx context.Context, tx pgx.Tx, id int64, at time.Time, shard string) (bool, error) {
	tag, err := tx.Exec(ctx, `UPDATE kojisnap_queue.river_job SET state = 'available', scheduled_at = now(), attempt = greatest(attempt - 1, 0)
		WHERE id = $1 AND state = 'running' AND attempted_at = $2`, id, at)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	_, err = tx.Exec(ctx, `UPDATE kojisnap_queue.fleet_shard SET lost = lost + 1, changed = now(),
			state = CASE WHEN lost + 1 >= $3 THEN 'failed' ELSE state END,
			error = CASE WHEN lost + 1 >= $3 THEN $4 ELSE error END
		WHERE topdir = $1 AND shard = $2 AND state = 'left'`, r.topdir, shard, lostMost,
		fmt.Sprintf("%d workers died or were cut off while they worked on it", lostMost))
	return true, err
}

// heal gives shards that are left without a job another one, whatever became of the first, and forgets old reports.
func (r *reclaimer) heal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healEvery)
	defer cancel()
	return pgx.BeginFunc(ctx, r.w.q.pool, func(tx pgx.Tx) error {
		n, _, err := insertJobs(ctx, r.client, tx, r.topdir)
		if n > 0 {
			r.w.opts.Log.InfoContext(ctx, "shards had lost their jobs, and got others", "shards", n)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM kojisnap_queue.fleet_made WHERE topdir = $1 AND at < now() - interval '1 day'", r.topdir)
		return err
	})
}
