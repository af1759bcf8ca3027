// Package dbtest gives tests real PostgreSQL databases with Koji's schema.
//
// The server is, in this order: the one that KOJISNAP_TEST_DSN names (its user must be
// a superuser); a container that testcontainers-go starts, where a Docker engine runs; a
// private server started from the machine's own PostgreSQL binaries. A package that uses it
// calls Main from its TestMain, which stops what was started.
package dbtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// Main runs a package's tests and stops the server, if one was started.
func Main(m *testing.M) int {
	code := m.Run()
	if started.stop != nil {
		started.stop()
	}
	return code
}

// Fresh makes a database as a new Koji 1.35 has it, with its seeds and no other row, and
// returns its DSN. It is dropped when the test ends.
func Fresh(t testing.TB) string { return clone(t, "fresh") }

// Production makes a database with all rows of package kojiprod.
func Production(t testing.TB) string { return clone(t, "production") }

// Empty makes a database without any table.
func Empty(t testing.TB) string { return clone(t, "") }

// Template makes a database of a kind of the caller's own: the first in a process is a fresh one that
// fill changes, which goes by its DSN, and all are copies of that. Errors of fill end the test. What
// fill leaves of the database's name or oid is the template's, and the copies have others.
func Template(t testing.TB, kind string, fill func(dsn string) error) string {
	t.Helper()
	start(t)
	custom.Store(kind, fill)
	return clone(t, kind)
}

// custom has the fill function of each kind that Template was called with.
var custom sync.Map

// Connect opens a connection that is closed when the test ends. Like dbconn.Connect, it prepares no
// statements.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// Exec runs statements, as psql would.
func Exec(t testing.TB, dsn, sql string) {
	t.Helper()
	if err := execSQL(dsn, sql); err != nil {
		t.Fatal(err)
	}
}

type server struct {
	dsn  string // of a database from which others can be made
	stop func()
	err  error
}

var (
	started   server
	startOnce sync.Once
	names     atomic.Int64

	templateMu sync.Mutex
	templates  = map[string]error{}
)

func start(t testing.TB) string {
	t.Helper()
	startOnce.Do(func() { started.dsn, started.stop, started.err = Start() })
	if started.err != nil {
		t.Fatal(started.err)
	}
	return started.dsn
}

// Start starts the server, unless KOJISNAP_TEST_DSN names one, and returns the DSN of a database on it. stop stops
// what was started.
func Start() (dsn string, stop func(), err error) {
	if dsn := os.Getenv("KOJISNAP_TEST_DSN"); dsn != "" {
		return dsn, func() {}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dsn, stop, docker := container(ctx)
	if docker == nil {
		return dsn, stop, nil
	}
	if dsn, stop, err = local(); err != nil {
		return "", nil, fmt.Errorf("no PostgreSQL for tests: set KOJISNAP_TEST_DSN, or start Docker (%w), or install postgresql (%w)", docker, err)
	}
	return dsn, stop, nil
}

// clone makes a database from a template, which is made at first use.
func clone(t testing.TB, kind string) string {
	t.Helper()
	dsn := start(t)
	template := "template0"
	if kind != "" {
		template = templateName(kind)
		if err := makeTemplate(dsn, template, kind); err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprintf("kojisnap_test_%d_%d", os.Getpid(), names.Add(1))
	if err := administer(dsn, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s%s", name, template, strategy(dsn))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := administer(dsn, fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name)); err != nil {
			t.Error(err)
		}
	})
	return withDatabase(dsn, name)
}

var strategyOnce struct {
	sync.Once
	sql string
}

// strategy is how databases are copied: by files where that is known (since PostgreSQL 15) and nothing waits for the
// disk, as it takes half the time of a copy by way of the log.
func strategy(dsn string) string {
	strategyOnce.Do(func() {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return
		}
		defer conn.Close(ctx)
		var files bool
		err = conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::integer >= 150000 AND NOT current_setting('fsync')::boolean").Scan(&files)
		if err == nil && files {
			strategyOnce.sql = " STRATEGY file_copy"
		}
	})
	return strategyOnce.sql
}

func makeTemplate(dsn, name, kind string) error {
	templateMu.Lock()
	defer templateMu.Unlock()
	return makeTemplateOnce(dsn, name, kind)
}

// makeTemplateOnce is makeTemplate for who holds the lock. All but the first two kinds are made of a fresh database.
func makeTemplateOnce(dsn, name, kind string) error {
	if err, made := templates[name]; made {
		return err
	}
	err := func() error {
		from, schema := "template0 ENCODING 'UTF8'", kojiprod.SchemaSQL(kind != "production")
		if kind != "fresh" && kind != "production" {
			from, schema = templateName("fresh"), ""
			if err := makeTemplateOnce(dsn, from, "fresh"); err != nil {
				return err
			}
			from += strategy(dsn)
		}
		if err := administer(dsn, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, from)); err != nil {
			return err
		}
		drop, next := name, started.stop
		started.stop = func() {
			if err := administer(dsn, "DROP DATABASE "+drop+" WITH (FORCE)"); err != nil {
				fmt.Fprintln(os.Stderr, "dbtest:", err)
			}
			next()
		}
		db := withDatabase(dsn, name)
		fill, isCustom := custom.Load(kind)
		if err := execSQL(db, schema); err != nil {
			return fmt.Errorf("schema of Koji: %w", err)
		}
		var release int
		switch {
		case isCustom:
			return fill.(func(string) error)(db)
		case kind == "production":
			return fillProduction(db)
		case kind == "fresh":
			return nil
		}
		if _, err := fmt.Sscanf(kind, "release%d", &release); err != nil {
			return err
		}
		return execSQL(db, downgrade(release, true))
	}()
	templates[name] = err
	return err
}

func templateName(kind string) string { return fmt.Sprintf("kojisnap_%s_%d", kind, os.Getpid()) }

// fillProduction copies the rows of package kojiprod into an empty schema and sets the sequences.
func fillProduction(dsn string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	// Without triggers the order of tables does not matter; the rows come from a database
	// that kept its foreign keys.
	if _, err := tx.Exec(ctx, "SET LOCAL session_replication_role = replica"); err != nil {
		return err
	}
	for _, table := range kojiprod.Tables() {
		f, err := kojiprod.Rows().Open(table + ".tsv")
		if err != nil {
			continue // a table without rows has no file
		}
		_, err = conn.PgConn().CopyFrom(ctx, f, fmt.Sprintf("COPY %s FROM STDIN WITH (HEADER)", table))
		f.Close()
		if err != nil {
			return fmt.Errorf("copy %s: %w", table, err)
		}
	}
	_, err = tx.Exec(ctx, `DO $$ DECLARE s record; BEGIN
		FOR s IN SELECT c.relname AS tab, a.attname AS col, pg_get_serial_sequence(c.relname, a.attname) AS seq
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
			WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
			AND pg_get_serial_sequence(c.relname, a.attname) IS NOT NULL
		LOOP EXECUTE format('SELECT setval(%L, coalesce(max(%I), 0) + 1, false) FROM %I', s.seq, s.col, s.tab); END LOOP;
		END $$`)
	if err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func execSQL(dsn, sql string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

var administrator struct {
	sync.Mutex
	conn *pgx.Conn
}

// administer makes and drops databases, all by one connection: a new one costs the server a third as much as the database.
func administer(dsn, sql string) error {
	administrator.Lock()
	defer administrator.Unlock()
	ctx := context.Background()
	if administrator.conn == nil || administrator.conn.IsClosed() {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		administrator.conn = conn
	}
	_, err := administrator.conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// withDatabase is dsn with another database, in both of libpq's forms.
func withDatabase(dsn, name string) string {
	if u, err := url.Parse(dsn); err == nil && strings.HasPrefix(u.Scheme, "postgres") {
		u.Path = "/" + name
		return u.String()
	}
	return dsn + " dbname=" + name
}
