package fullimport

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// Unfit says why a snapshot cannot be imported into a database, so that it has to be merged; empty if it can be. It
// writes nothing.
func Unfit(ctx context.Context, l *loadtx.Load) (string, error) {
	switch {
	case !l.Snap.Manifest.Scope.Everything:
		return "the snapshot is not one of everything", nil
	case l.Snap.Filtered():
		return "only some of the snapshot's tags are loaded", nil
	case l.Mark.Adopted:
		return "the database was adopted", nil
	}
	for _, r := range Relations(l) {
		if why := unlike(l, r); why != "" {
			return why, nil
		}
	}
	for _, look := range []func(context.Context, *loadtx.Load) (string, error){used, guarded, owned} {
		if why, err := look(ctx, l); why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

// unlike says why the rows of a relation do not go in as the snapshot has them.
func unlike(l *loadtx.Load, r *relation.Relation) string {
	if !l.Snap.Manifest.HasRelation(r) {
		return "the snapshot has no " + r.Name
	}
	for _, c := range r.Columns {
		have, there := l.Schema.Column(r.Name, c.Name)
		switch {
		case !there:
			return fmt.Sprintf("table %s has no column %s", r.Name, c.Name)
		case have.NotNull && c.Null:
			return fmt.Sprintf("column %s.%s cannot be NULL here", r.Name, c.Name)
		}
	}
	if l.Schema.LocalTimes() {
		return "the tables are those of a Koji before 1.22"
	}
	return ""
}

// used says why the database is not fresh.
func used(ctx context.Context, l *loadtx.Load) (string, error) {
	var loaded, removed bool
	if err := l.Tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM kojisnap.load) OR EXISTS (SELECT FROM kojisnap.tag),
		EXISTS (SELECT FROM tag_config WHERE active IS NOT TRUE)`).Scan(&loaded, &removed); err != nil {
		return "", err
	}
	switch {
	case loaded:
		return "something was loaded before", nil
	case removed:
		return "staging has removed or changed tags of its own", nil
	}
	full := []string{"task", "repo", "buildroot"}
	for _, r := range Relations(l) {
		full = append(full, r.Name)
	}
	for _, name := range full {
		where := ""
		if name == "events" {
			where = " WHERE id < " + sqltext.Int(l.Mark.Floor)
		}
		var has bool
		if err := l.Tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+sqltext.QuoteIdent(name)+where+")").Scan(&has); err != nil {
			return "", err
		}
		if has {
			return "table " + name + " has rows", nil
		}
	}
	return "", nil
}

// guarded says why a table has to be left as it is: what a site has added to it would miss rows, or would be lost.
func guarded(ctx context.Context, l *loadtx.Load) (string, error) {
	rows, err := l.Tx.Query(ctx, `WITH t AS (SELECT DISTINCT unnest($1::text[])::regclass AS oid)
		SELECT CASE WHEN c.relkind <> 'r' OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) THEN 'partitions or heirs'
				WHEN c.relrowsecurity THEN 'row level security'
				WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal) THEN 'triggers'
				WHEN EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid) THEN 'rules' END || ' of ' || c.oid::regclass::text
		FROM pg_class c JOIN t ON t.oid = c.oid
		UNION ALL SELECT 'a foreign key of partitions of ' || k.conrelid::regclass::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
			WHERE k.contype = 'f' AND (k.conrelid IN (SELECT oid FROM t) OR k.confrelid IN (SELECT oid FROM t)) AND (k.conparentid <> 0 OR c.relkind <> 'r')`, tables(l))
	if err != nil {
		return "", err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[*string])
	for _, why := range all {
		if why != nil {
			return "there are " + *why, err
		}
	}
	return "", err
}

// owned says which tables the role does not own: only an owner can drop and make indexes and foreign keys.
func owned(ctx context.Context, l *loadtx.Load) (string, error) {
	rows, err := l.Tx.Query(ctx, `WITH t AS (SELECT DISTINCT unnest($1::text[])::regclass AS oid)
		SELECT c.oid::regclass::text FROM pg_class c WHERE NOT pg_has_role(current_user, c.relowner, 'USAGE') AND (c.oid IN (SELECT oid FROM t)
			OR c.oid IN (SELECT k.conrelid FROM pg_constraint k WHERE k.contype = 'f' AND k.confrelid IN (SELECT oid FROM t))
			OR c.oid IN (SELECT k.confrelid FROM pg_constraint k WHERE k.contype = 'f' AND k.conrelid IN (SELECT oid FROM t)))
		ORDER BY 1`, tables(l))
	if err != nil {
		return "", err
	}
	lacks, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(lacks) == 0 {
		return "", err
	}
	more := ""
	if len(lacks) > 3 {
		lacks, more = lacks[:3], ", …"
	}
	return "the role does not own the tables " + strings.Join(lacks, ", ") + more, nil
}
