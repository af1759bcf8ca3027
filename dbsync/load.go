package dbsync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/overlay/apply"
	"kojisnap/dbsync/preflight"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Load merges a snapshot into the staging database. Everything is one transaction: on an
// error nothing has changed, whenever and however it came, and the load can be repeated.
// Errors to tell apart: ErrNotStaging, ErrOtherHub, lockfile.ErrLocked, ErrOlder, *ConflictError, *TemporaryError,
// *overlay.Error, and what the snapshot gives (*snapfile.DamagedError).
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
	var m *merger
	load := func(tx pgx.Tx, doubt bool) (bool, error) {
		m = newMerger(tx, snap, opt)
		m.metConstraint, m.record.started = doubt, started
		if err := moreTempBuffers(ctx, tx); err != nil {
			return false, err
		}
		return !opt.DryRun, m.run(ctx)
	}
	err := dbconn.Transact(ctx, conn, pgx.RepeatableRead, load)
	if errors.Is(err, errNeedAllRows) {
		opt.Base = nil
		err = dbconn.Transact(ctx, conn, pgx.RepeatableRead, load)
	}
	if err != nil {
		run := book.NewRun(snap, opt.Version)
		run.Mode = m.record.mode()
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

// attempt is one attempt at a load, as far as all of its steps share it.
type attempt struct {
	*loadtx.Load
	opt           LoadOptions
	metConstraint bool   // an attempt before this one met a constraint
	movedFrom     string // the hub's URL of what the database holds, if that is another now
}

// merger takes the steps of one attempt in their order.
type merger struct {
	*attempt
	overlay   *apply.Applier // of the overlay of this load
	staging   *stager
	base      *baseline
	out       *exclusions
	diagnosis *diagnosis
	ids       *identities
	edits     *edits
	held      *heldBuilds
	touches   *touches
	write     *writer
	missing   *missingRows
	views     *views
	removal   *remover
	history   *historian
	volumes   *volumes
	record    *recorder
}

func (m *merger) run(ctx context.Context) (err error) {
	if err := m.check(ctx); err != nil {
		return err
	}
	if err := book.Upgrade(ctx, m.Tx, m.Mark); err != nil {
		return err
	}
	if _, err := m.Tx.Exec(ctx, loadtx.TempTables); err != nil {
		return err
	}
	other := false
	if m.overlay, other, err = apply.NewApplier(ctx, m.Load, m.opt.Overlay); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	same, err := m.record.holdsSnapshot(ctx)
	if err != nil {
		return err
	}
	if same && !other && !m.opt.Audit {
		m.Report.Skipped = true
	} else {
		if !other {
			if err := m.base.findBase(ctx); err != nil {
				return err
			}
		}
		if err := m.merge(ctx); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{m.volumes.repoint, m.overlay.Apply, m.touches.touch, m.record.finishReport} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if m.opt.OnConflict == Fail && len(m.Report.Conflicts) > 0 {
		return &ConflictError{m.Report.Conflicts}
	}
	if err := m.record.recordLoad(ctx); err != nil {
		return err
	}
	return m.record.recordRun(ctx)
}

// check refuses the wrong database and the wrong snapshot before anything is written.
func (m *merger) check(ctx context.Context) error {
	db, err := preflight.Check(ctx, m.Tx, m.opt.Env)
	if err != nil {
		return err
	}
	m.Tx, m.Mark, m.Schema, m.IDColumns, m.NoIdentity = db.Tx, db.Mark, db.Schema, db.IDs, db.Unnamed
	v, err := db.CheckSnapshot(ctx, m.Snap, m.opt.HubMoved, m.opt.Rollback)
	if err != nil {
		return err
	}
	m.Report.Notes, m.Report.Rollback, m.movedFrom = append(db.Notes, v.Notes...), v.Rollback, v.MovedFrom
	return nil
}

// merge brings the snapshot's rows in.
func (m *merger) merge(ctx context.Context) error {
	if err := m.staging.stage(ctx); err != nil {
		return err
	}
	if unclean := m.Snap.Unclean(); len(unclean) > 0 {
		note := fmt.Sprintf("the snapshot has passwords or tokens in URLs of %s, from an earlier kojisnap: they are not loaded; the store is rid of them "+
			"by kojisnap pull, if need be --full, and prune of the earlier snapshots", strings.Join(unclean, ", "))
		m.Report.Notes = append(m.Report.Notes, note)
		m.opt.Log.WarnContext(ctx, note)
	}
	for _, r := range relation.All() {
		if partial(m.Snap.Manifest, r) {
			m.Report.Notes = append(m.Report.Notes, "which rows of "+r.Name+" the hub could not give is not known: none is taken for gone")
		}
	}
	work := m.opt.Progress.Begin("merge", int64(len(relation.All())))
	defer work.End()
	for _, step := range []func(context.Context) error{m.diagnosis.checkRanges, m.diagnosis.diagnoseRows, m.overlay.BlockUsers, m.out.fitNames, m.edits.findEdits, m.ids.events, m.ids.names, m.ids.rewrite,
		m.out.fit, m.overlay.ApplyRules, m.missing.protect, m.base.checkChanges, m.volumes.chooseVolumes, m.held.findHeld, m.views.revoke, m.views.reveal, m.removal.remove, m.touches.findNew} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	for _, r := range relation.All() {
		if err := m.views.showAgain(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		if err := m.relation(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		if r.Name == "tag_config" {
			if err := m.views.findRemovedTags(ctx); err != nil {
				return err
			}
		}
		work.Add(1)
	}
	for _, r := range relation.All() {
		if r.Versioned {
			if err := m.history.history(ctx, r); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		}
	}
	if err := m.overlay.SettleOutside(ctx); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	return m.edits.tellEdits(ctx)
}

// relation merges one relation whose parents are there.
func (m *merger) relation(ctx context.Context, r *relation.Relation) error {
	if r.Name == "events" || r.Named() || m.Rows[r.Name] == 0 {
		return nil
	}
	if err := m.out.skipDependents(ctx, r); err != nil {
		return err
	}
	switch {
	case r.Versioned:
		return m.views.versioned(ctx, r)
	case r.Name == "build":
		return m.write.builds(ctx, r)
	case r.Name == "rpminfo":
		return m.write.rpms(ctx, r)
	case kojidb.Keyed(r):
		return m.write.keyed(ctx, r)
	}
	return m.write.upsert(ctx, r)
}

// moreTempBuffers gives temporary tables more memory for this transaction. PostgreSQL allows that only
// where nothing used temporary tables in its session before, so that it may fail.
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

// CheckLoad says why Load would refuse a snapshot before it writes anything.
func CheckLoad(ctx context.Context, conn *pgx.Conn, snap *snapfile.Snapshot, opt LoadOptions) error {
	if err := opt.complete(); err != nil {
		return err
	}
	err := dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		m := newMerger(tx, snap, opt)
		return m.check(ctx)
	})
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", snap.ID, err)
	}
	return nil
}

// newMerger is an attempt at a load that has done nothing yet.
func newMerger(tx pgx.Tx, snap *snapfile.Snapshot, opt LoadOptions) *merger {
	l := &loadtx.Load{Tx: tx, Snap: snap, Counts: loadtx.Counts{}, Rows: map[string]int64{}, Deleted: map[string]int64{}, Filled: map[string]bool{}}
	l.Report = &book.LoadReport{Snapshot: snap.ID, Event: snap.Manifest.Event, Tags: snap.Manifest.Scope.AskedFor(), DryRun: opt.DryRun, Waited: opt.Waited}
	a := &attempt{Load: l, opt: opt}
	out := &exclusions{attempt: a, skipped: map[string]bool{}, bad: map[string]bool{}}
	edits, names, held, touches := &edits{a}, &nameConflicts{a, out}, &heldBuilds{a, out}, &touches{attempt: a}
	write := &writer{a, out, edits, names, held, touches}
	ids := &identities{attempt: a, edits: edits, conflicts: names, write: write, mapped: map[string]bool{}}
	missing := &missingRows{attempt: a, out: out, ids: ids}
	staging := &stager{attempt: a}
	history := &historian{attempt: a, staging: staging}
	return &merger{attempt: a, staging: staging, base: &baseline{a}, out: out, diagnosis: &diagnosis{a, out}, ids: ids, edits: edits,
		held: held, touches: touches, write: write, missing: missing, views: &views{attempt: a, missing: missing},
		removal: &remover{a, missing}, history: history, volumes: &volumes{a, out}, record: &recorder{attempt: a, ids: ids, history: history}}
}
