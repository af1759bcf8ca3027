package fleet

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
)

// Status says how far a topdir's plan is.
type Status struct {
	Env      string    `json:"env"`
	Snapshot string    `json:"snapshot"`
	Planned  time.Time `json:"planned"`
	Shards   Counts    `json:"shards"`
	Files    Amount    `json:"files"`
	Bytes    Amount    `json:"bytes"`
	Rate     int64     `json:"rate"`               // bytes a second that all workers made in the last minutes
	Left     *int64    `json:"seconds_left"`       // at this rate; nil: nothing was made lately
	Workers  []AtWork  `json:"workers,omitempty"`  // that made something, or tried to, in the last minute
	Failures []Failure `json:"failures,omitempty"` // of shards that are not done
	Sources  []State   `json:"sources,omitempty"`  //
	Now      time.Time `json:"time"`               // the queue's clock
	Waiting  int       `json:"waiting"`            // jobs that no worker has yet
}

// Counts are the shards of a plan by their state.
type Counts struct {
	All    int `json:"all"`
	Done   int `json:"done"`
	Left   int `json:"left"` // includes those at work
	Failed int `json:"failed"`
}

// Amount is how much of a plan is done. Of shards that are not done, it counts what this plan's jobs have made.
type Amount struct {
	All  int64 `json:"all"`
	Done int64 `json:"done"`
}

// AtWork is a worker.
type AtWork struct {
	Worker string   `json:"worker"`
	Shards []string `json:"shards"`
	Rate   int64    `json:"rate"` // bytes a second
}

// Failure is a shard that has failed, or that has failed so far.
type Failure struct {
	Shard    string    `json:"shard"`
	State    string    `json:"state"`    // left: it is tried again; failed
	Failures int       `json:"failures"` // attempts that failed
	Lost     int       `json:"lost"`     // workers that died or were cut off over it
	Error    string    `json:"error"`    // the last one
	Worker   string    `json:"worker"`   // of the last attempt
	Changed  time.Time `json:"changed"`
}

// State is what the workers know of a source.
type State struct {
	Source   string     `json:"source"`
	Slots    int        `json:"slots"`
	Bytes    int64      `json:"bytes"`    // a second for all; 0: no limit
	Requests float64    `json:"requests"` // a second for all; 0: no limit
	Failures int        `json:"failures"` // in a row
	OpenAt   *time.Time `json:"open_at"`  // until then no shard reads it; nil: it is open
	Error    string     `json:"error,omitempty"`
}

// Complete reports whether all shards are done.
func (s Status) Complete() bool { return s.Shards.Done == s.Shards.All }

// Settled reports whether no shard is left: all are done or failed.
func (s Status) Settled() bool { return s.Shards.Left == 0 }

// rateOver is over which time the rate is taken.
const rateOver = 5 * time.Minute

// Status returns how far a topdir's plan is, at one moment. If there is none, the error is a *NoPlanError.
func (q *Queue) Status(ctx context.Context, topdir string) (Status, error) {
	c, err := q.Current(ctx, topdir)
	if err != nil {
		return Status{}, err
	}
	s := Status{Env: c.Env, Snapshot: c.Snapshot, Planned: c.Planned}
	err = pgx.BeginTxFunc(ctx, q.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		for _, read := range []func(context.Context, pgx.Tx, string) error{s.readShards, s.readRate, s.readFailures, s.readSources} {
			if err := read(ctx, tx, topdir); err != nil {
				return err
			}
		}
		return nil
	})
	return s, dbconn.Classify(err)
}

func (s *Status) readShards(ctx context.Context, tx pgx.Tx, topdir string) error {
	err := tx.QueryRow(ctx, `SELECT now(), count(*), count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'left'), count(*) FILTER (WHERE state = 'failed'),
			coalesce(sum(files), 0)::bigint, coalesce(sum(CASE state WHEN 'done' THEN files ELSE least(made_files, files) END), 0)::bigint,
			coalesce(sum(bytes), 0)::bigint, coalesce(sum(CASE state WHEN 'done' THEN bytes ELSE least(made_bytes, bytes) END), 0)::bigint
		FROM kojisnap_queue.fleet_shard WHERE topdir = $1`, topdir).
		Scan(&s.Now, &s.Shards.All, &s.Shards.Done, &s.Shards.Left, &s.Shards.Failed, &s.Files.All, &s.Files.Done, &s.Bytes.All, &s.Bytes.Done)
	if err != nil {
		return err
	}
	return tx.QueryRow(ctx, `SELECT count(*) FROM kojisnap_queue.river_job WHERE queue = $1 AND state IN ('available', 'pending', 'retryable', 'scheduled')`, queueName(topdir)).Scan(&s.Waiting)
}

func (s *Status) readRate(ctx context.Context, tx pgx.Tx, topdir string) error {
	var bytes int64
	var seconds float64
	err := tx.QueryRow(ctx, `SELECT coalesce(sum(bytes), 0)::bigint, coalesce(extract(epoch FROM now() - min(at)), 0)::float8 + $3
		FROM kojisnap_queue.fleet_made WHERE topdir = $1 AND at > now() - make_interval(secs => $2)`, topdir, rateOver.Seconds(), madeEvery.Seconds()).Scan(&bytes, &seconds)
	if err != nil {
		return err
	}
	if s.Rate = int64(float64(bytes) / seconds); s.Rate > 0 {
		left := (s.Bytes.All - s.Bytes.Done) / s.Rate
		s.Left = &left
	}
	rows, err := tx.Query(ctx, `SELECT worker, array_agg(DISTINCT shard ORDER BY shard), (sum(bytes) / 60)::bigint
		FROM kojisnap_queue.fleet_made WHERE topdir = $1 AND at > now() - interval '1 minute' GROUP BY worker ORDER BY worker`, topdir)
	if err != nil {
		return err
	}
	s.Workers, err = pgx.CollectRows(rows, pgx.RowToStructByPos[AtWork])
	return err
}

func (s *Status) readFailures(ctx context.Context, tx pgx.Tx, topdir string) error {
	rows, err := tx.Query(ctx, `SELECT shard, state, failures, lost, coalesce(error, ''), coalesce(worker, ''), changed
		FROM kojisnap_queue.fleet_shard WHERE topdir = $1 AND state <> 'done' AND (failures > 0 OR lost > 0 OR state = 'failed') ORDER BY state, shard`, topdir)
	if err != nil {
		return err
	}
	s.Failures, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Failure])
	return err
}

func (s *Status) readSources(ctx context.Context, tx pgx.Tx, topdir string) error {
	rows, err := tx.Query(ctx, `SELECT source, slots, bytes, requests, failures, CASE WHEN open_at > now() THEN open_at END, coalesce(error, '')
		FROM kojisnap_queue.fleet_source WHERE topdir = $1 ORDER BY source`, topdir)
	if err != nil {
		return err
	}
	s.Sources, err = pgx.CollectRows(rows, pgx.RowToStructByPos[State])
	return err
}
