package pull

import (
	"context"
	"errors"
	"slices"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// A snapshot restores alone: there is a row for everything that a row refers to. So what refers to
// something that is left out is left out as well, and what refers to that.

// cut says which rows are left out, of those that were had or are carried over.
type cut struct {
	ids   map[string]*idSet           // of rows that are not there, by relation
	roots map[string]map[int64]string // for what: the identity of a note
	hangs map[string]map[string]*hang // by note and relation
}

type hang struct {
	rows int64
	ids  idSet
}

// closeUp makes the rows closed over their references. It is called when all rows are there.
func (p *puller) closeUp(ctx context.Context) error {
	if err := p.noteKept(ctx); err != nil {
		return err
	}
	if err := p.carryStripped(ctx); err != nil {
		return err
	}
	if err := p.noteMissing(); err != nil {
		return err
	}
	c := &cut{ids: map[string]*idSet{}, roots: map[string]map[int64]string{}, hangs: map[string]map[string]*hang{}}
	p.leftOut.each(func(x *snapfile.LeftOut) {
		if x.Missing() && x.Column == "id" {
			c.out(x.Relation, x.ID, identity(x))
		}
	})
	if len(c.ids) > 0 {
		for _, rel := range relation.All() {
			if err := p.cutRelation(ctx, c, rel); err != nil {
				return err
			}
		}
		p.leftOut.each(func(x *snapfile.LeftOut) {
			if hanging := c.hanging(identity(x)); len(hanging) > 0 || !x.Missing() {
				x.Hanging = hanging
			}
		})
		p.cut = c
	}
	return p.tooMuch()
}

// noteKept notes the ids of rows that are carried over, of the relations that fold has not.
func (p *puller) noteKept(ctx context.Context) error {
	if p.carry == nil {
		return nil
	}
	for _, rel := range relation.All() {
		if rel.Key[0] != "id" {
			continue
		}
		keep, t := p.keeps(rel), p.tables[rel.Name]
		err := eachRow(ctx, p.base, rel, func(row [][]byte) error {
			kept, err := keep(row)
			if err != nil || !kept {
				return err
			}
			id, err := idOf(row[0])
			t.keptToo(id)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// noteMissing notes what rows refer to and is not there, for no reason that is known. A name is made
// up where one may be.
func (p *puller) noteMissing() error {
	known := map[string]*idSet{}
	p.leftOut.each(func(x *snapfile.LeftOut) {
		if x.Column == "id" {
			if known[x.Relation] == nil {
				known[x.Relation] = new(idSet)
			}
			known[x.Relation].add(x.ID)
		}
	})
	unseen := errors.New("other rows of the hub's refer to it, and it does not show it: production may have changed meanwhile")
	for _, rel := range relation.All() {
		if rel.Key[0] != "id" {
			continue
		}
		for _, id := range p.tables[rel.Name].wanted() {
			if known[rel.Name] != nil && known[rel.Name].has(id) {
				continue
			}
			x := snapfile.LeftOut{Relation: rel.Name, Row: rowName(rel.Name, "id", id), Reason: unseen.Error(), Column: "id", ID: id}
			if rel.Name == "build" {
				x.Builds = []int64{id}
			}
			if rename(rel) {
				x.Kept = snapfile.KeptName
				if err := p.addRow(rel.Name, madeUpRow(rel, id), false); err != nil {
					return err
				}
			}
			p.leave(x)
		}
	}
	return nil
}

// madeUpRow is for a name that the hub does not show at all. A user of that kind is blocked.
func madeUpRow(rel *relation.Relation, id int64) [][]byte {
	row := make([][]byte, len(rel.Columns))
	for i, c := range rel.Columns {
		switch {
		case c.Name == "id":
			row[i] = appendInt(id)
		case c.Name == "name":
			row[i] = madeUp(rel.Name, appendInt(id))
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

// out notes that a row is not there, for the sake of a note.
func (c *cut) out(relationName string, id int64, noted string) {
	if c.ids[relationName] == nil {
		c.ids[relationName] = new(idSet)
		c.roots[relationName] = map[int64]string{}
	}
	c.ids[relationName].add(id)
	c.roots[relationName][id] = noted
}

// drops reports whether a row is left out, and for what.
func (c *cut) drops(rel *relation.Relation, row [][]byte) (noted string, dropped bool) {
	if c == nil {
		return "", false
	}
	gone := func(relationName string, field []byte) bool {
		ids := c.ids[relationName]
		if ids == nil || field == nil {
			return false
		}
		id, err := idOf(field)
		if err != nil || !ids.has(id) {
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

// cutRelation finds the rows of a relation that are left out, when those that it refers to are known.
func (p *puller) cutRelation(ctx context.Context, c *cut, rel *relation.Relation) error {
	touched := c.ids[rel.Name] != nil
	for _, column := range rel.Columns {
		touched = touched || c.ids[column.Ref] != nil
	}
	if !touched {
		return nil
	}
	t := p.tables[rel.Name]
	counted := map[string]bool{}
	look := func(row [][]byte) error {
		noted, dropped := c.drops(rel, row)
		key := rowKey(rel, row)
		if !dropped || counted[key] {
			return nil
		}
		counted[key] = true
		return c.count(rel, row, noted)
	}
	if err := t.view.Each(look); err != nil {
		return err
	}
	if p.carry == nil {
		return nil
	}
	keep := p.keeps(rel)
	return eachRow(ctx, p.base, rel, func(row [][]byte) error {
		kept, err := keep(row)
		if err != nil || !kept {
			return err
		}
		return look(row)
	})
}

// count notes a row that hangs on another.
func (c *cut) count(rel *relation.Relation, row [][]byte, noted string) error {
	if rel.Key[0] == "id" {
		id, err := idOf(row[0])
		if err != nil {
			return err
		}
		if ids := c.ids[rel.Name]; ids != nil && ids.has(id) {
			return nil // what is noted itself does not hang on it
		}
		c.out(rel.Name, id, noted)
	}
	if c.hangs[noted] == nil {
		c.hangs[noted] = map[string]*hang{}
	}
	h := c.hangs[noted][rel.Name]
	if h == nil {
		h = &hang{}
		c.hangs[noted][rel.Name] = h
	}
	h.rows++
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
	id, err := idOf(row[rel.Index(whose)])
	h.ids.add(id)
	return err
}

func (c *cut) hanging(noted string) []snapfile.Hanging {
	var all []snapfile.Hanging
	for _, rel := range relation.All() {
		if h := c.hangs[noted][rel.Name]; h != nil {
			all = append(all, snapfile.Hanging{Relation: rel.Name, Rows: h.rows, IDs: slices.Collect(h.ids.each())})
		}
	}
	return all
}
