package dbsync

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// missingRows knows which rows the snapshot lacks though production has them: the hub could not give them, or
// the tables refuse them. Such a row stays here as it is, with all that refers to it; all other rows are
// revoked and deleted as production did.
//
// It reads the manifests, ks_deferred and ks_skipped, and writes ks_lack, ks_lack_base, each with its _key,
// and ks_deleted_RELATION.
type missingRows struct {
	*attempt
	out  *exclusions
	ids  *identities
	lack *lacks // nil until findMissing has run
}

// lacks are the rows that one snapshot lacks. They may be in the database all the same.
type lacks struct {
	table string          // ks_lack or ks_lack_base: rows of a relation that hold an id in a column
	ids   map[string]bool // "RELATION.COLUMN" for which table has rows
	keys  map[string]bool // relations whose rows are known by their keys, in table_key
}

// partial reports whether a snapshot lacks rows of a relation, or of the relation that its rows belong to,
// without saying where: any row may be missing.
func partial(man *snapfile.Manifest, r *relation.Relation) bool {
	return !man.HasRelation(r) || slices.ContainsFunc(man.LeftOut, func(l snapfile.LeftOut) bool {
		return l.Missing() && !bounded(l) && (l.Relation == r.Name || l.Relation == r.Columns[0].Ref && !r.Versioned)
	})
}

// exact reports whether a manifest names each of the rows.
func exact(l snapfile.LeftOut) bool { return l.Column != "" || len(l.Key) > 0 }

// bounded reports whether it names at least the tag or the builds whose rows they are.
func bounded(l snapfile.LeftOut) bool {
	r := relation.Get(l.Relation)
	return exact(l) || r != nil && (l.Tag != 0 && r.Index("tag_id") >= 0 || len(l.Builds) > 0 && r.Index("build_id") >= 0)
}

// findMissing finds what the snapshot lacks. Where there is a base, it also adds to ks_deleted_RELATION what
// the base lacked and this snapshot shows to be deleted, as the difference of the two does not have that.
func (mi *missingRows) findMissing(ctx context.Context) (err error) {
	if mi.lack, err = mi.findLacks(ctx, "ks_lack", mi.Snap.Manifest, mi.out.bad); err != nil || mi.Base == nil {
		return err
	}
	before, err := mi.findLacks(ctx, "ks_lack_base", mi.Base.Manifest, nil)
	if err != nil {
		return err
	}
	for _, r := range relation.All() {
		was := before.of(r, "t", r.ColumnNames())
		if !mi.Delta(r) || r.Named() || was == "" {
			continue
		}
		own := "true"
		if r.Versioned {
			own = mi.ExpandSQL(r, "t.create_event < {floor} AND (t.active OR t.revoke_event >= {floor})")
		} else if kojidb.HasID(r) {
			own = mi.ExpandSQL(r, "t.id < {floor}")
		}
		if err := mi.MakeTable(ctx, r, loadtx.Deleted(r)); err != nil {
			return err
		}
		n, err := mi.ExecSQL(ctx, r, `INSERT INTO {deleted} SELECT {keys} FROM {t} t WHERE {was} AND {own} AND NOT ({still})
				AND NOT EXISTS (SELECT FROM {s} s WHERE {key}) AND NOT EXISTS (SELECT FROM {deleted} s WHERE {key})`,
			"keys", sqltext.Columns("t", r.Key), "was", was, "own", own, "still", mi.stays(r, "t"))
		if err != nil {
			return err
		}
		mi.Deleted[r.Name] += n
	}
	return nil
}

// stays is the condition that a row stays although the snapshot does not have it. alias is t for a row of
// Koji's table, p for one of kojisnap.placed_RELATION. Production's own revocation of a row overrules it.
func (mi *missingRows) stays(r *relation.Relation, alias string) string {
	columns := r.ColumnNames()
	if alias == "p" {
		columns = r.Key
	}
	lacks := mi.lack.of(r, alias, columns)
	if lacks == "" {
		return "false"
	}
	if r.Versioned && mi.Filled[loadtx.Revoked(r)] {
		lacks += " AND NOT EXISTS (SELECT FROM " + loadtx.Revoked(r) + " l WHERE " + sqltext.Equal("l", alias, r.Key) + ")"
	}
	return lacks
}

// of is the condition that a row with these columns is lacking, or belongs to a row that is; empty if no row
// of the relation can be.
func (l *lacks) of(r *relation.Relation, alias string, columns []string) string {
	var out []string
	for _, c := range r.Columns {
		if !slices.Contains(columns, c.Name) {
			continue
		}
		for _, in := range [][2]string{{r.Name, c.Name}, {c.Ref, "id"}} {
			if l.ids[in[0]+"."+in[1]] {
				out = append(out, sqltext.Expand("EXISTS (SELECT FROM {l} l WHERE l.relation = {r} AND l.col = {c} AND l.id = {a}.{qc})",
					"l", l.table, "r", sqltext.QuoteLiteral(in[0]), "c", sqltext.QuoteLiteral(in[1]), "a", alias, "qc", sqltext.QuoteIdent(c.Name)))
			}
		}
	}
	if l.keys[r.Name] {
		out = append(out, sqltext.Expand("EXISTS (SELECT FROM {l}_key l WHERE l.relation = {r} AND l.key = {key})", "l", l.table, "r", sqltext.QuoteLiteral(r.Name), "key", sqltext.KeyArray(alias, r.Key)))
	}
	if len(out) == 0 {
		return ""
	}
	return "(" + strings.Join(out, " OR ") + ")"
}

// findLacks lists what a manifest says to be left out, with staging's ids, and the rows of this database that
// belong to those and have rows of their own, such as the rpms of a build. bad are the relations where this
// load left out bad rows.
func (mi *missingRows) findLacks(ctx context.Context, table string, man *snapfile.Manifest, bad map[string]bool) (*lacks, error) {
	l := &lacks{table: table, ids: map[string]bool{}, keys: map[string]bool{}}
	var in, column, of, keyed, keys []string
	var ids []int32
	for _, x := range man.LeftOut {
		r := relation.Get(x.Relation)
		if !x.Missing() || r == nil || r.Optional {
			continue
		}
		add := func(name string, id int64) {
			at := r.Index(name)
			if at < 0 {
				return
			}
			ref := r.Columns[at].Ref
			if name == "id" {
				ref = r.Name
			}
			in, column, of, ids = append(in, r.Name), append(column, name), append(of, ref), append(ids, int32(id))
			l.ids[r.Name+"."+name] = true
		}
		switch {
		case x.Column != "":
			add(x.Column, x.ID)
		case len(x.Key) == len(r.Key):
			key, err := json.Marshal(x.Key)
			if err != nil {
				return nil, err
			}
			keyed, keys = append(keyed, r.Name), append(keys, string(key))
			l.keys[r.Name] = true
		case x.Tag != 0:
			add("tag_id", x.Tag)
		default:
			for _, b := range x.Builds {
				add("build_id", b)
			}
		}
	}
	some := false
	for name, is := range bad {
		if r := relation.Get(name); is && !r.Versioned {
			l.keys[name], l.ids[name+".id"] = true, l.ids[name+".id"] || kojidb.HasID(r)
			some = true
		}
	}
	if len(in)+len(keys) == 0 && !some {
		return l, nil
	}
	if _, err := mi.Tx.Exec(ctx, sqltext.Expand(`CREATE TEMP TABLE {l} (relation text, col text, ref text, id integer) ON COMMIT DROP;
		CREATE TEMP TABLE {l}_key (relation text, key text[]) ON COMMIT DROP`, "l", table)); err != nil {
		return nil, err
	}
	if _, err := mi.Tx.Exec(ctx, "INSERT INTO "+table+" SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[])", in, column, of, ids); err != nil {
		return nil, err
	}
	if _, err := mi.Tx.Exec(ctx, "INSERT INTO "+table+`_key SELECT r, ARRAY(SELECT jsonb_array_elements_text(k::jsonb))
		FROM unnest($1::text[], $2::text[]) AS x(r, k)`, keyed, keys); err != nil {
		return nil, err
	}
	return l, mi.completeLacks(ctx, l, bad)
}

// completeLacks maps the ids to staging's, adds what this load left out, and goes on from builds to their rpms
// and archives.
func (mi *missingRows) completeLacks(ctx context.Context, l *lacks, bad map[string]bool) error {
	sql := "UPDATE {l} l SET id = i.staging_id FROM kojisnap.idmap i WHERE i.relation = l.ref AND i.prod_id = l.id;"
	for name := range l.keys {
		r := relation.Get(name)
		for n, k := range r.Key {
			if ref := r.Columns[r.Index(k)].Ref; mi.ids.mapped[ref] {
				sql += sqltext.Expand("UPDATE {l}_key l SET key[{n}] = i.staging_id::text FROM kojisnap.idmap i WHERE l.relation = {r} AND i.relation = {ref} AND i.prod_id::text = l.key[{n}];",
					"n", sqltext.Int(int64(n+1)), "r", sqltext.QuoteLiteral(name), "ref", sqltext.QuoteLiteral(ref), "l", "{l}")
			}
		}
	}
	for name, is := range bad {
		if is && !relation.Get(name).Versioned {
			sql += sqltext.Expand(`INSERT INTO {l}_key SELECT relation, key FROM ks_deferred WHERE relation = {r};
				INSERT INTO {l} SELECT relation, 'id', relation, id FROM ks_skipped WHERE relation = {r};`, "r", sqltext.QuoteLiteral(name), "l", "{l}")
		}
	}
	if _, err := mi.Tx.Exec(ctx, sqltext.Expand(sql+"ANALYZE {l}", "l", l.table)); err != nil {
		return err
	}
	for _, r := range relation.All() {
		if !kojidb.HasID(r) || r.Named() || r.Name == "events" {
			continue
		}
		// A union of joins, so that each can use an index.
		var from []string
		for _, c := range r.Columns {
			if one := l.of(r, "t", []string{c.Name}); one != "" && c.Name != "id" {
				from = append(from, mi.ExpandSQL(r, "SELECT t.id FROM {t} t WHERE {one}", "one", one))
			}
		}
		if len(from) == 0 {
			continue
		}
		n, err := mi.ExecSQL(ctx, r, "INSERT INTO {l} SELECT {r}, 'id', {r}, t.id FROM ({from}) t WHERE t.id < {floor}", "l", l.table, "from", strings.Join(from, " UNION "))
		if err != nil {
			return err
		}
		if _, err := mi.Tx.Exec(ctx, "ANALYZE "+l.table); err != nil {
			return err
		}
		l.ids[r.Name+".id"] = l.ids[r.Name+".id"] || n > 0
	}
	return nil
}
