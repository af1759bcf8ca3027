package fullimport

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"
)

// task is a piece of work on one session.
type task struct {
	size  int64 // of its table: of the tasks that can begin, that of the largest table does
	needs []*task
	run   func(ctx context.Context, conn *pgx.Conn) error

	begun, done bool
}

// schedule runs tasks in several sessions, each task after those that it needs. connect opens a session. The first
// error ends all that run, and is returned.
func schedule(ctx context.Context, tasks []*task, sessions int, connect func(context.Context) (*pgx.Conn, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &workers{tasks: tasks}
	s.wake.L = &s.mu
	stop := context.AfterFunc(ctx, func() { s.fail(ctx.Err()) })
	defer stop()
	var all sync.WaitGroup
	for range sessions {
		all.Go(func() {
			conn, err := connect(ctx)
			if err != nil {
				s.fail(err)
				cancel()
				return
			}
			defer conn.Close(context.WithoutCancel(ctx))
			for t := s.next(); t != nil; t = s.next() {
				if err := t.run(ctx, conn); err != nil {
					s.fail(err)
					cancel()
					return
				}
				s.finished(t)
			}
		})
	}
	all.Wait()
	return s.err
}

// workers is what the sessions share.
type workers struct {
	mu    sync.Mutex
	wake  sync.Cond
	tasks []*task
	err   error // the first
}

// next waits for a task that can begin. It returns nil if there is none any more.
func (s *workers) next() *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil {
		var best *task
		left := false
		for _, t := range s.tasks {
			left = left || !t.begun
			if !t.begun && t.ready() && (best == nil || t.size > best.size) {
				best = t
			}
		}
		if best != nil {
			best.begun = true
			return best
		}
		if !left {
			return nil
		}
		s.wake.Wait()
	}
	return nil
}

func (t *task) ready() bool {
	for _, n := range t.needs {
		if !n.done {
			return false
		}
	}
	return true
}

func (s *workers) finished(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.done = true
	s.wake.Broadcast()
}

func (s *workers) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.wake.Broadcast()
}
