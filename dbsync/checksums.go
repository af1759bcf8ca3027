package dbsync

import (
	"context"

	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// checksums brings in what production's hub found out about the files of signed rpms (rpm_checksum), so that
// staging's hub need not read and hash them again. The table is a cache: no row of it is production's or staging's
// own. A row is only added, and only for a signature that staging has as production has it. A row goes when
// its signature goes or changes.
type checksums struct {
	*attempt
	staging *stager
}

// table is the relation, nil if staging's Koji does not have it.
func (c *checksums) table() *relation.Relation {
	rel := relation.Get("rpm_checksum")
	if _, there := c.Schema.Tables[rel.Name]; !there {
		return nil
	}
	return rel
}

// drop deletes the checksums of signatures that this load removed or is about to change.
func (c *checksums) drop(ctx context.Context) error {
	rel := c.table()
	if rel == nil {
		return nil
	}
	if c.Rows["rpmsigs"] > 0 {
		_, err := c.ExecSQL(ctx, rel, `DELETE FROM {t} t USING ks_rpmsigs s JOIN rpmsigs g ON g.rpm_id = s.rpm_id AND g.sigkey = s.sigkey
			WHERE g.sighash <> s.sighash AND t.rpm_id = s.rpm_id AND t.sigkey = s.sigkey`)
		if err != nil {
			return err
		}
	}
	if n := c.Counts["rpmsigs"]; n == nil || n.Deleted == 0 {
		return nil
	}
	_, err := c.ExecSQL(ctx, rel, `DELETE FROM {t} t WHERE t.rpm_id < {floor} AND NOT EXISTS (SELECT FROM rpmsigs g WHERE g.rpm_id = t.rpm_id AND g.sigkey = t.sigkey)`)
	return err
}

// load adds the snapshot's checksums, after the signatures.
func (c *checksums) load(ctx context.Context) error {
	rel := c.table()
	if rel == nil || !c.Snap.Manifest.HasRelation(rel) {
		return nil
	}
	var may bool
	if err := c.Tx.QueryRow(ctx, c.ExpandSQL(rel, `SELECT has_table_privilege({r}, 'INSERT')`)).Scan(&may); err != nil {
		return err
	}
	if !may {
		c.Report.Notes = append(c.Report.Notes, "the role may not insert into rpm_checksum, so that staging's hub hashes rpms again that production's has hashed: scripts/grants.sql grants it")
		return nil
	}
	if err := c.stage(ctx, rel); err != nil || !c.Filled[loadtx.Staged(rel)] {
		return err
	}
	n, err := c.ExecSQL(ctx, rel, `INSERT INTO {t} ({cols}) SELECT {scols} FROM {s} s JOIN rpmsigs g ON g.rpm_id = s.rpm_id AND g.sigkey = s.sigkey AND g.sighash = s.sighash
		WHERE s.rpm_id < {floor} ON CONFLICT DO NOTHING`, "cols", sqltext.Columns("", rel.ColumnNames()), "scols", sqltext.Columns("s", rel.ColumnNames()))
	c.Counts.Of(rel.Name).Inserted += n
	return err
}

// stage copies the snapshot's rows, each with the hash of its signature, into a temporary table: those that changed
// since the base, or all.
func (c *checksums) stage(ctx context.Context, rel *relation.Relation) error {
	var sums loadtx.LineReader = c.Snap.Rows(ctx, rel.Name)
	if c.Delta(rel) {
		sums.Close()
		sums = c.Snap.Changed(ctx, c.Base, rel.Name)
	}
	rows := loadtx.NewSignedSums(sums, c.Snap.Rows(ctx, "rpmsigs"), true)
	defer rows.Close()
	_, err := c.staging.copyIn(ctx, rel, loadtx.Staged(rel), append(rel.ColumnNames(), "sighash"), rows)
	return err
}
