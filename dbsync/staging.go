package dbsync

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// stage fills one temporary table a relation, and one of the revoked rows of each versioned
// one, by COPY.
func (m *merger) stage(ctx context.Context) error {
	var total int64
	for _, r := range m.Snap.Manifest.Relations {
		if !m.Delta(relation.Get(r.Name)) {
			total += r.Rows
		}
	}
	work := m.opt.Progress.Begin("read", total)
	defer work.End()
	if err := m.createStaged(ctx); err != nil {
		return err
	}
	for _, r := range relation.All() {
		of := m.Snap.Relation(r.Name)
		if m.Delta(r) {
			if err := m.stageChanges(ctx, r); err != nil {
				return err
			}
			continue
		}
		if of.Rows == 0 {
			continue
		}
		rows := m.Snap.Rows(ctx, r.Name)
		defer rows.Close()
		n, err := m.copyIn(ctx, r, loadtx.Staged(r), r.ColumnNames(), rows)
		if err != nil {
			return err
		}
		m.Rows[r.Name] = n
		work.Add(n)
	}
	return m.stageRevoked(ctx)
}

// createStaged makes the temporary tables of all relations.
func (m *merger) createStaged(ctx context.Context) error {
	var sql strings.Builder
	table := func(r *relation.Relation, name, extra string, columns []string) {
		defs := make([]string, len(columns))
		for i, c := range columns {
			defs[i] = sqltext.QuoteIdent(c) + " " + kojidb.SQLType(r.Columns[r.Index(c)].Type)
		}
		sql.WriteString("CREATE TEMP TABLE " + name + " (" + sqltext.Join(defs) + extra + ") ON COMMIT DROP;\n")
	}
	for _, r := range relation.All() {
		extra := map[string]string{"build": ", ks_production text"}[r.Name]
		table(r, loadtx.Staged(r), extra, r.ColumnNames())
		if tellsLeft(r) {
			table(r, loadtx.Revoked(r), ", ks_may_insert boolean", r.ColumnNames())
		}
		if m.Delta(r) {
			table(r, loadtx.Deleted(r), "", r.Key)
		}
	}
	_, err := m.Tx.Exec(ctx, sql.String())
	return err
}

// copyIn fills a temporary table and returns how many rows it got.
func (m *merger) copyIn(ctx context.Context, r *relation.Relation, table string, columns []string, rows lines) (int64, error) {
	// pgx may still read when a cut connection has made it return.
	from := &stoppable{from: rows}
	tag, err := m.Tx.Conn().PgConn().CopyFrom(ctx, from, "COPY "+table+" ("+sqltext.Columns("", columns)+") FROM STDIN")
	from.stop()
	// What the snapshot says of itself is the cause of what PostgreSQL says then.
	if cause := rows.Err(); cause != nil {
		err = cause
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", r.Name, m.copyError(ctx, r, table, err))
	}
	if tag.RowsAffected() > 0 {
		_, err = m.Tx.Exec(ctx, "ANALYZE "+table)
	}
	m.Filled[table] = tag.RowsAffected() > 0
	return tag.RowsAffected(), err
}

// stoppable is a reader that is not read any more once it was stopped.
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

// lines are rows of a snapshot, or keys.
type lines interface {
	io.Reader
	Err() error
}

// checkRanges refuses a snapshot that is none, which no constraint of the tables would: ids at or above the
// floor, wherever they stand (they would be staging's), ids below 0, keys that are there twice, and
// versioned rows that are not in the view at E.
func (m *merger) checkRanges(ctx context.Context) error {
	for _, r := range relation.All() {
		if m.Rows[r.Name] == 0 {
			continue
		}
		var low, high []string
		for _, c := range r.Columns {
			if c.Name == "id" || c.Ref != "" {
				low, high = append(low, "min("+sqltext.QuoteIdent(c.Name)+")"), append(high, "max("+sqltext.QuoteIdent(c.Name)+")")
			}
		}
		fit := []string{m.ExpandSQL(r, "coalesce(least({low}) >= 0 AND greatest({high}) < {floor}, true)", "low", sqltext.Join(low), "high", sqltext.Join(high))}
		if r.Versioned {
			fit = append(fit, m.ExpandSQL(r, "coalesce(bool_and({inView}), true)", "inView", m.ExpandSQL(r, inView)))
		}
		if !kojidb.Keyed(r) { // of those the tables' own constraints are enough
			fit = append(fit, m.ExpandSQL(r, "NOT EXISTS (SELECT FROM {s} GROUP BY {cols} HAVING count(*) > 1)", "cols", sqltext.Columns("", r.Key)))
		}
		var fine bool
		if err := m.Tx.QueryRow(ctx, m.ExpandSQL(r, "SELECT {fit} FROM {s} s", "fit", strings.Join(fit, " AND "))).Scan(&fine); err != nil {
			return err
		}
		if !fine {
			return m.rangeError(ctx, r)
		}
	}
	return nil
}

// inView is what the rows s of a versioned relation have in common.
const inView = "s.active IS TRUE AND s.revoke_event IS NULL AND s.revoker_id IS NULL AND s.create_event <= {E}"

// rangeError is the error of a relation that limits refuses.
func (m *merger) rangeError(ctx context.Context, r *relation.Relation) error {
	for _, c := range r.Columns {
		if c.Name != "id" && c.Ref == "" {
			continue
		}
		said, err := m.firstRow(ctx, r, "': production''s {c} is ' || s.{qc} || CASE WHEN s.{qc} < 0 THEN ', which is below 0' ELSE ', which is at or above the floor {floor}, where staging''s ids begin' END", "s.{qc} < 0 OR s.{qc} >= {floor}", "c", c.Name, "qc", sqltext.QuoteIdent(c.Name))
		if err != nil {
			return err
		}
		if said != "" {
			return fmt.Errorf("the snapshot's %s %s", r.Name, said)
		}
	}
	said, err := m.firstRow(ctx, r, "' is there twice'", "({keys}) IN (SELECT {xkeys} FROM {s} x GROUP BY {xkeys} HAVING count(*) > 1)", "keys", sqltext.Columns("s", r.Key), "xkeys", sqltext.Columns("x", r.Key))
	if said == "" && err == nil {
		said, err = m.firstRow(ctx, r, "' is not in the view at event {E}'", "("+inView+") IS NOT TRUE")
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("the snapshot's %s %s", r.Name, said)
}

// fitNames leaves a permission to Koji's own upgrade, which makes it and fails if it is there.
func (m *merger) fitNames(ctx context.Context) error {
	if m.Schema.Release() >= 34 {
		return nil
	}
	return m.leaveOut(ctx, relation.Get("permissions"), leaveOutRule{
		where: `s.name = 'draft-promoter' AND NOT EXISTS (SELECT FROM permissions t WHERE t.name = s.name)
			AND NOT EXISTS (SELECT FROM ks_tag_config c WHERE c.perm_id = s.id)`,
		key:    `'name=draft-promoter'`, // its id is not mapped to one of staging's
		goneIf: "false",
		reason: `'the upgrade to Koji 1.34 makes it'`})
}

// fit leaves out rows that the tables cannot hold, as they are of an older Koji.
func (m *merger) fit(ctx context.Context) error {
	for _, r := range relation.All() {
		for _, c := range r.Columns {
			have, ok := m.Schema.Column(r.Name, c.Name)
			var err error
			switch {
			case !ok && c.Name == "draft":
				// Also the rpms at once: their names may be those of rpms that are no drafts.
				err = m.leaveOut(ctx, r, leaveOutRule{where: "s.draft", reason: `'of a draft build: the tables are older than Koji 1.34'`})
			case ok && have.NotNull && c.Null:
				err = m.leaveOut(ctx, r, leaveOutRule{where: "s." + sqltext.QuoteIdent(c.Name) + " IS NULL",
					reason: sqltext.QuoteLiteral("column " + c.Name + " cannot be NULL here: the tables are older than production's")})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// leaveOutRule says which rows of a snapshot do not go in: those where holds, with the tables of
// using at hand.
type leaveOutRule struct {
	using    string // "build AS h"
	where    string
	reason   string // an expression
	key      string // an expression for people; empty is the key of the row
	conflict bool
	bad      bool // there is something wrong with the row itself
	// goneIf says which of them take along what hangs on them; empty means all.
	goneIf string
	// noteIf says which of them are noted; empty means all.
	noteIf string
}

// leaveOut takes rows out of a snapshot's temporary table and notes them.
func (m *merger) leaveOut(ctx context.Context, r *relation.Relation, l leaveOutRule) error {
	if l.using != "" {
		l.using = "USING " + l.using
	}
	for _, cond := range []*string{&l.goneIf, &l.noteIf} {
		if *cond == "" {
			*cond = "true"
		}
	}
	if l.key == "" {
		l.key = sqltext.KeyText("s", r.Key)
	}
	ids := ""
	if kojidb.HasID(r) {
		ids = `, g AS (INSERT INTO ks_skipped SELECT {r}, s.id FROM s WHERE {goneIf} RETURNING 1),
			k AS (INSERT INTO ks_not_written SELECT {r}, s.id FROM s RETURNING 1)`
	}
	n, err := m.ExecSQL(ctx, r, `WITH s AS (DELETE FROM {s} s {using} WHERE {where} RETURNING {cols}, {reason} AS ks_reason, {keytext} AS ks_key),
			a AS (INSERT INTO ks_deferred SELECT {r}, {array} FROM s WHERE array_position({array}, NULL) IS NULL RETURNING 1)`+ids+`
		INSERT INTO ks_left_out SELECT {r}, ks_key, {conflict}, ks_reason, {bad} FROM s WHERE {noteIf}`,
		"using", l.using, "where", l.where, "cols", sqltext.Columns("s", r.Key), "array", sqltext.KeyArray("s", r.Key), "reason", l.reason, "keytext", l.key,
		"conflict", fmt.Sprint(l.conflict), "bad", fmt.Sprint(l.bad), "goneIf", l.goneIf, "noteIf", l.noteIf)
	if err != nil || n == 0 && l.noteIf == "true" || !kojidb.HasID(r) {
		return err
	}
	var some bool
	err = m.Tx.QueryRow(ctx, m.ExpandSQL(r, "SELECT EXISTS (SELECT FROM ks_skipped WHERE relation = {r})")).Scan(&some)
	m.skipped[r.Name] = some
	return err
}

// skipDependents leaves out the rows that refer to rows which were left out. Those that the table
// holds already stay there as they are, without a note. A versioned row needs no more than that
// the row is there which it refers to, be it as staging has made it.
func (m *merger) skipDependents(ctx context.Context, r *relation.Relation) error {
	for _, c := range r.Columns {
		if c.Ref == "" || !m.skipped[c.Ref] {
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
		err := m.leaveOut(ctx, r, leaveOutRule{
			using:  "ks_skipped g",
			where:  sqltext.Expand("g.relation = {ref} AND g.id = s.{c}", "ref", sqltext.QuoteLiteral(c.Ref), "c", sqltext.QuoteIdent(c.Name)) + absent,
			reason: sqltext.Expand("{name} || {what} || g.id || ' was left out'", "name", name, "what", sqltext.QuoteLiteral("its "+c.Ref+" ")),
			noteIf: m.ExpandSQL(r, "NOT EXISTS (SELECT FROM {t} t WHERE {key})"),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
