package snapshot

import (
	"bytes"
	"context"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// gaps are the missing rows of one relation: by the number in a column, or by their key.
type gaps struct {
	by   map[string]map[int64]string // Identity of the note; empty: there is none
	keys map[string]string
}

func (g *gaps) add(column string, id int64, noted string) {
	if g.by == nil {
		g.by = map[string]map[int64]string{}
	}
	if g.by[column] == nil {
		g.by[column] = map[int64]string{}
	}
	g.by[column][id] = noted
}

// match reports whether a row is one of the missing ones, and which note says so.
func (g *gaps) match(rel *relation.Relation, row [][]byte) (noted string, column string, ok bool) {
	if noted, ok := g.keys[RowKey(rel, row)]; ok {
		return noted, "", true
	}
	for column, ids := range g.by {
		field := row[rel.Index(column)]
		if field == nil {
			continue
		}
		id, err := idset.Parse(field)
		if err != nil {
			continue
		}
		if noted, ok := ids[id]; ok {
			return noted, column, true
		}
	}
	return "", "", false
}

// Fill takes skipped rows from an earlier snapshot, as far as it has them, with everything that belongs to
// them: the source may have given them then, and rows seldom change. last returns that snapshot, or nil. It
// is called only if something was skipped that Fill has not looked for yet.
func (b *Builder) Fill(ctx context.Context, last func(context.Context) (*snapfile.Snapshot, error)) error {
	open := map[string]*gaps{}
	of := func(name string) *gaps {
		if open[name] == nil {
			open[name] = &gaps{}
		}
		return open[name]
	}
	b.skipped.each(func(x *snapfile.LeftOut) {
		noted := Identity(x)
		if !x.Missing() && x.Kept != snapfile.KeptName || b.sought[noted] || x.Column == "" && x.Key == nil {
			return
		}
		b.sought[noted] = true
		rel := relation.Get(x.Relation)
		if x.Column != "" {
			of(x.Relation).add(x.Column, x.ID, noted)
			return
		}
		if g := of(x.Relation); g.keys == nil {
			g.keys = map[string]string{}
		}
		open[x.Relation].keys[keyOfText(rel, x.Key)] = noted
	})
	if len(open) == 0 {
		return nil
	}
	snap, err := last(ctx)
	if err != nil || snap == nil {
		return err
	}
	found := map[string]bool{}
	// Rows may refer to other missing rows, in two steps: archives consist of rpms, and rpms are signed.
	for range 3 {
		if open, err = b.fillFrom(ctx, snap, open, found); err != nil || len(open) == 0 {
			break
		}
	}
	b.skipped.each(func(x *snapfile.LeftOut) {
		if found[Identity(x)] {
			x.Kept = snapfile.KeptLast
		}
	})
	return err
}

// fillFrom adds the missing rows that a snapshot has, with what belongs to them. It returns the rows that
// these refer to and that are missing.
func (b *Builder) fillFrom(ctx context.Context, last *snapfile.Snapshot, open map[string]*gaps, found map[string]bool) (map[string]*gaps, error) {
	further := map[string]*gaps{}
	for _, rel := range b.relations {
		g := open[rel.Name]
		if g == nil {
			continue
		}
		err := EachRow(ctx, last, rel, func(row [][]byte) error {
			noted, column, ok := g.match(rel, row)
			if !ok {
				return nil
			}
			id, err := idset.Parse(row[0])
			if err != nil {
				return err
			}
			switch {
			case rel.Key[0] == "id" && column != "id" && b.Has(rel.Name, id):
				return nil // the source gave this one of a build's rows
			case MakesUpName(rel) && bytes.Equal(row[rel.Index("name")], madeUp(rel.Name, row[0])):
				return nil // it was not known then, either
			}
			found[noted] = true
			for _, child := range belonging[rel.Name] {
				if b.tables[child] == nil {
					continue // optional, and not of this snapshot
				}
				if open[child] == nil {
					open[child] = &gaps{}
				}
				open[child].add(relation.Get(child).Columns[0].Name, id, noted)
			}
			for i, c := range rel.Columns {
				if c.Ref == "" || row[i] == nil || c.Ref == "users" || c.Ref == "build" { // these are asked for later
					continue
				}
				to, err := idset.Parse(row[i])
				if err != nil {
					return err
				}
				if !b.Has(c.Ref, to) {
					if further[c.Ref] == nil {
						further[c.Ref] = &gaps{}
					}
					further[c.Ref].add("id", to, "")
				}
			}
			_, err = b.Add(rel.Name, row)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return further, nil
}

// belonging are the relations whose rows belong to a row of another relation, to which their first column
// refers.
var belonging = map[string][]string{
	"build":       {"build_types", "maven_builds", "win_builds", "image_builds"},
	"rpminfo":     {"rpmsigs", "rpm_checksum"},
	"archiveinfo": {"maven_archives", "win_archives", "image_archives", "archive_rpm_components", "archive_components"},
}
