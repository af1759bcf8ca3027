package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// findLost finds what the base lacks, or has changed, because the hub could not give it.
func (c *incremental) findLost() {
	for _, l := range c.base.Manifest.LeftOut {
		if l.Stripped() {
			continue
		}
		for _, id := range l.Builds {
			c.again.Add(id)
			if l.Relation == "build" && l.Missing() {
				c.lost.Add(id)
			}
		}
		if l.Tag != 0 {
			c.askWhole(l.Relation, l.Tag)
		}
		for _, h := range l.Hanging {
			for _, id := range h.IDs {
				if h.Relation == "build" {
					c.again.Add(id)
					c.lost.Add(id)
				} else if relation.Get(h.Relation).Versioned {
					c.askWhole(h.Relation, id)
				}
			}
		}
	}
}

func (c *incremental) askWhole(relationName string, tag int64) {
	if c.whole[relationName] == nil {
		c.whole[relationName] = map[int64]bool{}
	}
	c.whole[relationName][tag] = true
}

// findAgain adds builds to c.again: those of archives and rpms whose rows in the base are incomplete because
// the hub could not give them, and those of archives with components from draft builds.
func (c *incremental) findAgain(ctx context.Context) error {
	var archives, rpms, drafts idset.Set
	for _, l := range c.base.Manifest.LeftOut {
		switch {
		case l.Stripped():
		case l.Column == "archive_id" || l.Relation == "archiveinfo" && l.Column == "id":
			archives.Add(l.ID)
		case l.Column == "rpm_id" || l.Relation == "rpminfo" && l.Column == "id":
			rpms.Add(l.ID)
		case l.Relation == "rpmsigs" && len(l.Key) > 0:
			id, err := idset.Parse([]byte(l.Key[0]))
			if err != nil {
				return err
			}
			rpms.Add(id)
		}
		for _, h := range l.Hanging {
			for _, id := range h.IDs {
				if strings.HasPrefix(h.Relation, "archive") {
					archives.Add(id)
				}
			}
		}
	}
	rel := relation.Get("rpminfo")
	build, draft := rel.Index("build_id"), rel.Index("draft")
	err := snapshot.EachRow(ctx, c.base, rel, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil || row[build] == nil {
			return err
		}
		of, err := idset.Parse(row[build])
		if rpms.Has(id) {
			c.again.Add(of)
		}
		if string(row[draft]) == "t" && !c.tagged.Has(of) {
			drafts.Add(id)
		}
		return err
	})
	if err != nil {
		return err
	}
	if drafts.Len() > 0 {
		err := snapshot.EachRow(ctx, c.base, relation.Get("archive_rpm_components"), func(row [][]byte) error {
			archive, err := idset.Parse(row[0])
			rpm, err2 := idset.Parse(row[1])
			if drafts.Has(rpm) {
				archives.Add(archive)
			}
			return errors.Join(err, err2)
		})
		if err != nil {
			return err
		}
	}
	if archives.Len() > 0 {
		rel := relation.Get("archiveinfo")
		build := rel.Index("build_id")
		err := snapshot.EachRow(ctx, c.base, rel, func(row [][]byte) error {
			archive, err := idset.Parse(row[0])
			id, err2 := idset.Parse(row[build])
			if archives.Has(archive) {
				c.again.Add(id)
			}
			return errors.Join(err, err2)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// recheckTagging asks for the taggings of builds that need it. It returns the builds that are still tagged or
// are asked for by name. The others leave the scope.
func (b buildReader) recheckTagging(ctx context.Context, ids []int64) ([]int64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	still, err := b.askTagging(ctx, "recheck", ids, func(t task, id int64, err error) error {
		t.skip(snapfile.LeftOut{Relation: "tag_listing", Row: fmt.Sprint("build ", id), Reason: err.Error(), Kept: snapfile.KeptLast, Builds: []int64{id}})
		return nil
	})
	if err != nil {
		return nil, err
	}
	var tagged []int64
	for i, id := range ids {
		if still[i] != taggingUnknown {
			b.inc.recheck.Add(id)
		}
		if still[i] != taggingGone || b.Named.Has(id) || b.complete.has(id) {
			tagged = append(tagged, id)
			continue
		}
		b.inc.tagged.Remove(id)
		b.inc.ask.Remove(id)
	}
	return tagged, nil
}

// recheckLost asks for the taggings of builds that the base lacks because the hub could not give them: the
// taggings since the base are not enough.
func (b buildReader) recheckLost(ctx context.Context) error {
	ids := b.inc.lost.List()
	_, err := b.askTagging(ctx, "lost", ids, func(t task, id int64, err error) error {
		for _, l := range b.inc.base.Manifest.LeftOut {
			if l.Relation == "build" && l.Missing() && l.ID == id {
				l.Reason = err.Error() // as far as is known, what refers to it has not changed
				t.skip(l)
				return nil
			}
		}
		t.skipBuild("build", id, err)
		return nil
	})
	return err
}

// tagging says whether a build is tagged in the scope at E.
type tagging uint8

const (
	taggingGone tagging = iota
	taggingThere
	taggingUnknown // the hub reads the build first, and fails
)

// askTagging asks for the taggings of builds and adds them. It calls onBad for builds where the hub fails.
func (b buildReader) askTagging(ctx context.Context, stageName string, ids []int64, onBad func(t task, id int64, err error) error) (still []tagging, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	err = b.inStage(ctx, stageName, func(t task) (err error) {
		still, err = checkpoint.Once(ctx, t.stage, checkpoint.Digest(slices.Values(ids)), func(batch *checkpoint.Batch) ([]tagging, error) {
			t := t.in(batch)
			still := make([]tagging, len(ids))
			calls := make([]hub.Call, len(ids))
			for i, id := range ids {
				calls[i] = hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_listing"}, "build": id}}
			}
			return still, t.pager.Each(ctx, calls, func(i int, r hub.Row) error {
				for _, listing := range r.Get("tag_listing").Items() {
					if tag, _ := listing.Field("tag_id").Int(); !b.InScope[tag] {
						continue
					}
					in, err := t.putVersioned("tag_listing", listing)
					if err != nil {
						return err
					}
					if in {
						still[i] = taggingThere
					}
				}
				return nil
			}, func(i int, err error) error {
				still[i] = taggingUnknown
				return onBad(t, ids[i], err)
			})
		})
		return err
	})
	return still, err
}

// A reset of a build (Koji's resetBuild) deletes its taggings without an event, and a build is deleted when
// no tag has it any longer. So the last snapshot would have the last that is known of it. Therefore a pull
// asks once more for a build that leaves. If it is no longer complete, its row goes to the revoked rows of
// the relation build.

// leftBuilds returns the builds that the last snapshot has as complete, in tags of the scope, and that this
// pull does not have. If other tags were asked for until now, the snapshots of those are looked at.
func (b buildReader) leftBuilds(ctx context.Context, now *idset.Set) (*idset.Set, error) {
	last, err := b.lastSnapshot(ctx)
	if err = cmp.Or(err, b.before.err); err != nil || b.store == nil {
		return nil, err
	}
	return b.baseChoice(b.log, b.Found, true).LeftBuilds(ctx, last, func(tag int64) bool { return b.InScope[tag] }, now)
}

// readLeft asks for the builds that left.
func (b buildReader) readLeft(ctx context.Context, ids *idset.Set) error {
	if ids == nil || ids.Len() == 0 {
		return nil
	}
	return b.inStage(ctx, "left-builds", func(t task) error { return b.askLeft(ctx, t, t.stage.Rest(ids)) })
}

func (b buildReader) askLeft(ctx context.Context, t task, ids *idset.Set) error {
	bar := b.opt.Progress.Begin("builds that left", int64(ids.Len()))
	defer bar.End()
	return b.pager.Batches(ctx, t.stage, ids, bar, func(ctx context.Context, batch *checkpoint.Batch, ids []int64) error {
		t := t.in(batch)
		calls := make([]hub.Call, len(ids))
		for i, id := range ids {
			calls[i] = hub.Call{Method: "getBuild", Args: []any{id}}
		}
		return t.pager.Each(ctx, calls, func(i int, r hub.Row) error {
			state, _ := r.Get("state").Int()
			if r.IsNil() || state == 1 { // a build without a row does not exist; an untagged one is not reset
				return nil
			}
			return t.putBuild(ids[i], r.Value, true)
		}, func(i int, err error) error {
			b.log.WarnContext(ctx, "what became of a build that left the scope is not known", "build", ids[i], "err", err)
			return nil
		})
	})
}
