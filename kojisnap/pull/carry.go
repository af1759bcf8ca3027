package pull

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// DefaultSweep is over how many pulls a sweep of all builds is spread.
const DefaultSweep = 30

// DefaultOverlap is how far before the event of the base snapshot events are read again: an event
// of a transaction that took hours comes to light long after later ones.
const DefaultOverlap = 24 * time.Hour

// carry is what a pull takes over from its base snapshot in the place of asking the hub.
//
// Versioned rows leave events: all that were created or revoked after an event some time before
// the base's are asked for, the others are carried over. Builds, rpms, signatures and archives
// are asked for of builds that may differ: tagged or untagged since, not complete yet or drafts
// at the base, completed since by the hub's list. What leaves no trace (a deletion, a
// move to another volume, a new owner, a signature that comes or goes without a tag) is found by
// sweeping: each pull asks for one of sweep parts of the builds as well. What a build's row
// does not show, that it was reset and lost its tags, is looked up where its row is suspect.
// Relations that are small are asked for whole.
type carry struct {
	base  *snapfile.Snapshot
	after int64          // all that changed after this event is asked for
	slice int64          // the part of the builds that is swept
	tags  map[int64]bool // of the base's scope

	mu      sync.Mutex      // of touched and revoked
	revoked map[string]bool // keys of versioned rows that the base may have in its view, and that are in it no more
	touched idset.Set       // builds with tagging that changed
	tagged  idset.Set       // builds tagged in the scope, now or revoked since the base
	ask     idset.Set       // of those, the ones asked for
	created map[int64]int64 // create_event at the base of those asked for
	recheck idset.Set       // builds whose tagging was asked for by build

	again idset.Set                 // builds of which the hub could not give all that the base should have
	lost  idset.Set                 // of those, the ones that the base is without
	whole map[string]map[int64]bool // relations of tags of which it could not

	known     idset.Set // builds of the base
	unsettled idset.Set // of those, drafts and those that are not complete, nor deleted
	deleted   idset.Set // of those, the deleted ones: history has their taggings
	rpms      idset.Set // carried over, of tagged builds
	archives  idset.Set // carried over, of tagged builds
}

// touch notes that a build's tagging changed, or the build.
func (c *carry) touch(build int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.touched.Add(build)
}

// revoke notes that a row is not in the view any more.
func (c *carry) revoke(rel *relation.Relation, row [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revoked[snapshot.RowKey(rel, row)] = true
}

// carryFrom settles what can be carried over from the base.
func (p *puller) carryFrom(ctx context.Context) error {
	m := p.base.Manifest
	if p.opt.Sweep == 1 || m.KojiVersion != p.version.String() {
		return nil
	}
	c := &carry{base: p.base, tags: map[int64]bool{}, revoked: map[string]bool{}, whole: map[string]map[int64]bool{}, created: map[int64]int64{}}
	before := m.EventTime.Add(-max(p.opt.Overlap, 0))
	v, there, err := p.lastEvent(ctx, before)
	if err != nil {
		return fmt.Errorf("last event before %s: %w", before.UTC().Format(time.RFC3339), err)
	}
	if there {
		c.after, _ = v.Field("id").Int()
	}
	// Times tell how far back to read only if they go with the ids, but for transactions at the same time.
	if back := m.EventTime.Sub(p.eventTime); c.after > m.Event || p.event > m.Event && back > max(p.opt.Overlap, 0)/2 {
		p.log.WarnContext(ctx, "the hub's clock went back: asking for everything", "base", p.base.ID, "event", m.Event, "of", m.EventTime)
		return nil
	}
	for _, tag := range m.Scope.All {
		c.tags[tag.ID] = true
	}
	// Parts of the sweep go by with the chain of snapshots. A hub without news makes no snapshot:
	// there they go by the hour.
	c.slice = int64(m.Chain)
	if m.Event == p.event {
		c.slice += int64(p.opt.Now().Sub(m.Created) / time.Hour)
	}
	sweep := int64(p.opt.Sweep)
	c.slice = (c.slice%sweep + sweep) % sweep // not negative: clocks differ
	c.findLost()
	p.carry = c
	p.log.InfoContext(ctx, "going on from a snapshot", "base", p.base.ID, "after", c.after)
	return nil
}

// swept reports whether a build is in the part that this pull sweeps.
func (p *puller) swept(id int64) bool { return id%int64(p.opt.Sweep) == p.carry.slice }

// chooseBuilds settles, after the history, which builds are tagged and which of them are asked for.
func (p *puller) chooseBuilds(ctx context.Context) error {
	c := p.carry
	c.tagged = *p.builder.Referred("build") // with those that were asked for by name
	rel := relation.Get("tag_listing")
	keep := p.keeps(rel)
	build := rel.Index("build_id")
	err := snapshot.EachRow(ctx, c.base, rel, func(row [][]byte) error {
		kept, err := keep(row)
		if kept {
			var id int64
			id, err = idset.Parse(row[build])
			c.tagged.Add(id)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = p.eachKeptRevoked(ctx, rel, func(row [][]byte) error {
		id, err := idset.Parse(row[build])
		c.tagged.Add(id)
		return err
	})
	if err != nil {
		return err
	}
	if err := p.inStage(ctx, "completed", func(p *puller) error { return p.askCompleted(ctx) }); err != nil {
		return err
	}
	if err := p.findAgain(ctx); err != nil {
		return err
	}
	rel = relation.Get("build")
	state, draft, created := rel.Index("state"), rel.Index("draft"), rel.Index("create_event")
	err = snapshot.EachRow(ctx, c.base, rel, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil {
			return err
		}
		c.known.Add(id)
		switch {
		case string(row[state]) == "2": // it does not come back, but for a reset, which leaves no tagging
			c.deleted.Add(id)
		case string(row[state]) != "1" || string(row[draft]) == "t":
			c.unsettled.Add(id)
		}
		if c.tagged.Has(id) && (c.touched.Has(id) || p.named.Has(id) || c.unsettled.Has(id) || c.again.Has(id) || p.swept(id)) {
			c.ask.Add(id)
			c.created[id], err = idset.Parse(row[created])
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range c.tagged.Without(&c.known) {
		c.ask.Add(id)
	}
	p.log.InfoContext(ctx, "builds", "tagged", c.tagged.Len(), "asked", c.ask.Len())
	return nil
}

// askCompleted asks which builds were completed lately. On a hub where those are many compared to
// the scope's it leaves them to the sweep. Promoted drafts need no such question, which no release
// up to 1.35.3 would answer: what was a draft at the base is asked for anyway.
func (p *puller) askCompleted(ctx context.Context) error {
	since := float64(p.base.Manifest.EventTime.Add(-max(p.opt.Overlap, 0)).UnixMicro()) / 1e6
	call := rowsOf(hub.Call{Method: "listBuilds", Kwargs: map[string]any{"completeAfter": since}})
	n, err := p.count(ctx, call)
	if err != nil {
		return fmt.Errorf("builds completed since the base: %w", err)
	}
	if n > int64(max(100, p.carry.tagged.Len()/50)) {
		p.log.InfoContext(ctx, "left to the sweep", "completed builds", n)
		return nil
	}
	err = onceOnly(ctx, p, "completed", func(p *puller) error {
		return p.hub.Stream(ctx, call, func(r hub.Row) error {
			if id, ok := r.Get("build_id").Int(); ok {
				p.touch(id)
			}
			return nil
		})
	})
	if broken(ctx, err, nil) { // some row of a build that may not even be of the scope
		p.log.InfoContext(ctx, "left to the sweep", "completed builds", n, "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("builds completed since the base: %w", err)
	}
	return nil
}

// suspect reports whether a build's row makes it doubtful that the taggings that the base has of
// it are still there: it was reset, or made anew, also if that was after the base's event, but
// before the base's pull came to read it.
func (p *puller) suspect(id int64, r hub.Value) bool {
	was, carried := p.carry.created[id]
	if !carried {
		return false
	}
	state, _ := r.Field("state").Int()
	created, _ := r.Field("creation_event_id").Int()
	settled := state == 1 || state == 2 && p.carry.deleted.Has(id)
	return !settled || created != was || was > p.base.Manifest.Event
}
