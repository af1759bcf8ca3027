package book

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// bookSteps make the tables of the schema kojisnap: each leads from one format to the next, and
// init takes them all. A step that databases have been through is not changed any more.
var bookSteps = []func() string{
	bookTables,
	changesTables,
	func() string { return runTable },
	func() string { return overruledTable },
	func() string { return decidedTables },
	func() string { return badRows },
	func() string { return syncTable },
	func() string { return historyColumn },
}

// SyncFormat is the first format with the table of syncs.
const SyncFormat = 7

// Format is the version of the tables in the schema kojisnap.
var Format = len(bookSteps)

// changesTables are for loads that read only what changed. What was loaded before is read whole
// once more: its columns are none of those that are now, and what it left out is aside.
func changesTables() string {
	var b strings.Builder
	for _, r := range relation.All() {
		if kojidb.Keyed(r) {
			fmt.Fprintf(&b, "ALTER TABLE %s ADD PRIMARY KEY (%s);\n", PlacedKeys(r), sqltext.Columns("", r.Key))
		}
	}
	b.WriteString(`
ALTER TABLE kojisnap.placed_volume ADD draft boolean NOT NULL DEFAULT false;
UPDATE kojisnap.placed_volume v SET draft = true FROM build b WHERE b.id = v.build_id AND to_jsonb(b) -> 'draft' = 'true';
ALTER TABLE kojisnap.placed_volume ALTER draft DROP DEFAULT;
ALTER TABLE kojisnap.load ADD columns text NOT NULL DEFAULT '';
ALTER TABLE kojisnap.load ALTER columns DROP DEFAULT;
CREATE TABLE kojisnap.aside (load_id integer NOT NULL, relation text NOT NULL, key text[] NOT NULL);
COMMENT ON TABLE kojisnap.aside IS 'rows that did not go in as production has them, by production''s keys';
INSERT INTO kojisnap.aside SELECT load_id, relation, ARRAY[key] FROM kojisnap.left_out;
`)
	return b.String()
}

// runTable has one row a load, also of one that came to nothing. Its ids are no sequence's, so
// that a load that is undone leaves no gap; kojisnap's lock keeps them apart.
const runTable = `
CREATE TABLE kojisnap.run (id integer PRIMARY KEY, started timestamptz NOT NULL, finished timestamptz NOT NULL,
	snapshot text NOT NULL, event integer NOT NULL, hub text NOT NULL, mode text NOT NULL, result text NOT NULL,
	error text NOT NULL, version text NOT NULL, who text NOT NULL, report jsonb);
COMMENT ON TABLE kojisnap.run IS 'the last loads';
INSERT INTO kojisnap.run SELECT * FROM (` + RunsOfLoads + `) r;
`

// RunsOfLoads are the runs that the tables of earlier formats tell of: the last that changed
// something, for each set of tags.
const RunsOfLoads = `SELECT (row_number() OVER (ORDER BY loaded_at, id))::integer AS id, loaded_at AS started, loaded_at AS finished,
	snapshot, event, '' AS hub, '' AS mode, 'changed' AS result, '' AS error, '' AS version, '' AS who, NULL::jsonb AS report FROM kojisnap.load`

// overruledTable is for overlays that make other names than users too, and for what production
// had in rows that the overlay wants otherwise.
const overruledTable = `
ALTER TABLE kojisnap.overlay_made ADD relation text NOT NULL DEFAULT 'users';
ALTER TABLE kojisnap.overlay_made ALTER relation DROP DEFAULT, DROP CONSTRAINT overlay_made_pkey, ADD PRIMARY KEY (relation, id);
COMMENT ON TABLE kojisnap.overlay_made IS 'names that an overlay made';
UPDATE kojisnap.overlay SET relation = '` + BlockUsers + `' WHERE relation = 'users' AND before <> 'null';
CREATE TABLE kojisnap.overruled (relation text, key jsonb, was jsonb NOT NULL, PRIMARY KEY (relation, key));
COMMENT ON TABLE kojisnap.overruled IS 'what production had in rows that the overlay wants otherwise';
`

// decidedTables are for views at loaded events that staging's changes do not touch. What was loaded
// before is read whole once more, as versioned rows of production's may be missing from it. What told
// Pungi's reuse check of changes moves to where it misleads nobody.
const decidedTables = `
CREATE TABLE kojisnap.decided (relation text, subject text[], event integer NOT NULL, user_id integer NOT NULL, PRIMARY KEY (relation, subject));
COMMENT ON TABLE kojisnap.decided IS 'what staging removed and production removed too since, by what it is about';
CREATE TABLE kojisnap.hidden (relation text, key text[], PRIMARY KEY (relation, key));
COMMENT ON TABLE kojisnap.hidden IS 'production''s rows that are revoked here though staging decided nothing about them, but holds their place or their build';
UPDATE kojisnap.load SET columns = '';
DELETE FROM kojisnap.left_out WHERE reason LIKE '%staging has an active row for the same%';
DELETE FROM kojisnap.kept WHERE reason LIKE 'staging revoked it%';
INSERT INTO tag_inheritance (tag_id, parent_id, priority, create_event, revoke_event, creator_id, revoker_id, active)
	SELECT DISTINCT l.tag_id, l.tag_id, 0, l.create_event, l.create_event, m.user_id, m.user_id, NULL::boolean FROM tag_listing l, kojisnap.mark m
	WHERE l.create_event >= m.floor AND l.create_event = l.revoke_event AND l.creator_id = m.user_id AND l.revoker_id = m.user_id;
DO $$ BEGIN -- a role with the least grants may not, and then they stay
	IF has_table_privilege('tag_listing', 'DELETE') THEN
		DELETE FROM tag_listing l USING kojisnap.mark m
			WHERE l.create_event >= m.floor AND l.create_event = l.revoke_event AND l.creator_id = m.user_id AND l.revoker_id = m.user_id;
	END IF;
END $$;
`

// badRows tells rows of production's with which there is something wrong from those that staging is in
// the way of. A database that publishes all its tables asks what tells their rows apart.
const badRows = `
ALTER TABLE kojisnap.left_out ADD bad boolean NOT NULL DEFAULT false;
ALTER TABLE kojisnap.left_out REPLICA IDENTITY FULL;
ALTER TABLE kojisnap.kept REPLICA IDENTITY FULL;
ALTER TABLE kojisnap.aside REPLICA IDENTITY FULL;
`

// historyColumn is for the history that snapshots have. What was loaded before is known at the events that
// were loaded.
const historyColumn = `
ALTER TABLE kojisnap.tag ADD history integer;
COMMENT ON COLUMN kojisnap.tag.history IS 'the event of production from which on the rows of the tag itself are whole; NULL: its event';
`

// HistoryFormat is the first format with that column.
const HistoryFormat = 8

// MigrationSQL leads from a format to the present one, 0 being a database without the schema.
func MigrationSQL(from int) string {
	var sql strings.Builder
	for _, step := range bookSteps[from:] {
		sql.WriteString(step())
	}
	return sql.String()
}

// Upgrade brings the tables of the schema kojisnap to the present format.
func Upgrade(ctx context.Context, tx pgx.Tx, mark *Mark) error {
	if mark.Format == Format {
		return nil
	}
	sql := MigrationSQL(mark.Format) + fmt.Sprintf("UPDATE kojisnap.mark SET format = %d", Format)
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("upgrade the schema kojisnap from format %d to %d: %w", mark.Format, Format, err)
	}
	mark.Format = Format
	return nil
}

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
		if !kojidb.Keyed(r) {
			continue
		}
		fmt.Fprintf(&b, "CREATE TABLE %s (", PlacedKeys(r))
		for i, k := range r.Key {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s %s NOT NULL", sqltext.QuoteIdent(k), kojidb.SQLType(r.Columns[r.Index(k)].Type))
		}
		b.WriteString(");\n")
	}
	return b.String()
}

// PlacedKeys names the table that lists which rows of a keyed relation a load placed.
func PlacedKeys(r *relation.Relation) string {
	return "kojisnap." + sqltext.QuoteIdent("placed_"+r.Name)
}

// BlockUsers is what kojisnap.overlay calls the blocking of a user: users has those that it made.
const BlockUsers = "block_users"
