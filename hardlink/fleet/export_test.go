package fleet

import (
	"context"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// Heal does at once what a worker does every half minute.
func (q *Queue) Heal(ctx context.Context, topdir string) error {
	client, err := river.NewClient(riverpgxv5.New(q.pool), &river.Config{Schema: schema, Logger: demote(q.log)})
	if err != nil {
		return err
	}
	w := &worker{q: q, opts: Options{}.withDefaults()}
	return (&reclaimer{w: w, client: client, topdir: topdir}).heal(ctx)
}

// Exec runs a statement in the queue's database.
func (q *Queue) Exec(ctx context.Context, sql string, args ...any) error {
	_, err := q.pool.Exec(ctx, sql, args...)
	return err
}

// Scan runs a query for one value.
func (q *Queue) Scan(ctx context.Context, to any, sql string, args ...any) error {
	return q.pool.QueryRow(ctx, sql, args...).Scan(to)
}

// TopdirNote is the file that has a topdir's id.
const TopdirNote = topdirNote

// LostMost is lostMost.
const LostMost = lostMost
