package dbsync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/overlay"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Load merges a snapshot into the staging database. Everything is one transaction: on an
// error nothing has changed, whenever and however it came, and the load can be repeated.
// Errors to tell apart: ErrNotStaging, ErrOtherHub, lockfile.ErrLocked, ErrOlder, *ConflictError, *TemporaryError,
// *overlay.Error, and what the snapshot gives (*snapfile.DamagedError).
func Load(ctx context.Context, conn *pgx.Conn, snap *snapfile.Snapshot, opt LoadOptions) (*LoadReport, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	started := time.Now()
	if opt.Overlay != nil {
		m := &merger{snap: snap, opt: opt, rep: &LoadReport{}, started: started}
		if err := m.checkOverlay(ctx, conn); err != nil {
			newRun(snap, opt).fail(ctx, conn, opt, started, err)
			return nil, fmt.Errorf("load snapshot %s: %w", snap.ID, err)
		}
	}
	var m *merger
	load := func(tx pgx.Tx, doubt bool) (bool, error) {
		m = &merger{tx: tx, doubt: doubt, snap: snap, opt: opt, rep: &LoadReport{Snapshot: snap.ID, Event: snap.Manifest.Event, Tags: snap.Manifest.Scope.AskedFor(), DryRun: opt.DryRun, Waited: opt.Waited},
			started: started, counts: counts{}, rows: map[string]int64{}, lost: map[string]int64{}, filled: map[string]bool{}, mapped: map[string]bool{}, gone: map[string]bool{}, unfit: map[string]bool{}}
		if err := moreTempBuffers(ctx, tx); err != nil {
			return false, err
		}
		return !opt.DryRun, m.run(ctx)
	}
	err := transact(ctx, conn, pgx.RepeatableRead, load)
	if errors.Is(err, errWhole) {
		opt.Base = nil
		err = transact(ctx, conn, pgx.RepeatableRead, load)
	}
	if err != nil {
		run := newRun(snap, opt)
		run.Mode = m.mode()
		run.fail(ctx, conn, opt, started, err)
		return nil, fmt.Errorf("load snapshot %s: %w", snap.ID, err)
	}
	opt.Log.InfoContext(ctx, "snapshot loaded", "snapshot", snap.ID, "dry_run", opt.DryRun, "changed", m.rep.Changed(),
		"touched", len(m.rep.Touched), "conflicts", len(m.rep.Conflicts))
	if !opt.DryRun {
		if m.gap != "" {
			opt.Log.WarnContext(ctx, m.gap)
		}
		m.analyze(ctx, conn)
	}
	return m.rep, nil
}

// merger is one attempt at a load.
type merger struct {
	tx      pgx.Tx
	snap    *snapfile.Snapshot
	opt     LoadOptions
	mark    *Mark
	schema  *schema
	over    *overlay.Overlay // what this load applies, the last one if opt has none
	rep     *LoadReport
	counts  counts
	started time.Time // the first attempt

	base       *snapfile.Snapshot // what the database holds, where only what changed since is read; nil: all is
	rows, lost map[string]int64   // how many rows of a relation were read, and how many keys that went
	filled     map[string]bool    // the temporary tables that got rows

	movedFrom string               // the hub's URL of what the database holds, if that is another now
	idColumns []idColumn           // what gives out ids
	gap       string               // what is not known of revocations, as a snapshot is gone
	bridges   []*snapfile.Manifest // of snapshots between what the database holds and this one, whose revoked rows went in
	wholeFrom []int64              // of each tag of the scope, the event from which on its history is whole
	event     int64                // the staging event of this load, 0 before it takes one
	mapped    map[string]bool      // relations of which some ids differ from production's
	gone      map[string]bool      // relations of which rows were left out
	unfit     map[string]bool      // relations of which rows were left out as there is something wrong with them
	lack      *lacks               // what the snapshot does not have though it has not gone
	unnamed   map[string]bool      // tables without a replica identity
	decided   map[string]bool      // relations of which staging's removals are on record
	removed   bool                 // staging removed tags
	hidden    []*relation.Relation // those of which rows may show again
	decisions []decidedBuild       // of staging's about builds
	oldBuilds bool                 // the snapshot has builds that were loaded before
	doubt     bool                 // an attempt before this one met a constraint
}

func (m *merger) run(ctx context.Context) error {
	if err := m.check(ctx); err != nil {
		return err
	}
	if err := upgradeBook(ctx, m.tx, m.mark); err != nil {
		return err
	}
	if _, err := m.tx.Exec(ctx, scratch); err != nil {
		return err
	}
	other, err := m.readOverlay(ctx)
	if err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	same, err := m.holdsSnapshot(ctx)
	if err != nil {
		return err
	}
	if same && !other && !m.opt.Audit {
		m.rep.Skipped = true
	} else {
		if !other {
			if err := m.findBase(ctx); err != nil {
				return err
			}
		}
		if err := m.merge(ctx); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{m.repoint, m.overlay, m.touch, m.finishReport} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if m.opt.OnConflict == Fail && len(m.rep.Conflicts) > 0 {
		return &ConflictError{m.rep.Conflicts}
	}
	if err := m.book(ctx); err != nil {
		return err
	}
	return m.recordRun(ctx)
}

// check refuses the wrong database and the wrong snapshot before anything is written.
func (m *merger) check(ctx context.Context) error {
	if err := m.checkDatabase(ctx); err != nil {
		return err
	}
	return m.checkSnapshot(ctx)
}

// checkDatabase refuses a database that no snapshot can be loaded into.
func (m *merger) checkDatabase(ctx context.Context) error {
	here, err := identity(ctx, m.tx)
	if err != nil {
		return err
	}
	if m.schema, err = readSchema(ctx, m.tx); err != nil {
		return err
	}
	if err := m.schema.checkKoji(here.Database); err != nil {
		return err
	}
	if m.schema.localTimes() {
		// They are what the hub, whose sessions have the database's own time zone, takes for the time.
		if _, err := m.tx.Exec(ctx, "SET LOCAL TimeZone TO DEFAULT"); err != nil {
			return err
		}
	}
	if m.mark, err = readMark(ctx, m.tx); err != nil {
		return err
	}
	if err := m.mark.CheckEnv(m.opt.Env); err != nil {
		return err
	}
	if err := m.checkSurroundings(ctx); err != nil {
		return err
	}
	if m.tx, err = newGuard(ctx, m.tx, m.schema.namespace); err != nil {
		return err
	}
	if m.rep.Notes, err = m.schema.checkFits(); err != nil {
		return err
	}
	if m.idColumns, err = idColumns(ctx, m.tx); err != nil {
		return err
	}
	return checkSequences(ctx, m.tx, m.idColumns, m.mark.Floor)
}

// checkSnapshot refuses a snapshot that cannot be loaded here.
func (m *merger) checkSnapshot(ctx context.Context) error {
	man := m.snap.Manifest
	if man.Event >= m.mark.Floor {
		return fmt.Errorf("event %d is at or above the floor %d, where staging's ids begin", man.Event, m.mark.Floor)
	}
	if err := m.checkHub(ctx); err != nil {
		return err
	}
	var tag string
	var event int64
	err := m.tx.QueryRow(ctx, `SELECT name, event FROM kojisnap.tag WHERE tag_id = ANY($1) AND event > $2 ORDER BY event DESC, name LIMIT 1`,
		pgx.QueryExecModeExec, m.scope(), man.Event).Scan(&tag, &event)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.rep.Rollback = m.opt.Rollback; m.rep.Rollback {
		return nil
	}
	return olderError(tag, event, man.Event)
}

// merge brings the snapshot's rows in.
func (m *merger) merge(ctx context.Context) error {
	if err := m.stage(ctx); err != nil {
		return err
	}
	if unclean := m.snap.Unclean(); len(unclean) > 0 {
		note := fmt.Sprintf("the snapshot has passwords or tokens in URLs of %s, from an earlier kojisnap: they are not loaded; the store is rid of them "+
			"by kojisnap pull, if need be --full, and prune of the earlier snapshots", strings.Join(unclean, ", "))
		m.rep.Notes = append(m.rep.Notes, note)
		m.opt.Log.WarnContext(ctx, note)
	}
	for _, r := range relation.All() {
		switch {
		case !m.snap.Manifest.HasRelation(r):
			m.rep.Notes = append(m.rep.Notes, "the snapshot is of a format that has no "+r.Name+": its rows stay as they are")
		case partial(m.snap.Manifest, r):
			m.rep.Notes = append(m.rep.Notes, "which rows of "+r.Name+" the hub could not give is not known: none is taken for gone")
		}
	}
	work := m.opt.Progress.Begin("merge", int64(len(relation.All())))
	defer work.End()
	for _, step := range []func(context.Context) error{m.limits, m.sound, m.overruleUsers, m.fitNames, m.findEdits, m.events, m.names, m.rewrite,
		m.fit, m.overrule, m.protect, m.checkChanges, m.placeVolumes, m.findHeld, m.revoke, m.reveal, m.remove, m.findNew} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	for _, r := range relation.All() {
		if err := m.show(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		if err := m.relation(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		if r.Name == "tag_config" {
			if err := m.findRemovedTags(ctx); err != nil {
				return err
			}
		}
		work.Add(1)
	}
	for _, r := range relation.All() {
		if r.Versioned {
			if err := m.history(ctx, r); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		}
	}
	if err := m.settle(ctx); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	return m.tellEdits(ctx)
}

// relation merges one relation whose parents are there.
func (m *merger) relation(ctx context.Context, r *relation.Relation) error {
	if r.Name == "events" || r.Named() || m.rows[r.Name] == 0 {
		return nil
	}
	if err := m.hanging(ctx, r); err != nil {
		return err
	}
	switch {
	case r.Versioned:
		return m.versioned(ctx, r)
	case r.Name == "build":
		return m.builds(ctx, r)
	case r.Name == "rpminfo":
		return m.rpms(ctx, r)
	case keyed(r):
		return m.keyed(ctx, r)
	}
	return m.upsert(ctx, r)
}
