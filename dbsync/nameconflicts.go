package dbsync

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// nameConflicts decides who keeps a name that both staging and production use, or that moves from one row of
// production's to another.
//
// It reads ks_RELATION, ks_edited and ks_not_written, and writes Koji's names, ks_parked, ks_deferred,
// ks_left_out, ks_touched_tag and ks_touched_build.
type nameConflicts struct {
	*attempt
	out *exclusions
}

// resolveNameConflicts makes room for the names that the snapshot's rows will take; the name of a build is its
// package, version and release. If staging has the name, that is a conflict. If another row of production's
// has it, that row is renamed: either the snapshot has its new name (two rows may swap), or production renamed
// it outside the scope.
func (c *nameConflicts) resolveNameConflicts(ctx context.Context, r *relation.Relation) error {
	label, gone, meets := "s.name", c.ExpandSQL(r, "NOT EXISTS (SELECT FROM {t} t WHERE {key})"), meeting(r)
	if r.Name == "build" {
		label, gone = kojidb.NVRText("s"), ""
	}
	held := meets + " AND (" + c.isStagings(r, "h") + c.ExpandSQL(r, ` OR EXISTS (SELECT FROM ks_edited e WHERE e.relation = {r} AND e.id = h.id)
		OR EXISTS (SELECT FROM ks_not_written e WHERE e.relation = {r} AND e.id = h.id))`)
	// A row that is left out keeps its present name, which another row may need: repeat until none is added.
	for before := int64(0); ; {
		var n int64
		if err := c.standIn(ctx, r, held); err != nil {
			return err
		}
		if err := c.out.leaveOut(ctx, r, leaveOutRule{
			using:    sqltext.QuoteIdent(r.Name) + " h",
			where:    held,
			reason:   label + ` || ' is staging''s id ' || h.id`,
			conflict: true,
			skipIf:   gone,
		}); err != nil {
			return err
		}
		if err := c.Tx.QueryRow(ctx, c.ExpandSQL(r, "SELECT count(*) FROM ks_not_written WHERE relation = {r}")).Scan(&n); err != nil {
			return err
		}
		if n == before {
			break
		}
		before = n
	}
	// If the snapshot does not have the new name of a row, its old name stays as a part of the new one.
	park := c.ExpandSQL(r, `name = CASE WHEN EXISTS (SELECT FROM {s} x WHERE x.id = h.id) OR EXISTS (SELECT FROM {t} o WHERE o.name = {other})
		THEN 'kojisnap-parked-' || h.id ELSE {other} END`, "other", otherName("h"))
	if r.Name == "build" {
		park = "release = 'kojisnap,draft_' || h.id" // what the check on drafts asks of a release
	}
	if _, err := c.ExecSQL(ctx, r, `WITH p AS (UPDATE {t} h SET {park} FROM {s} s WHERE {meets} RETURNING h.id)
		INSERT INTO ks_parked SELECT {r}, id FROM p`, "park", park, "meets", meets); err != nil {
		return err
	}
	rows, err := c.Tx.Query(ctx, c.ExpandSQL(r, `SELECT id FROM ks_parked p WHERE relation = {r} AND NOT EXISTS (SELECT FROM {s} s WHERE s.id = p.id) ORDER BY id`))
	if err != nil {
		return err
	}
	stale, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil || len(stale) == 0 {
		return err
	}
	c.Counts.Of(r.Name).Updated += int64(len(stale))
	for _, id := range stale {
		c.Report.Notes = append(c.Report.Notes, fmt.Sprintf("production gave the name of %s %d to another; what this one is called now, the snapshot does not say: it has a name of kojisnap's until one does", r.Name, id))
	}
	if touched := map[string]string{"tag": "ks_touched_tag", "build": "ks_touched_build"}[r.Name]; touched != "" {
		_, err = c.Tx.Exec(ctx, "INSERT INTO "+touched+" SELECT unnest($1::integer[])", stale)
	}
	return err
}

// otherName is the name of a row of production's that cannot have its own, or whose own is not known.
func otherName(alias string) string {
	return sqltext.Expand("left({a}.name, 30) || '-production-' || {a}.id", "a", alias)
}

// meeting is the condition that another row h has the name that s will take.
func meeting(r *relation.Relation) string {
	return sqltext.Equal("h", "s", r.Unique[0]) + " AND h.id <> s.id"
}

// giveWay renames or deletes staging's rows that have a name which production's need. Only Replace asks for
// it.
func (c *nameConflicts) giveWay(ctx context.Context, r *relation.Relation) error {
	if c.opt.OnConflict != Replace {
		return nil
	}
	meets := meeting(r) + c.ExpandSQL(r, " AND NOT EXISTS (SELECT FROM ks_edited e WHERE e.relation = {r} AND e.id = s.id)")
	for n := int64(1); n > 0; { // a row that gets its name back may need the name of another edited row
		var err error
		if n, err = c.ExecSQL(ctx, r, `DELETE FROM ks_edited e USING {s} s, {t} h WHERE {meets} AND e.relation = {r} AND e.id = h.id`, "meets", meets); err != nil {
			return err
		}
	}
	own := c.isStagings(r, "h")
	if r.Name == "build" {
		_, err := c.cascade(ctx, "build", c.ExpandSQL(r, "SELECT h.id FROM {t} h JOIN {s} s ON {meets} WHERE {own}", "meets", meets, "own", own))
		return err
	}
	touched := "SELECT FROM u"
	if r.Name == "tag" {
		touched = "INSERT INTO ks_touched_tag SELECT id FROM u"
	}
	n, err := c.ExecSQL(ctx, r, `WITH u AS (UPDATE {t} h SET name = left(h.name, 30) || '-staging-' || h.id FROM {s} s WHERE {meets} AND {own} RETURNING h.id) `+touched, "meets", meets, "own", own)
	c.Counts.Of(r.Name).Updated += n
	return err
}

// standIn gives a new row another name where staging has its name. The rows that refer to it, such as those of
// a tag, must be there at E. When staging's row is renamed, the next load gives this one its own name. It
// applies only to what Koji can rename: of a package or the like the name is all there is.
func (c *nameConflicts) standIn(ctx context.Context, r *relation.Relation, held string) error {
	if !r.Named() || !r.InPlace {
		return nil
	}
	_, err := c.ExecSQL(ctx, r, `WITH x AS (SELECT DISTINCT ON (s.id) s.id, s.name, h.id AS held, {other} AS other
				FROM {s} s JOIN {t} h ON {held} WHERE NOT EXISTS (SELECT FROM {t} t WHERE {key}) ORDER BY s.id, h.id),
			u AS (UPDATE {s} s SET name = x.other FROM x WHERE s.id = x.id AND s.name <> x.other RETURNING s.id),
			a AS (INSERT INTO ks_deferred SELECT {r}, ARRAY[id::text] FROM u)
		INSERT INTO ks_left_out SELECT {r}, 'id=' || x.id, true, x.name || ' is staging''s id ' || x.held || ', so production''s is ' || quote_literal(x.other), false
			FROM x JOIN u USING (id)`, "held", held, "other", otherName("s"))
	return err
}
