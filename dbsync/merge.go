package dbsync

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/fullimport"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/overlay/apply"
	"kojisnap/dbsync/preflight"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// merger runs the steps of one attempt in their order.
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
	sums      *checksums
	history   *historian
	volumes   *volumes
	record    *recorder
}

// run does the whole load, up to the commit.
func (m *merger) run(ctx context.Context) (err error) {
	if err := m.begin(ctx); err != nil {
		return err
	}
	if m.imported == nil {
		if err := m.checkWhole(ctx); err != nil {
			return err
		}
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
		switch {
		case m.imported != nil && !m.needAllRows:
			m.Base = m.Snap
			m.Imported, _ = m.imported.Counts()
		case !other && m.imported == nil:
			if err := m.base.findBase(ctx); err != nil {
				return err
			}
		}
		if err := m.merge(ctx); err != nil {
			return err
		}
		if err := m.countImported(ctx); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{m.volumes.repoint, m.overlay.Apply, m.touches.announce, m.record.finishReport} {
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
	if m.imported != nil {
		if err := fullimport.Finish(ctx, m.Tx); err != nil {
			return err
		}
	}
	return m.record.recordRun(ctx)
}

// begin checks database and snapshot, and makes the tables that the steps share.
func (m *merger) begin(ctx context.Context) error {
	if err := m.check(ctx); err != nil {
		return err
	}
	if err := book.Upgrade(ctx, m.Tx, m.Mark); err != nil {
		return err
	}
	_, err := m.Tx.Exec(ctx, loadtx.TempTables)
	return err
}

// check refuses the wrong database and the wrong snapshot before anything is written.
func (m *merger) check(ctx context.Context) error {
	db, err := preflight.Check(ctx, m.Tx, m.opt.Env)
	if err != nil {
		return err
	}
	m.Tx, m.Mark, m.Schema, m.IDColumns, m.NoIdentity = db.Tx, db.Mark, db.Schema, db.IDs, db.NoIdentity
	v, err := db.CheckSnapshot(ctx, m.Snap, m.opt.HubMoved, m.opt.Rollback)
	if err != nil {
		return err
	}
	m.Report.Notes, m.Report.Rollback, m.movedFrom = append(db.Notes, v.Notes...), v.Rollback, v.MovedFrom
	return nil
}

// merge brings the snapshot's rows in. The steps speak with each other by temporary tables, which package loadtx
// describes. {s}, {revoked} and {deleted} are the three of each relation; (w) is one that the step also takes rows
// out of. By "left out" a step also writes ks_left_out, ks_deferred, ks_skipped and ks_not_written, out of {s}.
//
//	step            reads                                        writes
//	stage           the snapshot, kojisnap.aside                 {s} {revoked} {deleted}
//	checkRanges     {s}                                          -
//	diagnoseRows    {s} ks_skipped                               left out
//	BlockUsers      -                                            {s} of users
//	leaveOutUnfitNames
//	                {s}                                          left out
//	findEdits       kojisnap.placed                              ks_edited
//	insertEvents    {s}                                          Koji's events
//	mergeNames      {s} (w) ks_edited ks_not_written             Koji's names, kojisnap.idmap, left out; ks_kept ks_parked
//	                                                             ks_overwritten ks_touched_tag ks_scope_repo
//	rewrite         kojisnap.idmap                               the ids in {s} {revoked} {deleted}; ks_scope_tag ks_scope_repo
//	                                                             ks_named_build
//	leaveOutUnfit   {s}                                          left out
//	ApplyRules      {s}                                          {s}, kojisnap.overruled
//	findMissing     the manifests, {s} ks_deferred ks_skipped    ks_lack ks_lack_base {deleted}
//	checkChanges    {s} ks_scope_tag                             -
//	chooseVolumes   {s} of volume and build                      {s} of build, ks_copied_build ks_volume_map, left out
//	findHeld        {s} ks_edited (w)                            ks_held_build ks_skipped
//	revoke          {s} {revoked} {deleted} ks_scope_tag         Koji's versioned tables, kojisnap.decided; ks_touched_tag
//	                ks_scope_repo ks_lack                        ks_history_hole
//	reveal          {s} ks_scope_tag ks_scope_repo               Koji's versioned tables, kojisnap.hidden; ks_removed_tag
//	                                                             ks_touched_tag
//	remove          {s} {deleted} ks_held_build ks_named_build   Koji's tables, kojisnap.placed…; ks_covered_build ks_doomed
//	                ks_scope_tag ks_edited ks_lack               ks_shrunk_build ks_deferred ks_kept ks_touched_build
//	findNew         {s} of build                                 ks_new_build
//	drop            {s} of rpmsigs                               rpm_checksum
//	showAgain       ks_held_build ks_removed_tag                 Koji's versioned tables, kojisnap.hidden; ks_touched_tag
//	relation        {s} (w) ks_skipped ks_edited ks_parked       Koji's tables, kojisnap.placed… and hidden, left out; ks_kept
//	                ks_held_build ks_removed_tag ks_new_build    ks_overwritten ks_deferred ks_touched_tag ks_touched_build
//	load            the snapshot                                 rpm_checksum
//	insertPast      {revoked} {s} ks_skipped ks_scope_tag        Koji's versioned tables; ks_deferred ks_history_hole
//	SettleOutside   {s}                                          Koji's tables, kojisnap.overruled; ks_touched_tag
//	tellEdits       ks_edited ks_held_build ks_left_out          ks_kept
//
// After the merge, or without it where the database holds the very snapshot:
//
//	repoint         ks_copied_build ks_volume_map                Koji's builds, kojisnap.placed_volume; ks_kept ks_touched_build
//	Apply           -                                            what the overlay names, kojisnap.overlay…; ks_touched_tag
//	announce        ks_touched_tag ks_touched_build              tag_updates, tag_inheritance
//	finishReport    ks_left_out ks_kept ks_overwritten           -
//	recordLoad      ks_left_out ks_kept ks_deferred ks_skipped   kojisnap.load, tag, left_out, kept, aside
//	                ks_history_hole
func (m *merger) merge(ctx context.Context) error {
	if err := m.staging.stage(ctx); err != nil {
		return err
	}
	m.noteFaults(ctx)
	work := m.opt.Progress.Begin("merge", int64(len(relation.All())))
	defer work.End()
	for _, step := range []func(context.Context) error{
		m.diagnosis.checkRanges, m.diagnosis.diagnoseRows,
		m.overlay.BlockUsers, m.out.leaveOutUnfitNames, m.edits.findEdits, m.ids.insertEvents, m.ids.mergeNames, m.ids.rewrite, // from here on ids are staging's
		m.out.leaveOutUnfit, m.overlay.ApplyRules, m.missing.findMissing, m.base.checkChanges,
		m.volumes.chooseVolumes, m.held.findHeld,
		m.views.revoke, m.views.reveal, m.removal.remove, m.touches.findNew, m.sums.drop,
	} {
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
	if err := m.sums.load(ctx); err != nil {
		return fmt.Errorf("rpm_checksum: %w", err)
	}
	for _, r := range relation.All() {
		if r.Versioned {
			if err := m.history.insertPast(ctx, r); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		}
	}
	if err := m.overlay.SettleOutside(ctx); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	return m.edits.tellEdits(ctx)
}

// relation merges one relation, after those that its rows refer to.
func (m *merger) relation(ctx context.Context, r *relation.Relation) error {
	if r.Name == "events" || r.Named() || m.Rows[r.Name] == 0 {
		return nil
	}
	if err := m.out.skipDependents(ctx, r); err != nil {
		return err
	}
	switch {
	case r.Versioned:
		return m.views.writeVersioned(ctx, r)
	case r.Name == "build":
		return m.write.writeBuilds(ctx, r)
	case r.Name == "rpminfo":
		return m.write.writeRPMs(ctx, r)
	case kojidb.Keyed(r):
		return m.write.writeKeyed(ctx, r)
	}
	return m.write.upsert(ctx, r)
}

// noteFaults notes what concerns the snapshot as a whole.
func (m *merger) noteFaults(ctx context.Context) {
	if unclean := m.Snap.Unclean(); len(unclean) > 0 {
		note := fmt.Sprintf("the snapshot has passwords or tokens in URLs of %s, from an earlier kojisnap: they are not loaded; the store is rid of them "+
			"by kojisnap pull, if need be --full, and prune of the earlier snapshots", strings.Join(unclean, ", "))
		m.Report.Notes = append(m.Report.Notes, note)
		m.opt.Log.WarnContext(ctx, note)
	}
	for _, r := range relation.All() {
		switch {
		case !m.Snap.Manifest.HasRelation(r):
			m.Report.Notes = append(m.Report.Notes, "the snapshot is of a format that has no "+r.Name+": its rows stay as they are")
		case partial(m.Snap.Manifest, r):
			m.Report.Notes = append(m.Report.Notes, "which rows of "+r.Name+" the hub could not give is not known: none is taken for gone")
		}
	}
}

// attempt is what all steps of one attempt at a load share. A load makes several if others are in its way.
type attempt struct {
	*loadtx.Load
	opt           LoadOptions
	metConstraint bool               // an attempt before this one met a constraint
	needAllRows   bool               // an attempt before this one met errNeedAllRows
	imported      *fullimport.Import // the full import that this load ends; nil: there is none
	movedFrom     string             // the hub's URL of what the database holds, if that is another now
}

// newMerger makes an attempt at a load.
func newMerger(tx pgx.Tx, snap *snapfile.Snapshot, opt LoadOptions) *merger {
	l := &loadtx.Load{Tx: tx, Snap: snap, Counts: loadtx.Counts{}, Rows: map[string]int64{}, Deleted: map[string]int64{}, Filled: map[string]bool{}}
	l.Report = &book.LoadReport{Snapshot: snap.ID, Event: snap.Manifest.Event, Tags: snap.Manifest.Scope.AskedFor(), LoadTags: opt.Tags, DryRun: opt.DryRun, Waited: opt.Waited}
	a := &attempt{Load: l, opt: opt}
	out := &exclusions{attempt: a, skipped: map[string]bool{}, bad: map[string]bool{}}
	edits, names, held, touches := &edits{attempt: a}, &nameConflicts{a, out}, &heldBuilds{a, out}, &touches{attempt: a}
	write := &writer{a, out, edits, names, held, touches}
	ids := &identities{attempt: a, edits: edits, conflicts: names, write: write, mapped: map[string]bool{}}
	missing := &missingRows{attempt: a, out: out, ids: ids}
	staging := &stager{attempt: a}
	history := &historian{attempt: a, staging: staging}
	return &merger{attempt: a, staging: staging, base: &baseline{a}, out: out, diagnosis: &diagnosis{a, out}, ids: ids, edits: edits,
		held: held, touches: touches, write: write, missing: missing, views: &views{attempt: a, missing: missing},
		removal: &remover{attempt: a, missing: missing}, sums: &checksums{a, staging}, history: history, volumes: &volumes{a, out}, record: &recorder{attempt: a, ids: ids, history: history}}
}
