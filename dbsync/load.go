package dbsync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/fullimport"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/overlay/apply"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Load merges a snapshot into the staging database. Everything is one transaction: on any error nothing has
// changed, and the load can be repeated. Errors to tell apart: book.ErrNotStaging, preflight.ErrOtherHub,
// preflight.ErrOlder, lockfile.ErrLocked, *ConflictError, *retry.TemporaryError, *overlay.Error, and those of
// the snapshot (*snapfile.DamagedError).
//
// Nothing else may use the connection meanwhile. It comes from dbconn.Connect; package dbconn says how queries
// must run on one that does not.
func Load(ctx context.Context, conn *pgx.Conn, snap *snapfile.Snapshot, opt LoadOptions) (*book.LoadReport, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	started := time.Now()
	if opt.Overlay != nil {
		err := dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
			m := newMerger(tx, snap, opt)
			if err := m.check(ctx); err != nil {
				return err
			}
			return apply.Check(ctx, m.Load, opt.Overlay)
		})
		if err != nil {
			recordFailure(ctx, conn, book.NewRun(snap, opt.Version), opt, started, err)
			return nil, fmt.Errorf("load snapshot %s: %w", snap.ID, err)
		}
	}
	imported, rep, err := fullImport(ctx, conn, snap, opt)
	if err != nil || rep != nil {
		if err != nil {
			run := book.NewRun(snap, opt.Version)
			run.Mode = "import"
			recordFailure(ctx, conn, run, opt, started, err)
			return nil, fmt.Errorf("load snapshot %s: %w", snap.ID, err)
		}
		return rep, nil
	}
	var m *merger
	needAllRows := false
	load := func(tx pgx.Tx, metConstraint bool) (bool, error) {
		m = newMerger(tx, snap, opt)
		m.metConstraint, m.record.started, m.imported, m.needAllRows = metConstraint, started, imported, needAllRows
		if err := moreTempBuffers(ctx, tx); err != nil {
			return false, err
		}
		return !opt.DryRun, m.run(ctx)
	}
	err = dbconn.Transact(ctx, conn, pgx.RepeatableRead, load)
	if errors.Is(err, errNeedAllRows) {
		opt.Base, needAllRows = nil, true
		err = dbconn.Transact(ctx, conn, pgx.RepeatableRead, load)
	}
	if imported != nil && dbconn.SQLState(err) == "53100" {
		err = fmt.Errorf("%w; then kojisnap load --snapshot %s goes on with the import", err, snap.ID)
	}
	if err != nil {
		run := book.NewRun(snap, opt.Version)
		if m != nil {
			run.Mode = m.record.mode()
		}
		recordFailure(ctx, conn, run, opt, started, err)
		return nil, fmt.Errorf("load snapshot %s: %w", snap.ID, err)
	}
	opt.Log.InfoContext(ctx, "snapshot loaded", "snapshot", snap.ID, "dry_run", opt.DryRun, "changed", m.Report.Changed(),
		"touched", len(m.Report.Touched), "conflicts", len(m.Report.Conflicts))
	if !opt.DryRun {
		if m.staging.gap != "" {
			opt.Log.WarnContext(ctx, m.staging.gap)
		}
		m.record.analyze(ctx, conn)
	}
	return m.Report, nil
}

// CheckLoad says why Load would refuse a snapshot before it writes anything.
func CheckLoad(ctx context.Context, conn *pgx.Conn, snap *snapfile.Snapshot, opt LoadOptions) error {
	if err := opt.complete(); err != nil {
		return err
	}
	err := dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		m := newMerger(tx, snap, opt)
		if err := m.check(ctx); err != nil || opt.Import != ImportAuto {
			return err
		}
		return m.checkWhole(ctx)
	})
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", snap.ID, err)
	}
	return nil
}

// moreTempBuffers gives temporary tables more memory for this transaction. PostgreSQL allows that only before
// the session first uses temporary tables, so a failure is no error.
func moreTempBuffers(ctx context.Context, tx pgx.Tx) error {
	try, err := tx.Begin(ctx) // a savepoint
	if err != nil {
		return err
	}
	if _, err := try.Exec(ctx, "SET LOCAL temp_buffers = '64MB'"); err != nil {
		return try.Rollback(ctx)
	}
	return try.Commit(ctx)
}

// checkWhole refuses a database that a full import of another snapshot fills.
func (m *merger) checkWhole(ctx context.Context) error {
	importing, err := book.ReadImporting(ctx, m.Tx, m.Mark)
	if err != nil || importing == nil || importing.Snapshot == m.Snap.ID {
		return err
	}
	return fmt.Errorf("%w, or begin anew with another snapshot of everything: --import restart; --import never undoes the import",
		&book.ImportingError{Database: m.Mark.Database, Importing: *importing})
}

// fullImport copies what a full import copies, if the snapshot is to be loaded that way: Load then merges the rest and
// clears the mark. It returns nil if the snapshot is to be merged from the beginning, and a report in a dry run that
// would import.
func fullImport(ctx context.Context, conn *pgx.Conn, snap *snapfile.Snapshot, opt LoadOptions) (im *fullimport.Import, rep *book.LoadReport, err error) {
	if !snap.Manifest.Scope.Everything && opt.Import == ImportAuto {
		return nil, nil, nil
	}
	err = dbconn.Transact(ctx, conn, pgx.RepeatableRead, func(tx pgx.Tx, metConstraint bool) (commit bool, err error) {
		im, rep = nil, nil
		m := newMerger(tx, snap, opt)
		m.metConstraint = metConstraint
		if err := m.begin(ctx); err != nil {
			return false, err
		}
		im, rep, commit, err = m.beginImport(ctx)
		return commit && !opt.DryRun, err
	})
	if err != nil || im == nil || opt.DryRun {
		return nil, rep, err
	}
	if opt.Importing != nil {
		opt.Importing(ctx)
	}
	im.Log, im.Progress, im.Sessions = opt.Log, opt.Progress, opt.Sessions
	var ran error
	// The transaction holds the lock meanwhile, and does nothing else.
	err = dbconn.Transact(ctx, conn, pgx.ReadCommitted, func(pgx.Tx, bool) (bool, error) {
		ran = im.Run(ctx)
		return false, nil
	})
	return im, nil, cmp.Or(ran, err)
}

// beginImport begins a full import, or joins the one that was begun with this snapshot. It returns nil if the
// snapshot is to be merged. A dry run's report says what would go in.
func (m *merger) beginImport(ctx context.Context) (_ *fullimport.Import, _ *book.LoadReport, commit bool, err error) {
	begun, err := book.ReadImporting(ctx, m.Tx, m.Mark)
	if err != nil {
		return nil, nil, false, err
	}
	anew := m.opt.Import == ImportRestart
	switch {
	case begun == nil && m.opt.Import == ImportNever:
		return nil, nil, false, nil
	case begun != nil && m.opt.Import == ImportNever:
		if m.opt.DryRun {
			return nil, nil, false, fmt.Errorf("a dry run cannot tell what is to do after an import is undone: %w", &book.ImportingError{Database: m.Mark.Database, Importing: *begun})
		}
		m.opt.Log.InfoContext(ctx, "the full import that was begun is undone", "snapshot", begun.Snapshot)
		return nil, nil, true, fullimport.Abandon(ctx, m.Load)
	case begun != nil && !anew:
		if err := m.checkWhole(ctx); err != nil {
			return nil, nil, false, err
		}
	case begun != nil:
		m.opt.Log.InfoContext(ctx, "the full import that was begun begins anew", "snapshot", begun.Snapshot)
		if err := fullimport.Undo(ctx, m.Load); err != nil {
			return nil, nil, false, err
		}
	}
	var volumes *fullimport.Volumes
	if begun == nil || anew {
		why, err := fullimport.Unfit(ctx, m.Load)
		if err == nil && why == "" {
			why, err = m.importNames(ctx)
		}
		switch {
		case err != nil:
			return nil, nil, false, err
		case why != "" && begun != nil:
			return nil, nil, false, fmt.Errorf("the import cannot begin anew: %s; --import never undoes it, and merges the snapshot", why)
		case why != "":
			m.opt.Log.InfoContext(ctx, "the snapshot is merged row by row, as a full import will not do", "why", why)
			return nil, nil, false, nil
		}
		if volumes, err = m.importVolumes(ctx); err != nil {
			return nil, nil, false, err
		}
		if err := fullimport.Begin(ctx, m.Load); err != nil {
			return nil, nil, false, err
		}
	}
	im, err := fullimport.Join(ctx, m.Load)
	if err != nil {
		return nil, nil, false, err
	}
	if m.opt.DryRun {
		return nil, m.planImport(im), false, nil
	}
	if volumes == nil && !im.BuildsCopied() {
		volumes, err = m.importVolumes(ctx)
	}
	im.Volumes = volumes
	return im, nil, true, err
}

// importNames merges the names, all ids of which must be known before other rows are copied. It says why the rest
// cannot be copied, if some do not go in.
func (m *merger) importNames(ctx context.Context) (why string, err error) {
	for _, step := range []func(context.Context) error{m.staging.stageNames, m.diagnosis.checkRanges, m.diagnosis.diagnoseRows, m.out.leaveOutUnfitNames,
		m.edits.findEdits, m.ids.mergeNames} {
		if err := step(ctx); err != nil {
			return "", err
		}
	}
	var left bool
	if err := m.Tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ks_skipped)").Scan(&left); err != nil || !left {
		return "", err
	}
	return "some of production's names have to be left out", nil
}

// importVolumes decides where the builds go, as volumes.chooseVolumes does.
func (m *merger) importVolumes(ctx context.Context) (*fullimport.Volumes, error) {
	v := &fullimport.Volumes{IDs: map[string]int32{}, Copied: map[kojidb.NVR]bool{}}
	var err error
	if v.Names, err = m.namesByID(ctx, "volume"); err != nil {
		return nil, err
	}
	used, err := fullimport.CompleteVolumes(ctx, m.Snap, v.Names)
	if err != nil {
		return nil, err
	}
	if err := m.volumes.mapVolumes(ctx, "SELECT unnest($1::text[])", used); err != nil {
		return nil, err
	}
	id, err := m.volumes.copyVolume(ctx)
	if err != nil {
		return nil, err
	}
	v.CopyID = int32(id)
	for _, b := range m.opt.Staged {
		v.Copied[b] = true
	}
	if len(v.Copied) > 0 {
		if v.Packages, err = m.namesByID(ctx, "package"); err != nil {
			return nil, err
		}
	}
	rows, err := m.Tx.Query(ctx, "SELECT production, id FROM ks_volume_map")
	if err != nil {
		return nil, err
	}
	var name string
	var at int32
	_, err = pgx.ForEachRow(rows, []any{&name, &at}, func() error { v.IDs[name] = at; return nil })
	return v, err
}

// namesByID reads production's names of a relation.
func (m *merger) namesByID(ctx context.Context, name string) (map[string]string, error) {
	r := relation.Get(name)
	rows := m.Snap.Rows(ctx, name)
	defer rows.Close()
	out := map[string]string{}
	var row [][]byte
	var err error
	for rows.Next() {
		if row, err = rows.Fields(row); err != nil {
			return nil, err
		}
		out[string(row[0])] = string(row[r.Index("name")])
	}
	return out, rows.Err()
}

// planImport is the report of a dry run.
func (m *merger) planImport(im *fullimport.Import) *book.LoadReport {
	_, names := im.Counts()
	for name, n := range names {
		*m.Counts.Of(name) = n
	}
	for _, r := range m.Snap.Manifest.Relations {
		c := m.Counts.Of(r.Name)
		if c.Read = r.Rows; !relation.Get(r.Name).Named() {
			c.Inserted = r.Rows
		}
	}
	m.Report.Mode, m.Report.Relations = "import", m.Counts.Sorted()
	m.Report.Notes = append(m.Report.Notes, "the database is fresh, so the snapshot would go in by a full import: indexes and foreign keys of the tables go meanwhile, and other commands refuse the database")
	return m.Report
}

// countImported adds to the report and to the touched tags what a full import has done.
func (m *merger) countImported(ctx context.Context) error {
	if m.imported == nil {
		return nil
	}
	copied, names := m.imported.Counts()
	for name, n := range names {
		c := m.Counts.Of(name)
		n.Read = 0 // it was read again
		c.Add(n)
	}
	for name, n := range copied {
		m.Counts.Of(name).Inserted += n
		r := relation.Get(name)
		if !r.Optional {
			m.Rows[name] = n
		}
		if r.Versioned && r.Name != "tag_package_owners" { // Koji itself takes no tag for changed then
			if _, err := m.ExecSQL(ctx, r, "INSERT INTO ks_touched_tag SELECT DISTINCT tag_id FROM {t} WHERE active"); err != nil {
				return err
			}
		}
	}
	return nil
}
