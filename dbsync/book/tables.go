package book

import (
	"fmt"
	"strings"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// bookTables makes the schema kojisnap as it was at first; bookSteps has the later formats. Some stored names
// are older than the words of the code:
//
//	placed, placed_…   rows that a load wrote, with a hash of their columns or by their key
//	placed_volume      for each of production's builds its volume there, and the volume and state that a load gave it
//	aside              keys of rows that each load looks at again (deferred)
//	decided            what staging removed and production removed, too, since
//	hidden             rows that are revoked here as staging has their place, not as it decided on them
//	overruled          what production had in rows that the overlay's rules changed
//	idmap.made         a load made the row, as production's id was taken
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

// PlacedKeys names the table that lists the rows of a keyed relation that a load wrote.
func PlacedKeys(r *relation.Relation) string {
	return "kojisnap." + sqltext.QuoteIdent("placed_"+r.Name)
}

// BlockUsers stands in the column relation of kojisnap.overlay for the blocking of a user; users stands for
// the users that an overlay made.
const BlockUsers = "block_users"
