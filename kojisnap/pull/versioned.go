package pull

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/relation"
)

// putVersioned adds a row of queryHistory to the view at E, to the revoked rows, or to neither, with the
// events and names that it has. It reports whether it added the row.
func (t task) putVersioned(name string, r hub.Value) (bool, error) {
	created, ok := r.Field("create_event").Int()
	if !ok {
		return false, fmt.Errorf("%s: a row without create_event: %s", name, pager.DescribeRow(r))
	}
	if t.inc != nil && name == "tag_listing" {
		build, _ := r.Field("build_id").Int()
		t.touch(build)
	}
	revoked, isRevoked := r.Field("revoke_event").Int()
	if created > t.Event || isRevoked && revoked == created {
		return false, nil
	}
	inView := !isRevoked || revoked > t.Event
	since := isRevoked && revoked > t.since
	if tag, ok := r.Field("tag_id").Int(); ok && inView && t.Deleted.Has(tag) {
		return false, nil
	}
	if !inView && !since && t.inc == nil {
		return false, nil
	}
	rel := relation.Get(name)
	row, fault, err := t.row(name, r, nil)
	if err != nil {
		return false, err
	}
	if name == "tag_external_repos" && fault == nil && r.Field("arches").Kind() == hub.Missing {
		if row[rel.Index("arches")] = t.archesOf(r, inView); inView && bytes.Equal(row[rel.Index("arches")], badArches) {
			fault = errors.New("arches: the hub cannot send them")
		}
	}
	if !inView && t.inc != nil {
		t.gone(rel, row)
	}
	switch {
	case fault != nil && inView:
		return false, t.skipRow(rel, row, fault)
	case fault != nil && since:
		t.hole(r, revoked) // whatever it was, a revoked row is not in the view
		return false, nil
	case fault != nil, !inView && !since:
		return false, nil
	}
	return true, t.addVersioned(rel, row, r, inView)
}

// addVersioned adds a row of queryHistory.
func (t task) addVersioned(rel *relation.Relation, row [][]byte, r hub.Value, inView bool) error {
	if inView {
		row[rel.Index("revoke_event")] = nil
		row[rel.Index("revoker_id")] = nil
		row[rel.Index("active")] = []byte("t")
	}
	for _, event := range []string{"create", "revoke"} {
		if inView && event == "revoke" {
			continue
		}
		id, _ := r.Field(event + "_event").Int()
		if ts, ok := r.Field(event + "_ts").Float(); ok {
			if err := t.addEvent(id, ts); err != nil {
				return err
			}
		}
	}
	if err := t.namesOf(rel, r); err != nil {
		return err
	}
	if inView {
		return t.add(rel.Name, row)
	}
	return t.addRevoked(rel.Name, row)
}

// historyNames has, by column, the member of a history row with the name of what the column refers to.
var historyNames = map[string]string{
	"tag_id": "tag.name", "parent_id": "parent.name", "build_target_id": "build_target.name",
	"build_tag": "build_tag.name", "dest_tag": "dest_tag.name", "external_repo_id": "external_repo.name",
	"group_id": "group.name", "req_id": "req.name", "package_id": "package.name",
}

// namesOf adds the named objects that a history row refers to, so that deleted ones are there, too, which no
// list has.
func (t task) namesOf(rel *relation.Relation, r hub.Value) error {
	for _, c := range rel.Columns {
		target := relation.Get(c.Ref)
		if target == nil || len(target.Columns) != 2 || target.Columns[1].Name != "name" {
			continue
		}
		if id, ok := r.Field(c.Name).Int(); ok {
			if err := t.addNamed(c.Ref, id, r.Field(historyNames[c.Name])); err != nil {
				return err
			}
		}
	}
	return nil
}

// holes has the tags with revoked rows that the hub cannot send, and the last event of these: the history of
// such a tag is complete only after it. Its methods may be called concurrently.
type holes struct {
	mu sync.Mutex
	by map[int64]int64
}

func (h *holes) add(tag, event int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = map[int64]int64{}
	}
	h.by[tag] = max(h.by[tag], event)
}

func (h *holes) last(tag int64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by[tag]
}

// hole notes that the hub cannot send a revoked row.
func (t task) hole(r hub.Value, revoked int64) {
	for _, column := range []string{"tag_id", "build_tag", "dest_tag"} {
		tag, ok := r.Field(column).Int()
		if !ok || !t.InScope[tag] {
			continue
		}
		t.holes.add(tag, revoked)
		t.batch.Note(func(n *checkpoint.Notes) {
			if n.Holes == nil {
				n.Holes = map[int64]int64{}
			}
			n.Holes[tag] = max(n.Holes[tag], revoked)
		})
	}
}

// archesOf returns the arches of a tag's external repo, if the history does not show them.
func (t task) archesOf(r hub.Value, inView bool) []byte {
	key := repoArchesKey(r)
	if !inView {
		key += " at " + string(r.Field("create_event").Text())
	}
	return t.repoArches[key]
}
