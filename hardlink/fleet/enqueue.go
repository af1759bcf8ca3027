package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/lockfile"
)

// kind is the kind of our jobs. A worker fetches only kinds that it knows: one that does other work needs another.
const kind = "kojisnap_shard"

// jobArgs are the arguments of a job. A shard of a snapshot has at most one job at a time.
type jobArgs struct {
	Topdir   string `json:"topdir" river:"unique"`
	Snapshot string `json:"snapshot" river:"unique"`
	Shard    string `json:"shard" river:"unique"`
}

func (jobArgs) Kind() string { return kind }

// active are the states of jobs that will still run, or run. Completed ones are not among them: River keeps those
// for a day, and a shard may have to be made again.
var active = []rivertype.JobState{rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled}

// Enqueued says what Enqueue did with the shards of a plan.
type Enqueued struct {
	Snapshot string `json:"snapshot"`
	Shards   int    `json:"shards"` // of the plan
	Files    int64  `json:"files"`
	Bytes    int64  `json:"bytes"`
	Queued   int    `json:"queued"`  // got a job now
	Waiting  int    `json:"waiting"` // had one already
	Done     int    `json:"done"`    // are done, and unchanged
	Dropped  int    `json:"dropped"` // of an earlier plan, and not in this one
}

// Enqueue makes a plan the one of its topdir: each shard that is not done gets a job, unless it has one. Done is a
// shard that was done with the same digest. Jobs of another snapshot go; those that run end, and count for a shard
// that has not changed. Attempts and failures begin anew for shards that had failed. It is one transaction. If
// another Enqueue is at work on the topdir, the error is lockfile.ErrLocked.
func (q *Queue) Enqueue(ctx context.Context, p Plan) (Enqueued, error) {
	r := Enqueued{Snapshot: p.Snapshot, Shards: len(p.Shards)}
	client, err := river.NewClient(riverpgxv5.New(q.pool), &river.Config{Schema: schema, Logger: demote(q.log)})
	if err != nil {
		return r, err
	}
	err = pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
		var mine bool
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", lockKey(p.Topdir, "plan", "")).Scan(&mine); err != nil {
			return err
		}
		if !mine {
			return lockfile.Locked("another kojisnap puts a plan for this topdir into the queue")
		}
		if err := q.dropOthers(ctx, client, tx, p); err != nil {
			return err
		}
		if err := putPlan(ctx, tx, p, &r); err != nil {
			return err
		}
		var left int
		r.Queued, left, err = insertJobs(ctx, client, tx, p.Topdir)
		r.Waiting = left - r.Queued
		return err
	})
	if err != nil {
		return r, fmt.Errorf("queue: put the plan of snapshot %s: %w", p.Snapshot, dbconn.Classify(err))
	}
	return r, nil
}

// dropOthers removes the jobs of the topdir's other snapshots that do not run.
func (q *Queue) dropOthers(ctx context.Context, client *river.Client[pgx.Tx], tx pgx.Tx, p Plan) error {
	old, err := q.Current(ctx, p.Topdir)
	if errors.As(err, new(*NoPlanError)) {
		return nil
	}
	if err != nil || old.Snapshot == p.Snapshot {
		return err
	}
	idle := slices.DeleteFunc(slices.Clone(active), func(s rivertype.JobState) bool { return s == rivertype.JobStateRunning })
	const some = 1000
	for {
		gone, err := client.JobDeleteManyTx(ctx, tx, river.NewJobDeleteManyParams().Queues(queueName(p.Topdir)).States(idle...).First(some))
		if err != nil {
			return err
		}
		if len(gone.Jobs) < some {
			return nil
		}
	}
}

// putPlan writes our rows. It counts into r.
func putPlan(ctx context.Context, tx pgx.Tx, p Plan, r *Enqueued) error {
	names := make([]string, len(p.Sources))
	for i, s := range p.Sources {
		names[i] = SourceKey(s.Name)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO kojisnap_queue.fleet_plan (topdir, env, snapshot, sources) VALUES ($1, $2, $3, $4)
		ON CONFLICT (topdir) DO UPDATE SET env = EXCLUDED.env, snapshot = EXCLUDED.snapshot, sources = EXCLUDED.sources, planned = now()`,
		p.Topdir, p.Env, p.Snapshot, names); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE fleet_new (shard text PRIMARY KEY, digest text, files bigint, bytes bigint, mode text) ON COMMIT DROP"); err != nil {
		return err
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"fleet_new"}, []string{"shard", "digest", "files", "bytes", "mode"}, pgx.CopyFromSlice(len(p.Shards), func(i int) ([]any, error) {
		s := p.Shards[i]
		r.Files += s.Files
		r.Bytes += s.Bytes
		return []any{s.Name, s.Digest, s.Files, s.Bytes, s.Mode}, nil
	})); err != nil {
		return err
	}
	gone, err := tx.Exec(ctx, `DELETE FROM kojisnap_queue.fleet_shard s WHERE topdir = $1 AND NOT EXISTS (SELECT FROM fleet_new n WHERE n.shard = s.shard)`, p.Topdir)
	if err != nil {
		return err
	}
	r.Dropped = int(gone.RowsAffected())
	// A shard that has changed begins anew; a failed one is tried again. What is left to do of another mode is still to
	// be done.
	if _, err := tx.Exec(ctx, `INSERT INTO kojisnap_queue.fleet_shard AS s (topdir, shard, digest, files, bytes, mode)
		SELECT $1, shard, digest, files, bytes, mode FROM fleet_new
		ON CONFLICT (topdir, shard) DO UPDATE SET digest = EXCLUDED.digest, files = EXCLUDED.files, bytes = EXCLUDED.bytes,
			mode = CASE WHEN EXCLUDED.mode = '' AND s.state = 'left' THEN s.mode ELSE EXCLUDED.mode END,
			state = 'left', made_files = 0, made_bytes = 0, failures = 0, lost = 0, error = NULL, worker = NULL, changed = now()
		WHERE s.digest <> EXCLUDED.digest OR s.state = 'failed' OR EXCLUDED.mode NOT IN ('', s.mode) OR EXCLUDED.mode <> '' AND s.state = 'done'`, p.Topdir); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM kojisnap_queue.fleet_shard WHERE topdir = $1 AND state = 'done'", p.Topdir).Scan(&r.Done); err != nil {
		return err
	}
	return putSources(ctx, tx, p)
}

func putSources(ctx context.Context, tx pgx.Tx, p Plan) error {
	var names []string
	for _, s := range p.Sources {
		names = append(names, SourceKey(s.Name))
		if _, err := tx.Exec(ctx, `INSERT INTO kojisnap_queue.fleet_source (topdir, source, slots, bytes, requests) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (topdir, source) DO UPDATE SET slots = EXCLUDED.slots, bytes = EXCLUDED.bytes, requests = EXCLUDED.requests`,
			p.Topdir, SourceKey(s.Name), max(1, s.Slots), s.Bytes, s.Requests); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, "DELETE FROM kojisnap_queue.fleet_source WHERE topdir = $1 AND source <> ALL ($2)", p.Topdir, names)
	return err
}

// insertJobs gives each shard that is left a job, the largest first, unless it has one. left counts all of them.
func insertJobs(ctx context.Context, client *river.Client[pgx.Tx], tx pgx.Tx, topdir string) (inserted, left int, err error) {
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM kojisnap_queue.fleet_shard WHERE topdir = $1 AND state = 'left'", topdir).Scan(&left); err != nil {
		return 0, 0, err
	}
	rows, err := tx.Query(ctx, `SELECT s.topdir, p.snapshot, s.shard FROM kojisnap_queue.fleet_shard s JOIN kojisnap_queue.fleet_plan p USING (topdir)
		WHERE topdir = $1 AND s.state = 'left' AND NOT EXISTS (SELECT FROM kojisnap_queue.river_job j
			WHERE j.queue = $2 AND j.kind = $3 AND j.state IN ('available', 'pending', 'running', 'retryable', 'scheduled')
				AND j.args ->> 'shard' = s.shard AND j.args ->> 'snapshot' = p.snapshot)
		ORDER BY s.bytes DESC, s.files DESC, s.shard`, topdir, queueName(topdir), kind)
	if err != nil {
		return 0, left, err
	}
	lacking, err := pgx.CollectRows(rows, pgx.RowToStructByPos[jobArgs])
	if err != nil {
		return 0, left, err
	}
	for part := range slices.Chunk(lacking, 1000) {
		params := make([]river.InsertManyParams, len(part))
		for i, args := range part {
			params[i] = river.InsertManyParams{Args: args, InsertOpts: &river.InsertOpts{
				Queue: queueName(topdir), MaxAttempts: Attempts, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: active},
			}}
		}
		results, err := client.InsertManyTx(ctx, tx, params)
		if err != nil {
			return inserted, left, err
		}
		for _, res := range results {
			if !res.UniqueSkippedAsDuplicate {
				inserted++
			}
		}
	}
	return inserted, left, nil
}
