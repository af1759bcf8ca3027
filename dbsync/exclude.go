package dbsync

import (
	"context"
	"fmt"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// exclusions takes rows out of the snapshot's that do not go in.
//
// It moves them from ks_RELATION to ks_left_out, ks_deferred, ks_skipped and ks_not_written.
type exclusions struct {
	*attempt
	skipped map[string]bool // relations that ks_skipped has rows of
	bad     map[string]bool // relations with rows that were left out as they are wrong themselves
}

// leaveOutRule says which rows s of a snapshot do not go in, and how that is reported.
type leaveOutRule struct {
	using    string // "build AS h"
	where    string
	reason   string // an expression
	key      string // an expression for people; empty is the key of the row
	conflict bool
	bad      bool // the row itself is wrong
	// skipIf says for which of them the rows that refer to them are left out, too; empty means for all.
	skipIf string
	// noteIf says which of them are reported; empty means all.
	noteIf string
}

// leaveOut moves the rows that meet a rule from the snapshot's temporary table to the tables that say what was
// left out.
func (x *exclusions) leaveOut(ctx context.Context, r *relation.Relation, l leaveOutRule) error {
	if l.using != "" {
		l.using = "USING " + l.using
	}
	for _, cond := range []*string{&l.skipIf, &l.noteIf} {
		if *cond == "" {
			*cond = "true"
		}
	}
	if l.key == "" {
		l.key = sqltext.KeyText("s", r.Key)
	}
	ids := ""
	if kojidb.HasID(r) {
		ids = `, g AS (INSERT INTO ks_skipped SELECT {r}, s.id FROM s WHERE {skipIf} RETURNING 1),
			k AS (INSERT INTO ks_not_written SELECT {r}, s.id FROM s RETURNING 1)`
	}
	n, err := x.ExecSQL(ctx, r, `WITH s AS (DELETE FROM {s} s {using} WHERE {where} RETURNING {cols}, {reason} AS ks_reason, {keytext} AS ks_key),
			a AS (INSERT INTO ks_deferred SELECT {r}, {array} FROM s WHERE array_position({array}, NULL) IS NULL RETURNING 1)`+ids+`
		INSERT INTO ks_left_out SELECT {r}, ks_key, {conflict}, ks_reason, {bad} FROM s WHERE {noteIf}`,
		"using", l.using, "where", l.where, "cols", sqltext.Columns("s", r.Key), "array", sqltext.KeyArray("s", r.Key), "reason", l.reason, "keytext", l.key,
		"conflict", fmt.Sprint(l.conflict), "bad", fmt.Sprint(l.bad), "skipIf", l.skipIf, "noteIf", l.noteIf)
	if err != nil || n == 0 && l.noteIf == "true" || !kojidb.HasID(r) {
		return err
	}
	var some bool
	err = x.Tx.QueryRow(ctx, x.ExpandSQL(r, "SELECT EXISTS (SELECT FROM ks_skipped WHERE relation = {r})")).Scan(&some)
	x.skipped[r.Name] = some
	return err
}

// skipDependents leaves out rows that refer to a row which was left out. If Koji's table has such a row
// already, it stays as it is and nothing is reported. A versioned row goes in as long as Koji's table has the
// row that it refers to, even if staging has edited that one.
func (x *exclusions) skipDependents(ctx context.Context, r *relation.Relation) error {
	for _, c := range r.Columns {
		if c.Ref == "" || !x.skipped[c.Ref] {
			continue
		}
		absent := ""
		if r.Versioned {
			absent = sqltext.Expand(" AND NOT EXISTS (SELECT FROM {ref} p WHERE p.id = g.id)", "ref", sqltext.QuoteIdent(c.Ref))
		}
		name := "''"
		if r.Name == "rpminfo" {
			name = kojidb.RPMText("s") + " || ': '"
		} else if rest := sqltext.Without(r.Key, "create_event", "id", c.Name); len(rest) > 0 {
			name = kojidb.RefText(r, "s", rest) + " || ': '"
		}
		err := x.leaveOut(ctx, r, leaveOutRule{
			using:  "ks_skipped g",
			where:  sqltext.Expand("g.relation = {ref} AND g.id = s.{c}", "ref", sqltext.QuoteLiteral(c.Ref), "c", sqltext.QuoteIdent(c.Name)) + absent,
			reason: sqltext.Expand("{name} || {what} || g.id || ' was left out'", "name", name, "what", sqltext.QuoteLiteral("its "+c.Ref+" ")),
			noteIf: x.ExpandSQL(r, "NOT EXISTS (SELECT FROM {t} t WHERE {key})"),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leaveOutUnfitNames leaves out the permission draft-promoter before Koji 1.34: Koji's own upgrade inserts it,
// and fails if it is there.
func (x *exclusions) leaveOutUnfitNames(ctx context.Context) error {
	if x.Schema.Release() >= 34 {
		return nil
	}
	return x.leaveOut(ctx, relation.Get("permissions"), leaveOutRule{
		where: `s.name = 'draft-promoter' AND NOT EXISTS (SELECT FROM permissions t WHERE t.name = s.name)
			AND NOT EXISTS (SELECT FROM ks_tag_config c WHERE c.perm_id = s.id)`,
		key:    `'name=draft-promoter'`, // its id is not mapped to one of staging's
		skipIf: "false",
		reason: `'the upgrade to Koji 1.34 makes it'`})
}

// leaveOutUnfit leaves out rows that the tables of an older Koji cannot hold.
func (x *exclusions) leaveOutUnfit(ctx context.Context) error {
	for _, r := range relation.All() {
		for _, c := range r.Columns {
			have, ok := x.Schema.Column(r.Name, c.Name)
			var err error
			switch {
			case !ok && c.Name == "draft":
				// The rpms, too, and at once: rpms of other builds may have their names.
				err = x.leaveOut(ctx, r, leaveOutRule{where: "s.draft", reason: `'of a draft build: the tables are older than Koji 1.34'`})
			case ok && have.NotNull && c.Null:
				err = x.leaveOut(ctx, r, leaveOutRule{where: "s." + sqltext.QuoteIdent(c.Name) + " IS NULL",
					reason: sqltext.QuoteLiteral("column " + c.Name + " cannot be NULL here: the tables are older than production's")})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
