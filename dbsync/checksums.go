package dbsync

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
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
	var sums lineReader = c.Snap.Rows(ctx, rel.Name)
	if c.Delta(rel) {
		sums.Close()
		sums = c.Snap.Changed(ctx, c.Base, rel.Name)
	}
	rows := &signedSums{sums: sums, sigs: c.Snap.Rows(ctx, "rpmsigs")}
	defer rows.Close()
	_, err := c.staging.copyIn(ctx, rel, loadtx.Staged(rel), append(rel.ColumnNames(), "sighash"), rows)
	return err
}

// lineReader are rows of a snapshot, one at a time.
type lineReader interface {
	Next() bool
	Line() []byte
	Err() error
	Close() error
}

// signedSums are the rows of rpm_checksum whose signature the snapshot has, each with the signature's hash as a further
// field. Both relations are sorted by rpm_id and sigkey.
type signedSums struct {
	sums  lineReader
	sigs  *snapfile.Rows
	began bool
	sig   [][]byte // the present one, nil after the last
	rpm   int64    // its rpm_id
	buf   []byte
	err   error
}

// Read implements io.Reader.
func (s *signedSums) Read(p []byte) (int, error) {
	for len(s.buf) == 0 {
		if s.err != nil || !s.sums.Next() {
			return 0, io.EOF
		}
		s.buf, s.err = s.line(s.buf[:0])
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	return n, nil
}

// line appends the line for the present row, nothing if its signature is not there.
func (s *signedSums) line(dst []byte) ([]byte, error) {
	sum, err := snapfile.ParseLine(bytes.TrimSuffix(bytes.Clone(s.sums.Line()), []byte("\n")), nil)
	if err != nil {
		return dst, err
	}
	if len(sum) < 2 || sum[0] == nil || sum[1] == nil {
		return dst, fmt.Errorf("rpm_checksum: a row of %d fields, or without a key", len(sum))
	}
	rpm, err := idset.Parse(sum[0])
	if err != nil {
		return dst, fmt.Errorf("rpm_checksum: %w", err)
	}
	if !s.began {
		s.began = true
		if err := s.next(); err != nil {
			return dst, err
		}
	}
	for s.sig != nil && (s.rpm < rpm || s.rpm == rpm && bytes.Compare(s.sig[1], sum[1]) < 0) {
		if err := s.next(); err != nil {
			return dst, err
		}
	}
	if s.sig == nil || s.rpm != rpm || !bytes.Equal(s.sig[1], sum[1]) {
		return dst, nil
	}
	return snapfile.AppendLine(dst, append(sum, s.sig[2])), nil
}

// next goes to the next signature.
func (s *signedSums) next() (err error) {
	if !s.sigs.Next() {
		s.sig = nil
		return s.sigs.Err()
	}
	if s.sig, err = s.sigs.Fields(s.sig); err == nil {
		s.rpm, err = idset.Parse(s.sig[0])
	}
	return err
}

// Err implements lines.
func (s *signedSums) Err() error {
	if s.err != nil {
		return s.err
	}
	return s.sums.Err()
}

// Close closes what is open.
func (s *signedSums) Close() error {
	s.sigs.Close()
	return s.sums.Close()
}
