package snapshot

import (
	"context"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// A snapshot can be restored alone: each row that a row refers to is there. So rows that refer to a skipped
// row are skipped, too, and so on.

// cut says which rows, added or kept from the base, are skipped because of what they refer to.
type cut struct {
	ids        map[string]*idset.Set             // of rows that are not there, by relation
	roots      map[string]map[int64]string       // the note of each: its Identity
	dependents map[string]map[string]*dependents // by Identity of the note, and by relation
}

// dependents are the rows of one relation that are skipped because of one note.
type dependents struct {
	rows int64
	ids  idset.Set
}

// CloseReferences skips rows until no row refers to a missing one: it skips a row that is referred to and
// missing for an unknown reason, and all rows that refer to a skipped one. Call it when all rows are there.
// It returns ErrTooMuch if it skips too many.
func (b *Builder) CloseReferences(ctx context.Context) error {
	if err := b.noteKept(ctx); err != nil {
		return err
	}
	if err := b.keepStripped(ctx); err != nil {
		return err
	}
	if err := b.noteMissing(); err != nil {
		return err
	}
	c := &cut{ids: map[string]*idset.Set{}, roots: map[string]map[int64]string{}, dependents: map[string]map[string]*dependents{}}
	b.skipped.each(func(x *snapfile.LeftOut) {
		if x.Missing() && x.Column == "id" {
			c.out(x.Relation, x.ID, Identity(x))
		}
	})
	if len(c.ids) > 0 {
		for _, rel := range b.relations {
			if err := b.cutRelation(ctx, c, rel); err != nil {
				return err
			}
		}
		b.skipped.each(func(x *snapfile.LeftOut) {
			if dependents := c.skippedWith(Identity(x)); len(dependents) > 0 || !x.Missing() {
				x.Hanging = dependents
			}
		})
		b.cut = c
	}
	return b.checkShare()
}

// noteKept notes the ids of rows that are kept from the base.
func (b *Builder) noteKept(ctx context.Context) error {
	for _, rel := range b.relations {
		if rel.Key[0] != "id" {
			continue
		}
		t := b.tables[rel.Name]
		err := b.eachKept(ctx, rel, func(row [][]byte) error {
			id, err := idset.Parse(row[0])
			t.kept.Add(id)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// noteMissing notes rows that are referred to and missing for an unknown reason. Where that is allowed, it
// makes up a name.
func (b *Builder) noteMissing() error {
	known := map[string]*idset.Set{}
	b.skipped.each(func(x *snapfile.LeftOut) {
		if x.Column == "id" {
			if known[x.Relation] == nil {
				known[x.Relation] = new(idset.Set)
			}
			known[x.Relation].Add(x.ID)
		}
	})
	for _, rel := range b.relations {
		if rel.Key[0] != "id" {
			continue
		}
		for _, id := range b.Wanted(rel.Name) {
			if known[rel.Name] != nil && known[rel.Name].Has(id) {
				continue
			}
			x := snapfile.LeftOut{Relation: rel.Name, Row: RowName(rel.Name, "id", id), Reason: b.unseen, Column: "id", ID: id}
			if rel.Name == "build" {
				x.Builds = []int64{id}
			}
			if MakesUpName(rel) {
				x.Kept = snapfile.KeptName
				if _, err := b.Add(rel.Name, madeUpRow(rel, id)); err != nil {
					return err
				}
			}
			b.Skip(x)
		}
	}
	return nil
}

// madeUpRow returns a row for a name that the source does not show at all. A made-up user is blocked.
func madeUpRow(rel *relation.Relation, id int64) [][]byte {
	row := make([][]byte, len(rel.Columns))
	for i, c := range rel.Columns {
		switch {
		case c.Name == "id":
			row[i] = idset.Text(id)
		case c.Name == "name":
			row[i] = madeUp(rel.Name, idset.Text(id))
		case c.Name == "status":
			row[i] = []byte("1")
		case c.Null:
		case c.Type == relation.Text:
			row[i] = []byte{}
		default:
			row[i] = []byte("0")
		}
	}
	return row
}

// out notes that a row is missing, and the note that says so.
func (c *cut) out(relationName string, id int64, noted string) {
	if c.ids[relationName] == nil {
		c.ids[relationName] = new(idset.Set)
		c.roots[relationName] = map[int64]string{}
	}
	c.ids[relationName].Add(id)
	c.roots[relationName][id] = noted
}

// drops reports whether a row is skipped, and because of which note.
func (c *cut) drops(rel *relation.Relation, row [][]byte) (noted string, dropped bool) {
	if c == nil {
		return "", false
	}
	gone := func(relationName string, field []byte) bool {
		ids := c.ids[relationName]
		if ids == nil || field == nil {
			return false
		}
		id, err := idset.Parse(field)
		if err != nil || !ids.Has(id) {
			return false
		}
		noted = c.roots[relationName][id]
		return true
	}
	if rel.Key[0] == "id" && gone(rel.Name, row[0]) {
		return noted, true
	}
	for i := range rel.Columns {
		if ref := rel.Columns[i].Ref; ref != "" && gone(ref, row[i]) {
			return noted, true
		}
	}
	return "", false
}

// cutRelation finds the rows of a relation to skip. It is called after the relations that they refer to.
func (b *Builder) cutRelation(ctx context.Context, c *cut, rel *relation.Relation) error {
	touched := c.ids[rel.Name] != nil
	for _, column := range rel.Columns {
		touched = touched || c.ids[column.Ref] != nil
	}
	if !touched {
		return nil
	}
	t := b.tables[rel.Name]
	counted := map[string]bool{}
	look := func(row [][]byte) error {
		noted, dropped := c.drops(rel, row)
		key := RowKey(rel, row)
		if !dropped || counted[key] {
			return nil
		}
		counted[key] = true
		return c.count(rel, row, noted)
	}
	if err := t.view.Each(look); err != nil {
		return err
	}
	return b.eachKept(ctx, rel, look)
}

// count counts a row that is skipped because of another.
func (c *cut) count(rel *relation.Relation, row [][]byte, noted string) error {
	if rel.Key[0] == "id" {
		id, err := idset.Parse(row[0])
		if err != nil {
			return err
		}
		if ids := c.ids[rel.Name]; ids != nil && ids.Has(id) {
			return nil // the row that the note is about
		}
		c.out(rel.Name, id, noted)
	}
	if c.dependents[noted] == nil {
		c.dependents[noted] = map[string]*dependents{}
	}
	d := c.dependents[noted][rel.Name]
	if d == nil {
		d = &dependents{}
		c.dependents[noted][rel.Name] = d
	}
	d.rows++
	whose := ""
	switch {
	case rel.Name == "build", rel.Name == "archiveinfo":
		whose = "id"
	case rel.Name == "archive_rpm_components", rel.Name == "archive_components":
		whose = "archive_id"
	case rel.Versioned && rel.Name != "tag_listing" && rel.Index("tag_id") >= 0:
		whose = "tag_id"
	default:
		return nil
	}
	id, err := idset.Parse(row[rel.Index(whose)])
	d.ids.Add(id)
	return err
}

// skippedWith returns the rows that are skipped because they refer to what a note names.
func (c *cut) skippedWith(noted string) []snapfile.Hanging {
	var all []snapfile.Hanging
	for _, rel := range relation.All() {
		if d := c.dependents[noted][rel.Name]; d != nil {
			all = append(all, snapfile.Hanging{Relation: rel.Name, Rows: d.rows, IDs: d.ids.List()})
		}
	}
	return all
}
