package dbsync_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync"
)

// statements counts what a connection asks of the server.
type statements struct{ n int }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.n++
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestFewStatements: a load of little asks little of the server, which may be far away, and makes few temporary tables,
// which take most of the time of such a load.
func TestFewStatements(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	config, err := pgx.ParseConfig(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	var count statements
	config.DefaultQueryExecMode, config.Tracer = pgx.QueryExecModeExec, &count
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	s.conn = conn
	w.tag(20, 19)
	snap := w.snapshot(shot{})
	var tables int64
	if _, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{Base: s.base, Progress: stages(func(stage string) {
		if stage == "merge" {
			err = conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relname LIKE 'ks\\_%'").Scan(&tables)
		}
	})}); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if count.n > 180 || count.n < 50 {
		t.Errorf("one tagging took %d statements", count.n)
	}
	if tables > 60 || tables < 20 {
		t.Errorf("one tagging took %d temporary tables", tables)
	}
	s.check(w, shot{})
}
