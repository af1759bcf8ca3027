package dbsource

import (
	"fmt"
	"slices"
	"strconv"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// maxRow is how many bytes the text of a row may have, as in package convert.
const maxRow = 16 << 20

// maxKey is how long a text may be that identifies a row that is skipped.
const maxKey = 4096

// put adds a row to the view at E or to the revoked rows. A row that is wrong in itself is skipped.
func (r *run) put(name string, row [][]byte) error {
	rel := relation.Get(name)
	inView, revoked := true, int64(0)
	if rel.Versioned {
		var err error
		if _, revoked, err = eventsOf(row[rel.Index("create_event")], row[rel.Index("revoke_event")]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if inView = revoked == 0 || revoked > r.event; inView {
			if r.ofDeleted(rel, row) {
				return nil
			}
			row[rel.Index("revoke_event")], row[rel.Index("revoker_id")], row[rel.Index("active")] = nil, nil, yes
		}
	}
	if name == "rpminfo" && row[rel.Index("build_id")] == nil {
		row[rel.Index("draft")] = nil // an external rpm is of no build; Koji 1.34's migration made it so
	}
	lacks, fault := judge(rel, row)
	switch {
	case fault != nil && !inView:
		r.hole(rel, row, revoked) // what was revoked is not in the view, whatever it was
		return nil
	case fault != nil:
		return r.skipRow(rel, row, fault)
	}
	for _, x := range snapshot.Without(rel, row, lacks) {
		r.builder.Skip(x)
	}
	add := r.builder.Add
	if !inView {
		add = r.builder.AddRevoked
	}
	_, err := add(name, row)
	return err
}

// ofDeleted reports whether a row is of a tag of everything that does not exist at E.
func (r *run) ofDeleted(rel *relation.Relation, row [][]byte) bool {
	at := rel.Index("tag_id")
	if at < 0 {
		return false
	}
	id, err := idset.Parse(row[at])
	return err == nil && r.scope.deleted.Has(id)
}

var yes = []byte("t")

// judge says what makes a row useless, or which columns it has to go without: by the same rules as for what hubs
// send (package convert).
func judge(rel *relation.Relation, row [][]byte) (lacks []snapshot.Lack, fault error) {
	size := 0
	for i, c := range rel.Columns {
		if size += len(row[i]); row[i] == nil && !c.Null {
			return nil, fmt.Errorf("%s.%s: NULL where Koji's schema has none", rel.Name, c.Name)
		}
	}
	if size > maxRow {
		return nil, fmt.Errorf("%d bytes in one row, more than kojisnap takes (%d)", size, maxRow)
	}
	wrong := func(i int, why error) {
		if c := rel.Columns[i].Name; snapshot.Spare(rel, c) {
			row[i] = nil
			lacks = append(lacks, snapshot.Lack{Column: c, Why: why})
		} else if fault == nil {
			fault = fmt.Errorf("%s.%s: %w", rel.Name, c, why)
		}
	}
	for {
		i, found := invalid(rel, row)
		if !found {
			break
		}
		wrong(i, fmt.Errorf("%.200q is not UTF-8", row[i]))
		if fault != nil {
			return nil, fault
		}
	}
	if i, climbs := rel.Climbing(row); climbs {
		wrong(i, fmt.Errorf("%.200q %s", row[i], relation.ClimbsReason))
	}
	return lacks, fault
}

// skipRow notes that a row is skipped. A tag without its config is no tag, and so the pull ends there.
func (r *run) skipRow(rel *relation.Relation, row [][]byte, why error) error {
	for _, i := range rel.KeyIndexes() {
		if len(row[i]) > maxKey { // what is skipped is remembered by its key
			return fmt.Errorf("%w, in a row of %s whose %s has %d bytes: mend it in production", why, rel.Name, rel.Columns[i].Name, len(row[i]))
		}
	}
	x := snapshot.DescribeSkipped(rel, row, why)
	if rel.Name == "tag_config" {
		return fmt.Errorf("%w, in the row %s: a tag is nothing without its config: mend it in production", why, x.Row)
	}
	if rel.Name == "build" {
		x = snapfile.LeftOut{Relation: "build", Row: fmt.Sprint("build ", x.ID), Reason: x.Reason, Column: "id", ID: x.ID, Builds: []int64{x.ID}}
	}
	r.builder.Skip(x)
	return nil
}

// hole notes that a row that was revoked cannot be kept: the history of its tags is whole only after.
func (r *run) hole(rel *relation.Relation, row [][]byte, revoked int64) {
	for i, c := range rel.Columns {
		if c.Ref != "tag" || !slices.Contains([]string{"tag_id", "build_tag", "dest_tag"}, c.Name) {
			continue
		}
		if tag, err := strconv.ParseInt(string(row[i]), 10, 64); err == nil {
			r.mu.Lock()
			r.holes[tag] = max(r.holes[tag], revoked)
			r.mu.Unlock()
		}
	}
}
