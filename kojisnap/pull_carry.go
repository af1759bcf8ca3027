package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
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
	touched idSet           // builds with tagging that changed
	tagged  idSet           // builds tagged in the scope, now or revoked since the base
	ask     idSet           // of those, the ones asked for
	created map[int64]int64 // create_event at the base of those asked for
	recheck idSet           // builds whose tagging was asked for by build

	known     idSet // builds of the base
	unsettled idSet // of those, drafts and those that are not complete
	rpms      idSet // carried over, of tagged builds
	archives  idSet // carried over, of tagged builds
}

// touch notes that a build's tagging changed, or the build.
func (c *carry) touch(build int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.touched.add(build)
}

// revoke notes that a row is not in the view any more.
func (c *carry) revoke(rel *relation.Relation, row [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revoked[rowKey(rel, row)] = true
}

// rowKey identifies a row among those of all relations.
func rowKey(rel *relation.Relation, row [][]byte) string {
	key := []byte(rel.Name)
	for _, i := range rel.KeyIndexes() {
		key = append(append(key, 0), row[i]...)
	}
	return string(key)
}

// findBase finds the snapshot to go on from, if there is one, and what can be carried over from it.
func (p *puller) findBase(ctx context.Context, s store.Store) error {
	if err := p.chooseBase(ctx, s); err != nil || p.base == nil {
		return err
	}
	return p.carryFrom(ctx)
}

// carryFrom settles what can be carried over from the base.
func (p *puller) carryFrom(ctx context.Context) error {
	m := p.base.Manifest
	if p.opt.Sweep == 1 || m.KojiVersion != p.version.String() {
		return nil
	}
	c := &carry{base: p.base, tags: map[int64]bool{}, revoked: map[string]bool{}, created: map[int64]int64{}}
	before := m.EventTime.Add(-max(p.opt.Overlap, 0))
	v, err := p.hub.Call(ctx, hub.Call{Method: "getLastEvent", Kwargs: map[string]any{"before": float64(before.UnixMicro()) / 1e6}})
	var fault *hub.Fault
	switch {
	case errors.As(err, &fault) && fault.Code == hub.FaultGeneric:
	case err != nil:
		return fmt.Errorf("last event before %s: %w", before.UTC().Format(time.RFC3339), err)
	default:
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
	p.carry = c
	p.log.InfoContext(ctx, "going on from a snapshot", "base", p.base.ID, "after", c.after)
	return nil
}

// swept reports whether a build is in the part that this pull sweeps.
func (p *puller) swept(id int64) bool { return id%int64(p.opt.Sweep) == p.carry.slice }

// chooseBuilds settles, after the history, which builds are tagged and which of them are asked for.
func (p *puller) chooseBuilds(ctx context.Context) error {
	c := p.carry
	c.tagged = p.tables["build"].wantedSet()
	rel := relation.Get("tag_listing")
	keep := p.keeps(rel)
	build := rel.Index("build_id")
	err := eachRow(ctx, c.base, rel, func(row [][]byte) error {
		kept, err := keep(row)
		if kept {
			var id int64
			id, err = idOf(row[build])
			c.tagged.add(id)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := p.inStage(ctx, "completed", func(p *puller) error { return p.askCompleted(ctx) }); err != nil {
		return err
	}
	again, err := p.leftOutBuilds(ctx)
	if err != nil {
		return err
	}
	rel = relation.Get("build")
	state, draft, created := rel.Index("state"), rel.Index("draft"), rel.Index("create_event")
	err = eachRow(ctx, c.base, rel, func(row [][]byte) error {
		id, err := idOf(row[0])
		if err != nil {
			return err
		}
		c.known.add(id)
		if string(row[state]) != "1" || string(row[draft]) == "t" {
			c.unsettled.add(id)
		}
		if c.tagged.has(id) && (c.touched.has(id) || c.unsettled.has(id) || again.has(id) || p.swept(id)) {
			c.ask.add(id)
			c.created[id], err = idOf(row[created])
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range c.tagged.without(&c.known) {
		c.ask.add(id)
	}
	p.log.InfoContext(ctx, "builds", "tagged", c.tagged.len(), "asked", c.ask.len())
	return nil
}

// askCompleted asks which builds were completed lately. On a hub where those are many compared to
// the scope's it leaves them to the sweep. Promoted drafts need no such question, which no release
// up to 1.35.3 would answer: what was a draft at the base is asked for anyway.
func (p *puller) askCompleted(ctx context.Context) error {
	since := float64(p.base.Manifest.EventTime.Add(-max(p.opt.Overlap, 0)).UnixMicro()) / 1e6
	call := hub.Call{Method: "listBuilds", Kwargs: map[string]any{"completeAfter": since}, Again: countedOnce}
	n, err := p.count(ctx, call)
	if err != nil {
		return fmt.Errorf("builds completed since the base: %w", err)
	}
	if n > int64(max(100, p.carry.tagged.len()/50)) {
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
	if err != nil {
		return fmt.Errorf("builds completed since the base: %w", err)
	}
	return nil
}

// leftOutBuilds returns the builds of which the base lacks rows that the hub could not give,
// or has components whose builds were drafts.
func (p *puller) leftOutBuilds(ctx context.Context) (*idSet, error) {
	c := p.carry
	var builds, archives, drafts idSet
	for _, l := range c.base.Manifest.LeftOut {
		kind, text, _ := strings.Cut(l.Row, " ")
		if id, err := strconv.ParseInt(text, 10, 64); err == nil && kind == "build" {
			builds.add(id)
		} else if err == nil && kind == "archive" {
			archives.add(id)
		}
	}
	rel := relation.Get("rpminfo")
	build, draft := rel.Index("build_id"), rel.Index("draft")
	err := eachRow(ctx, c.base, rel, func(row [][]byte) error {
		if string(row[draft]) != "t" {
			return nil
		}
		id, err := idOf(row[build])
		if err == nil && !c.tagged.has(id) {
			id, err = idOf(row[0])
			drafts.add(id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if drafts.len() > 0 {
		err := eachRow(ctx, c.base, relation.Get("archive_rpm_components"), func(row [][]byte) error {
			archive, err := idOf(row[0])
			rpm, err2 := idOf(row[1])
			if drafts.has(rpm) {
				archives.add(archive)
			}
			return errors.Join(err, err2)
		})
		if err != nil {
			return nil, err
		}
	}
	if archives.len() > 0 {
		rel := relation.Get("archiveinfo")
		build := rel.Index("build_id")
		err := eachRow(ctx, c.base, rel, func(row [][]byte) error {
			archive, err := idOf(row[0])
			id, err2 := idOf(row[build])
			if archives.has(archive) {
				builds.add(id)
			}
			return errors.Join(err, err2)
		})
		if err != nil {
			return nil, err
		}
	}
	return &builds, nil
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
	return state != 1 || created != was || was > p.base.Manifest.Event
}

// recheckTagging asks for the taggings of suspect builds and returns those that are still
// tagged. The others leave the scope.
func (p *puller) recheckTagging(ctx context.Context, ids []int64) ([]int64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	calls := make([]hub.Call, len(ids))
	for i, id := range ids {
		p.carry.recheck.add(id)
		calls[i] = hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_listing"}, "build": id}}
	}
	var still []bool
	err := p.inStage(ctx, "recheck", func(p *puller) (err error) {
		still, err = once(ctx, p, digest(ids), func(p *puller) ([]bool, error) {
			still := make([]bool, len(ids))
			return still, p.each(ctx, calls, func(i int, r hub.Row) error {
				for _, listing := range r.Get("tag_listing").Items() {
					if tag, _ := listing.Field("tag_id").Int(); !p.inScope[tag] {
						continue
					}
					in, err := p.putVersioned("tag_listing", listing)
					if err != nil {
						return err
					}
					still[i] = still[i] || in
				}
				return nil
			}, mustNot("tagging of build", ids, 1))
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	var tagged []int64
	for i, id := range ids {
		if still[i] {
			tagged = append(tagged, id)
			continue
		}
		p.carry.tagged.remove(id)
		p.carry.ask.remove(id)
	}
	return tagged, nil
}

// fold finds, children first, what the rows that are carried over refer to.
func (p *puller) fold(ctx context.Context, names ...string) error {
	c := p.carry
	for _, name := range names {
		rel := relation.Get(name)
		keep := p.keeps(rel)
		build := rel.Index("build_id")
		err := eachRow(ctx, c.base, rel, func(row [][]byte) error {
			kept, err := keep(row)
			if err != nil || !kept {
				return err
			}
			if name == "rpminfo" && row[build] != nil {
				rpm, err := idOf(row[0])
				of, err2 := idOf(row[build])
				if err = errors.Join(err, err2); err != nil {
					return err
				}
				if c.carriesBuild(of) {
					c.rpms.add(rpm)
				}
			}
			if rel.Key[0] == "id" {
				id, err := idOf(row[0])
				if err != nil || p.tables[name].has(id) {
					return err // the hub's row takes its place: an owner who was is none
				}
			}
			return p.refer(rel, row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// carryArchives finds which archives of tagged builds are carried over.
func (p *puller) carryArchives(ctx context.Context) error {
	rel := relation.Get("archiveinfo")
	build := rel.Index("build_id")
	return eachRow(ctx, p.carry.base, rel, func(row [][]byte) error {
		id, err := idOf(row[0])
		of, err2 := idOf(row[build])
		if p.carry.carriesBuild(of) {
			p.carry.archives.add(id)
		}
		return errors.Join(err, err2)
	})
}

// carriesBuild reports whether a tagged build is carried over with all that belongs to it.
func (c *carry) carriesBuild(id int64) bool { return c.tagged.has(id) && !c.ask.has(id) }

// keeps returns what says which of the base's rows of a relation are carried over, unless rows
// of the same key came from the hub.
func (p *puller) keeps(rel *relation.Relation) func(row [][]byte) (bool, error) {
	c := p.carry
	if c == nil {
		return func([][]byte) (bool, error) { return false, nil }
	}
	t := p.tables[rel.Name]
	// by tells by the id in one column.
	by := func(column string, tell func(id int64) bool) func([][]byte) (bool, error) {
		at := rel.Index(column)
		return func(row [][]byte) (bool, error) {
			id, err := idOf(row[at])
			return err == nil && tell(id), err
		}
	}
	build, archive := p.tables["build"], p.tables["archiveinfo"]
	switch rel.Name {
	case "events", "package", "tag", "build_target", "external_repo", "groups", "content_generator", "build":
		return by("id", t.wants)
	case "build_types", "maven_builds", "win_builds", "image_builds":
		return by("build_id", func(id int64) bool { return build.wants(id) && !build.has(id) })
	case "rpminfo", "archiveinfo":
		ofBuild := by("build_id", c.carriesBuild)
		wanted := by("id", t.wants)
		at := rel.Index("build_id")
		return func(row [][]byte) (bool, error) {
			if row[at] != nil {
				if kept, err := ofBuild(row); kept || err != nil {
					return kept, err
				}
			}
			return wanted(row)
		}
	case "rpmsigs":
		return by("rpm_id", c.rpms.has)
	case "maven_archives", "win_archives", "image_archives":
		return by("archive_id", func(id int64) bool { return !archive.has(id) && (c.archives.has(id) || archive.wants(id)) })
	case "archive_rpm_components", "archive_components":
		return by("archive_id", c.archives.has)
	}
	if tag := rel.Index("tag_id"); rel.Versioned && tag >= 0 {
		created, build := rel.Index("create_event"), rel.Index("build_id")
		return func(row [][]byte) (bool, error) {
			id, err := idOf(row[tag])
			event, err2 := idOf(row[created])
			kept := p.inScope[id] && c.tags[id] && event <= c.after && !c.revoked[rowKey(rel, row)]
			if kept && build >= 0 {
				of, err := idOf(row[build])
				if err != nil || c.recheck.has(of) {
					return false, err
				}
			}
			return kept, errors.Join(err, err2)
		}
	}
	return func([][]byte) (bool, error) { return false, nil } // asked for whole
}

// eachRow gives the rows of a relation of a snapshot; a row is valid during the call.
func eachRow(ctx context.Context, s *snapfile.Snapshot, rel *relation.Relation, fn func(row [][]byte) error) error {
	rows := s.Rows(ctx, rel.Name)
	defer rows.Close()
	var row [][]byte
	for rows.Next() {
		var err error
		if row, err = rows.Fields(row); err != nil {
			return fmt.Errorf("snapshot %s, %s: %w", s.ID, rel.Name, err)
		}
		if err := fn(row); err != nil {
			return fmt.Errorf("snapshot %s, %s: %w", s.ID, rel.Name, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("snapshot %s, %s: %w", s.ID, rel.Name, err)
	}
	return nil
}

func idOf(field []byte) (int64, error) {
	id, err := strconv.ParseInt(string(field), 10, 64)
	if err == nil {
		err = checkID(id)
	}
	return id, err
}

// checkID refuses what no id of Koji's is: they have 32 bits.
func checkID(id int64) error {
	if id != int64(int32(id)) {
		return fmt.Errorf("%d does not fit an integer", id)
	}
	return nil
}
