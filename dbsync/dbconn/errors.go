package dbconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/retry"
)

var errLocked = lockfile.Locked("another kojisnap is at work on this database")

// sqlState returns PostgreSQL's error code, or "".
func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// retryable reports whether the same transaction may succeed at once: after lock timeouts, deadlocks,
// serialization failures, and conflicts with rows that the hub inserted or deleted meanwhile.
func retryable(code string) bool {
	switch code {
	case "55P03", "40P01", "40001", "23505", "23503":
		return true
	}
	return false
}

// IsConstraint reports whether an SQLSTATE says that a row or a value is not allowed.
func IsConstraint(code string) bool {
	return strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23")
}

// refusal adds the table and the row to an error of PostgreSQL's, if it knows them.
func refusal(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	var more []string
	if pg.TableName != "" && !strings.Contains(pg.Message, pg.TableName) {
		more = append(more, "table "+pg.TableName)
	}
	for _, s := range []string{pg.Detail, pg.Where} {
		if s != "" {
			more = append(more, strings.Join(strings.Fields(s), " "))
		}
	}
	if len(more) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, strings.Join(more, "; "))
}

// Classify makes errors of a lost database retry.TemporaryErrors.
func Classify(err error) error { return classify(err) }

// SQLState returns the SQLSTATE of an error of PostgreSQL's, or "".
func SQLState(err error) string { return sqlState(err) }

// classify makes errors of a lost database retry.TemporaryErrors, and adds to others what to do.
func classify(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	code := sqlState(err)
	var netErr *net.OpError // not net.Error: a missing file's errno is one too
	var connect *pgconn.ConnectError
	lost := code == "57P01" || code == "57P02" || code == "57P03" || strings.HasPrefix(code, "08") || code == "53300" ||
		code == "" && (errors.As(err, &netErr) || errors.As(err, &connect) || errors.Is(err, io.ErrUnexpectedEOF) ||
			strings.Contains(err.Error(), "conn closed"))
	switch {
	case lost:
		return &retry.TemporaryError{Err: err}
	case code == "53100":
		return fmt.Errorf("%w: nothing has changed; make room on the database server", err)
	case code == "55000" && strings.Contains(err.Error(), "replica identity"):
		return fmt.Errorf("%w: give it one (ALTER TABLE … REPLICA IDENTITY FULL, or USING INDEX), or take it out of the publication", err)
	case code == "53200":
		return fmt.Errorf("%w: PostgreSQL's table of locks is full, or its memory is used up: nothing has changed; raise max_locks_per_transaction (or pg_dump and vacuum hold the locks: try again later)", err)
	case strings.HasPrefix(code, "P0"):
		return fmt.Errorf("a trigger or function of this database's own refused: %w", refusal(err))
	case code == "42501":
		return fmt.Errorf("%w: scripts/grants.sql has what the role needs", err)
	}
	return err
}
