package dbsync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// DefaultFloor is where staging's ids begin unless init is told otherwise.
const DefaultFloor = 990_000_000

// userName is the blocked user that revokes and touches what no user of production did.
const userName = "kojisnap"

// Mark says that a database is staging, and which database that was said of.
type Mark struct {
	Environment string    `json:"environment"`
	Database    string    `json:"database"`
	OID         uint32    `json:"oid"`
	System      string    `json:"system_identifier"` // of the server, pg_control_system()
	Floor       int64     `json:"floor"`             // staging's ids begin here
	Adopted     bool      `json:"adopted,omitempty"`
	MarkedAt    time.Time `json:"marked_at"`

	user   int64 // id of the user kojisnap
	format int   // of the tables in the schema kojisnap
}

// identity is the database that a connection leads to.
func identity(ctx context.Context, q querier) (m Mark, err error) {
	err = q.QueryRow(ctx, `SELECT datname, oid, (SELECT system_identifier FROM pg_control_system())::text
		FROM pg_database WHERE datname = current_database()`, pgx.QueryExecModeExec).Scan(&m.Database, &m.OID, &m.System)
	return m, err
}

// readMark returns the database's mark, or ErrNotStaging with the reason: there is none, or it
// is another database's.
func readMark(ctx context.Context, q querier) (*Mark, error) {
	here, err := identity(ctx, q)
	if err != nil {
		return nil, err
	}
	m, err := foundMark(ctx, q, here)
	switch {
	case err != nil:
		return nil, err
	case m.Database != here.Database || m.OID != here.OID || m.System != here.System:
		return nil, fmt.Errorf("database %q (oid %d) of server %s carries the mark of database %q (oid %d) of server %s, so it is a copy, or was moved: "+
			"for a move (pg_upgrade, dump and restore, another name) there is init --moved, which keeps all that is on record; for a copy that is to be another staging, init --adopt: %w",
			here.Database, here.OID, here.System, m.Database, m.OID, m.System, ErrNotStaging)
	}
	return m, nil
}

// foundMark returns the mark that is in the database here, also if it is another database's.
func foundMark(ctx context.Context, q querier, here Mark) (*Mark, error) {
	var there bool
	if err := q.QueryRow(ctx, `SELECT to_regclass('kojisnap.mark') IS NOT NULL`, pgx.QueryExecModeExec).Scan(&there); err != nil {
		return nil, err
	}
	unmarked := fmt.Errorf("database %q is not marked as staging (kojisnap init does that): %w", here.Database, ErrNotStaging)
	if !there {
		return nil, unmarked
	}
	var m Mark
	err := q.QueryRow(ctx, `SELECT format, environment, database, oid, system_identifier, floor, adopted, user_id, marked_at
		FROM kojisnap.mark`, pgx.QueryExecModeExec).Scan(&m.format, &m.Environment, &m.Database, &m.OID, &m.System,
		&m.Floor, &m.Adopted, &m.user, &m.MarkedAt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, unmarked
	case err != nil:
		return nil, err
	case m.format > bookFormat:
		return nil, fmt.Errorf("database %q was marked by a newer kojisnap (format %d): update kojisnap", here.Database, m.format)
	}
	m.MarkedAt = m.MarkedAt.UTC()
	return &m, nil
}

// keyed reports whether a relation's rows have no id of their own and no event, so that only
// a list of what was placed tells production's rows from staging's.
func keyed(r *relation.Relation) bool {
	return !r.Versioned && !r.InPlace && r.Columns[0].Name != "id"
}

// placedKeys names the table that lists which rows of a keyed relation a load placed.
func placedKeys(r *relation.Relation) string { return "kojisnap." + q("placed_"+r.Name) }

// bookTables makes the schema kojisnap as it was at first; see bookSteps.
func bookTables() string {
	var b strings.Builder
	b.WriteString(`
CREATE SCHEMA kojisnap;
CREATE TABLE kojisnap.mark (
	one boolean PRIMARY KEY DEFAULT true CHECK (one), format integer NOT NULL,
	environment text NOT NULL, database text NOT NULL, oid bigint NOT NULL, system_identifier text NOT NULL,
	floor bigint NOT NULL, adopted boolean NOT NULL, user_id integer NOT NULL, marked_at timestamptz NOT NULL);
CREATE TABLE kojisnap.seed (relation text, id integer, name text NOT NULL, PRIMARY KEY (relation, id));
CREATE TABLE kojisnap.idmap (relation text, prod_id integer, staging_id integer NOT NULL,
	made boolean NOT NULL, PRIMARY KEY (relation, prod_id), UNIQUE (relation, staging_id));
COMMENT ON COLUMN kojisnap.idmap.made IS 'the row was made by a load, as production''s id was taken';
CREATE TABLE kojisnap.placed (relation text, id integer, hash uuid NOT NULL, PRIMARY KEY (relation, id));
CREATE TABLE kojisnap.placed_columns (relation text PRIMARY KEY, columns text[] NOT NULL);
CREATE TABLE kojisnap.placed_volume (build_id integer PRIMARY KEY, production text NOT NULL,
	volume_id integer NOT NULL, state integer NOT NULL);
CREATE TABLE kojisnap.load (id serial PRIMARY KEY, snapshot text NOT NULL, event integer NOT NULL,
	tags integer[] NOT NULL, loaded_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE kojisnap.tag (tag_id integer PRIMARY KEY, name text NOT NULL, event integer NOT NULL, snapshot text NOT NULL);
CREATE TABLE kojisnap.left_out (load_id integer NOT NULL, relation text NOT NULL, key text NOT NULL,
	conflict boolean NOT NULL, reason text NOT NULL);
CREATE TABLE kojisnap.kept (load_id integer NOT NULL, relation text NOT NULL, key text NOT NULL, reason text NOT NULL);
CREATE TABLE kojisnap.overlay (relation text NOT NULL, key jsonb NOT NULL, entry text NOT NULL, before jsonb,
	PRIMARY KEY (relation, key));
CREATE TABLE kojisnap.overlay_made (id integer PRIMARY KEY);
COMMENT ON TABLE kojisnap.overlay_made IS 'users that an overlay made';
CREATE TABLE kojisnap.overlay_file (one boolean PRIMARY KEY DEFAULT true CHECK (one), body text NOT NULL);
`)
	for _, r := range relation.All() {
		if !keyed(r) {
			continue
		}
		fmt.Fprintf(&b, "CREATE TABLE %s (", placedKeys(r))
		for i, k := range r.Key {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s %s NOT NULL", q(k), sqlType(r.Columns[r.Index(k)].Type))
		}
		b.WriteString(");\n")
	}
	return b.String()
}

func sqlType(t relation.Type) string {
	return [...]string{"integer", "bigint", "boolean", "text", "timestamptz"}[t]
}
