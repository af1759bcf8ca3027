package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/retry"
)

const (
	// pingEvery and pingWithin say when a session is lost: no answer within pingWithin, so after 6 s at most.
	pingEvery  = time.Second
	pingWithin = 5 * time.Second
	// stopWithin is how long after the last answer of a lost session work may go on at most.
	stopWithin = 10 * time.Second
	// After dropAfter without a sign of the worker PostgreSQL ends its session, asking for one each keepEvery. That
	// must be later than stopWithin: then nobody works any more under a lock that another gets.
	dropAfter, keepEvery = 20 * time.Second, 5 * time.Second
	// reconnectMax is the longest pause between two attempts to connect again.
	reconnectMax = 10 * time.Second
)

// errLost cancels the work of a lost session.
var errLost = errors.New("the queue does not answer: another worker may get the shard")

// errPooler says that sessions are shared between clients, or change under one.
var errPooler = errors.New("it is behind a pooler in transaction mode, where a session's locks are of no use: give --queue the host and port of PostgreSQL itself, or of a pooler in session mode")

// leases are the advisory locks that a worker holds, all in one session.
type leases struct {
	connect func(ctx context.Context) (*pgx.Conn, error)
	broken  func(error) // called if sessions are of no use
	log     *slog.Logger

	mu      sync.Mutex // of all that follows, and of the session: it runs one statement at a time
	session *session   // nil: lost, and not yet again there
}

// session is one session of the server.
type session struct {
	conn     *pgx.Conn
	pid      uint32
	since    time.Time
	answered time.Time
	lost     context.Context // ends when the session is lost
	lose     context.CancelCauseFunc
	held     map[int64]bool
}

// open begins the first session. keep must run for the later ones.
func (l *leases) open(ctx context.Context) error {
	s, err := l.begin(ctx)
	if err != nil {
		return err
	}
	l.session = s
	return nil
}

func (l *leases) begin(ctx context.Context) (*session, error) {
	conn, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, since: time.Now(), answered: time.Now(), held: map[int64]bool{}}
	// On a Unix socket these have no effect, and need none.
	// Keep-alives are for a silent connection; the user timeout, since PostgreSQL 12, for an answer that got lost.
	_, err = conn.Exec(ctx, fmt.Sprintf(`SELECT set_config(s.name, w.setting, false) FROM pg_settings s JOIN (VALUES
		('tcp_keepalives_idle', '%[1]d'), ('tcp_keepalives_interval', '%[1]d'), ('tcp_keepalives_count', '%[2]d'), ('tcp_user_timeout', '%[3]d'),
		('idle_session_timeout', '0'), ('statement_timeout', '0')) w (name, setting) USING (name)`,
		int(keepEvery.Seconds()), int(dropAfter/keepEvery)-1, dropAfter.Milliseconds()))
	if err == nil {
		err = conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&s.pid)
	}
	if err == nil {
		err = l.checkOwn(ctx, s.pid)
	}
	if err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return nil, dbconn.Classify(err)
	}
	s.lost, s.lose = context.WithCancelCause(context.Background())
	return s, nil
}

// checkOwn fails if a second connection leads to the same session: then a pooler shares it between clients, and each
// would have the locks of all.
func (l *leases) checkOwn(ctx context.Context, pid uint32) error {
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var other uint32
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&other); err != nil {
		return err
	}
	if other == pid {
		return errPooler
	}
	return nil
}

// keep pings the session, and begins another when it is lost, until ctx ends. Then it ends the session, which
// gives back all locks.
func (l *leases) keep(ctx context.Context) {
	defer l.end()
	for tries := 0; ; {
		pause := pingEvery
		if l.current() == nil {
			pause = retry.Pause(time.Second, reconnectMax, tries)
			tries++
		}
		if retry.Sleep(ctx, pause) != nil {
			return
		}
		if l.current() != nil {
			if err := l.ping(ctx); errors.Is(err, errPooler) {
				l.broken(fmt.Errorf("queue: %w", err))
			} else if err != nil && ctx.Err() == nil {
				l.log.WarnContext(ctx, "the queue does not answer: work stops, and goes on when it does", "err", err)
			}
			continue
		}
		connecting, cancel := context.WithTimeout(ctx, 2*pingWithin)
		s, err := l.begin(connecting)
		cancel()
		if err != nil {
			l.log.DebugContext(ctx, "the queue does not answer yet", "err", err)
			continue
		}
		tries = 0
		l.mu.Lock()
		l.session = s
		l.mu.Unlock()
		l.log.WarnContext(ctx, "the queue answers again: work goes on")
	}
}

// current returns the session, nil if it is lost.
func (l *leases) current() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session
}

// ping asks the session for a sign of life. If there is none, it is lost.
func (l *leases) ping(ctx context.Context) error {
	var pid uint32
	return l.do(ctx, nil, func(ctx context.Context, s *session) error {
		if err := s.conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
			return err
		}
		if pid != s.pid {
			return errPooler
		}
		return nil
	})
}

// do runs statements in the session; a want that is not nil must still be the session. Any error loses it: it cannot
// be known which locks it has then.
func (l *leases) do(ctx context.Context, want *session, f func(context.Context, *session) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.session
	if s == nil || want != nil && want != s {
		return errLost
	}
	// A statement must not be cut off by the end of its job: that would lose the session for all others.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingWithin)
	defer cancel()
	err := f(within, s)
	if err == nil {
		s.answered = time.Now()
		return nil
	}
	l.session = nil
	s.lose(errLost)
	go s.close()
	return err
}

// close ends a session whose server may not answer.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), pingWithin)
	defer cancel()
	s.conn.Close(ctx)
}

func (l *leases) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.session; s != nil {
		l.session = nil
		s.lose(errLost)
		s.close()
	}
}

// take tries to take a lock. It returns nil if another session, or another job of this one, has it. An error means
// that the session is lost.
func (l *leases) take(ctx context.Context, key int64) (*lock, error) {
	var taken *lock
	err := l.do(ctx, nil, func(ctx context.Context, s *session) error {
		if s.held[key] { // PostgreSQL would give it again
			return nil
		}
		var got bool
		if err := s.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", key).Scan(&got); err != nil || !got {
			return err
		}
		s.held[key] = true
		taken = &lock{l, s, key}
		return nil
	})
	return taken, err
}

// lock is a lock that a session holds.
type lock struct {
	of  *leases
	in  *session
	key int64
}

// release gives the lock back; if its session is lost, it is given back already. A nil lock has nothing to give.
func (k *lock) release(ctx context.Context) {
	if k == nil {
		return
	}
	_ = k.of.do(ctx, k.in, func(ctx context.Context, s *session) error {
		delete(s.held, k.key)
		_, err := s.conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", k.key)
		return err
	})
}

// lastAnswer is when a session answered last.
func (l *leases) lastAnswer(s *session) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.answered
}
