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

// bookSteps make the tables of the schema kojisnap. Each leads from one format to the next, and init runs them
// all. A step that databases have been through is never changed.
var bookSteps = []func() string{
	bookTables,
	changesTables,
	func() string { return runTable },
	func() string { return overruledTable },
	func() string { return decidedTables },
	func() string { return badRows },
	func() string { return syncTable },
	func() string { return historyColumn },
	func() string { return importTables },
}

// SyncFormat is the first format with the table of syncs.
const SyncFormat = 7

// Format is the version of the tables in the schema kojisnap.
var Format = len(bookSteps)

// changesTables prepares loads that read only what changed. What was loaded before is read whole once more, as
// its columns are stored as unknown and what it left out as deferred.
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

// runTable has one row for each load, also for failed ones. Its ids come from no sequence, so that a load that
// is undone leaves no gap; kojisnap's lock keeps them apart.
const runTable = `
CREATE TABLE kojisnap.run (id integer PRIMARY KEY, started timestamptz NOT NULL, finished timestamptz NOT NULL,
	snapshot text NOT NULL, event integer NOT NULL, hub text NOT NULL, mode text NOT NULL, result text NOT NULL,
	error text NOT NULL, version text NOT NULL, who text NOT NULL, report jsonb);
COMMENT ON TABLE kojisnap.run IS 'the last loads';
INSERT INTO kojisnap.run SELECT * FROM (` + RunsOfLoads + `) r;
`

// RunsOfLoads is the query for the runs that the tables before runTable know: for each set of tags, the last
// load that changed something.
const RunsOfLoads = `SELECT (row_number() OVER (ORDER BY loaded_at, id))::integer AS id, loaded_at AS started, loaded_at AS finished,
	snapshot, event, '' AS hub, '' AS mode, 'changed' AS result, '' AS error, '' AS version, '' AS who, NULL::jsonb AS report FROM kojisnap.load`

// overruledTable is for overlays that insert other names than users, and for what production had in rows that
// an overlay's rules changed.
const overruledTable = `
ALTER TABLE kojisnap.overlay_made ADD relation text NOT NULL DEFAULT 'users';
ALTER TABLE kojisnap.overlay_made ALTER relation DROP DEFAULT, DROP CONSTRAINT overlay_made_pkey, ADD PRIMARY KEY (relation, id);
COMMENT ON TABLE kojisnap.overlay_made IS 'names that an overlay made';
UPDATE kojisnap.overlay SET relation = '` + BlockUsers + `' WHERE relation = 'users' AND before <> 'null';
CREATE TABLE kojisnap.overruled (relation text, key jsonb, was jsonb NOT NULL, PRIMARY KEY (relation, key));
COMMENT ON TABLE kojisnap.overruled IS 'what production had in rows that the overlay wants otherwise';
`

// decidedTables is for views at loaded events that staging's changes do not touch. What was loaded before is
// read whole once more, as versioned rows may be missing. The rows that announce changes to Pungi's reuse
// check move from tag_listing to tag_inheritance.
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

// badRows tells rows that are wrong themselves from those whose place staging has. A database that publishes
// all tables needs a replica identity for each.
const badRows = `
ALTER TABLE kojisnap.left_out ADD bad boolean NOT NULL DEFAULT false;
ALTER TABLE kojisnap.left_out REPLICA IDENTITY FULL;
ALTER TABLE kojisnap.kept REPLICA IDENTITY FULL;
ALTER TABLE kojisnap.aside REPLICA IDENTITY FULL;
`

// historyColumn is for the history that snapshots have. For what was loaded before, only the loaded events are
// known.
const historyColumn = `
ALTER TABLE kojisnap.tag ADD history integer;
COMMENT ON COLUMN kojisnap.tag.history IS 'the event of production from which on the rows of the tag itself are whole; NULL: its event';
`

// HistoryFormat is the first format with that column.
const HistoryFormat = 8

// MigrationSQL leads from a format to the present one. Format 0 is a database without the schema.
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
