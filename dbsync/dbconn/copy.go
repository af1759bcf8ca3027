package dbconn

import (
	"context"
	"io"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// CopyFrom runs COPY … FROM STDIN with what a reader has. When it returns, nothing reads from that any more: after a lost
// connection pgx itself may still do so.
func CopyFrom(ctx context.Context, conn *pgx.Conn, from io.Reader, sql string) (pgconn.CommandTag, error) {
	s := &stoppable{from: from}
	defer s.stop()
	return conn.PgConn().CopyFrom(ctx, s, sql)
}

// stoppable is a reader that can be cut off from its source while another goroutine reads.
type stoppable struct {
	mu   sync.Mutex
	from io.Reader // nil: stopped
}

func (s *stoppable) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from == nil {
		return 0, io.ErrClosedPipe
	}
	return s.from.Read(p)
}

func (s *stoppable) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = nil
}
