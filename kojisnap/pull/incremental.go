package pull

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// incremental says how a pull continues its base: which rows it keeps, and what it asks the hub for.
//
// Versioned rows leave events. The pull asks for rows that were created or revoked after an event some time
// before the base's, and keeps the others. It asks for builds that may have changed, with their rpms,
// signatures and archives: those that were tagged or untagged since, that were incomplete or drafts in the
// base, or that the hub lists as completed since.
//
// Some changes leave no trace: a deletion, a move to another volume, a new owner, a signature that is added
// or removed while the tags stay the same. The sweep finds them: each pull also asks for one slice of all
// builds. The row of a build may suggest that it was reset and lost its tags; then its taggings are asked
// for. Small relations are read whole.
type incremental struct {
	base    *snapfile.Snapshot
	found   *scope.Found
	builder *snapshot.Builder
	since   int64 // rows that were revoked after this event are wanted
	sweep   int64 // how many pulls make a sweep

	after int64          // everything that changed after this event is asked for
	slice int64          // the slice of the builds that this pull asks for
	tags  map[int64]bool // of the base's scope

	mu      sync.Mutex      // of touched and revoked
	revoked map[string]bool // keys of versioned rows that the base may have in its view and that are revoked now
	touched idset.Set       // builds whose tagging changed
	tagged  idset.Set       // builds tagged in the scope, now or revoked since the base
	ask     idset.Set       // of these, the ones that are asked for
	created map[int64]int64 // create_event in the base of those that are asked for
	recheck idset.Set       // builds whose taggings were asked for by build

	again idset.Set                 // builds whose rows the base lacks, because the hub could not give them
	lost  idset.Set                 // of these, builds whose own row the base lacks
	whole map[string]map[int64]bool // relations whose rows the base lacks, by tag

	known     idset.Set // builds of the base
	unsettled idset.Set // of these, drafts and builds that are neither complete nor deleted
	deleted   idset.Set // of these, the deleted ones: history has their taggings
	rpms      idset.Set // kept, of tagged builds
	archives  idset.Set // kept, of tagged builds
}

// touch notes that a build's tagging or the build has changed.
func (c *incremental) touch(build int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.touched.Add(build)
}

// revoke notes that a row is no longer in the view.
func (c *incremental) revoke(rel *relation.Relation, row [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revoked[snapshot.RowKey(rel, row)] = true
}

// findIncremental decides how the pull continues a base; nil: it asks for everything.
func (r *run) findIncremental(ctx context.Context, f *scope.Finder, base *snapfile.Snapshot) (*incremental, error) {
	m := base.Manifest
	if r.opt.Sweep == 1 || m.KojiVersion != r.version.String() {
		return nil, nil
	}
	if m.Source != "" { // what the hub sees of a row may differ from what the table holds: once everything is compared
		r.log.InfoContext(ctx, "the snapshot before is not the hub's own: asking for everything", "base", base.ID, "source", m.Source)
		return nil, nil
	}
	c := &incremental{base: base, found: &f.Found, builder: r.builder, sweep: int64(r.opt.Sweep), tags: map[int64]bool{}, revoked: map[string]bool{}, whole: map[string]map[int64]bool{}, created: map[int64]int64{}}
	before := m.EventTime.Add(-max(r.opt.Overlap, 0))
	v, there, err := f.LastEvent(ctx, before)
	if err != nil {
		return nil, fmt.Errorf("last event before %s: %w", before.UTC().Format(time.RFC3339), err)
	}
	if there {
		c.after, _ = v.Field("id").Int()
	}
	// Times tell how far back to read only if they ascend with the ids, apart from concurrent transactions.
	if back := m.EventTime.Sub(f.EventTime); c.after > m.Event || f.Event > m.Event && back > max(r.opt.Overlap, 0)/2 {
		r.log.WarnContext(ctx, "the hub's clock went back: asking for everything", "base", base.ID, "event", m.Event, "of", m.EventTime)
		return nil, nil
	}
	for _, tag := range m.Scope.All {
		c.tags[tag.ID] = true
	}
	// The chain of snapshots selects the slice of the sweep. A hub without changes makes no snapshot; then
	// the hour selects it.
	c.slice = int64(m.Chain)
	if m.Event == f.Event {
		c.slice += int64(r.opt.Now().Sub(m.Created) / time.Hour)
	}
	c.slice = (c.slice%c.sweep + c.sweep) % c.sweep // not negative: clocks differ
	c.findLost()
	r.log.InfoContext(ctx, "going on from a snapshot", "base", base.ID, "after", c.after)
	return c, nil
}

// needsRecheck reports whether a build's row shows that the base's taggings of it may be gone: it was reset
// or made again, perhaps after the base's event but before the base's pull read it.
func (c *incremental) needsRecheck(id int64, r hub.Value) bool {
	was, kept := c.created[id]
	if !kept {
		return false
	}
	state, _ := r.Field("state").Int()
	created, _ := r.Field("creation_event_id").Int()
	settled := state == 1 || state == 2 && c.deleted.Has(id)
	return !settled || created != was || was > c.base.Manifest.Event
}

// inSweepSlice reports whether a build is in this pull's slice of the sweep.
func (c *incremental) inSweepSlice(id int64) bool { return id%c.sweep == c.slice }

// covered returns the event up to which the base has everything that changed; 0 without a base.
func (c *incremental) covered() int64 {
	if c == nil {
		return 0
	}
	return min(c.after, c.base.Manifest.Event)
}

// sameStart reports whether the base has the history of exactly the tags that it should have.
func (c *incremental) sameStart() bool {
	if c == nil {
		return false
	}
	for _, t := range c.base.Manifest.Scope.All {
		if t.History != c.found.Start {
			return false
		}
	}
	return true
}

// missingHistory returns the event from which on the base has the history of a tag, if that is later than S;
// 0 if nothing is missing.
func (c *incremental) missingHistory(tag int64) int64 {
	if c == nil || c.found.Start == 0 || !c.tags[tag] {
		return 0
	}
	if from := c.base.Manifest.HistoryFrom(tag); from > c.found.Start {
		return from
	}
	return 0
}

// coversUntagged reports whether the base has the history of all rows that no tag selects of a relation:
// those that the scope refers to, or that refer to it.
func (c *incremental) coversUntagged(ctx context.Context, rel *relation.Relation) (bool, error) {
	if c == nil || c.found.Start == 0 {
		return false, nil
	}
	for _, t := range c.found.Scope.All {
		if !c.tags[t.ID] || c.missingHistory(t.ID) > 0 {
			return false, nil
		}
	}
	if rel.Name != "external_repo_config" {
		return true, nil
	}
	var had idset.Set
	err := snapshot.EachRow(ctx, c.base, relation.Get("external_repo"), func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		had.Add(id)
		return err
	})
	wanted := c.builder.Referred("external_repo")
	return err == nil && len(wanted.Without(&had)) == 0, err
}
