package pull

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// What the hub cannot give now, an earlier pull may have had. Rows change seldom: as it was last
// known it is closer to production than nothing. So it is taken from the snapshot before, if that has
// it, and the next pull asks again.

// gaps are rows of one relation that are looked for: by the number in a column, or by their key.
type gaps struct {
	by   map[string]map[int64]string // what leftOuts know it by; empty: nothing was noted
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

// match reports whether a row is looked for, and by which note.
func (g *gaps) match(rel *relation.Relation, row [][]byte) (noted string, column string, ok bool) {
	if noted, ok := g.keys[rowKey(rel, row)]; ok {
		return noted, "", true
	}
	for column, ids := range g.by {
		field := row[rel.Index(column)]
		if field == nil {
			continue
		}
		id, err := idOf(field)
		if err != nil {
			continue
		}
		if noted, ok := ids[id]; ok {
			return noted, column, true
		}
	}
	return "", "", false
}

// fillGaps takes what is noted as left out from the snapshot before, with what belongs to it.
func (p *puller) fillGaps(ctx context.Context) error {
	open := map[string]*gaps{}
	of := func(name string) *gaps {
		if open[name] == nil {
			open[name] = &gaps{}
		}
		return open[name]
	}
	p.leftOut.each(func(x *snapfile.LeftOut) {
		noted := identity(x)
		if !x.Missing() && x.Kept != snapfile.KeptName || p.tried[noted] || x.Column == "" && x.Key == nil {
			return
		}
		p.tried[noted] = true
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
	last, err := p.lastSnapshot(ctx)
	if err != nil || last == nil {
		return err
	}
	found := map[string]bool{}
	// Rows that refer to others come with them: twice, as archives consist of rpms, which are signed.
	for range 3 {
		if open, err = p.takeLast(ctx, last, open, found); err != nil || len(open) == 0 {
			break
		}
	}
	p.leftOut.each(func(x *snapfile.LeftOut) {
		if found[identity(x)] {
			x.Kept = snapfile.KeptLast
		}
	})
	return err
}

// takeLast adds the rows of a snapshot that are looked for, and what hangs on them. It returns the
// rows that those refer to and that are not there.
func (p *puller) takeLast(ctx context.Context, last *snapfile.Snapshot, open map[string]*gaps, found map[string]bool) (map[string]*gaps, error) {
	further := map[string]*gaps{}
	for _, rel := range relation.All() {
		g := open[rel.Name]
		if g == nil {
			continue
		}
		t := p.tables[rel.Name]
		err := eachRow(ctx, last, rel, func(row [][]byte) error {
			noted, column, ok := g.match(rel, row)
			if !ok {
				return nil
			}
			id, err := idOf(row[0])
			if err != nil {
				return err
			}
			switch {
			case rel.Key[0] == "id" && column != "id" && t.has(id):
				return nil // one of a build's that could be had
			case rename(rel) && bytes.Equal(row[rel.Index("name")], madeUp(rel.Name, row[0])):
				return nil // it was not known then either
			}
			found[noted] = true
			for _, child := range belonging[rel.Name] {
				if open[child] == nil {
					open[child] = &gaps{}
				}
				open[child].add(relation.Get(child).Columns[0].Name, id, noted)
			}
			for i, c := range rel.Columns {
				if c.Ref == "" || row[i] == nil || c.Ref == "users" || c.Ref == "build" { // they are asked for later
					continue
				}
				to, err := idOf(row[i])
				if err != nil {
					return err
				}
				if !p.tables[c.Ref].has(to) {
					if further[c.Ref] == nil {
						further[c.Ref] = &gaps{}
					}
					further[c.Ref].add("id", to, "")
				}
			}
			return p.addRow(rel.Name, row, false)
		})
		if err != nil {
			return nil, err
		}
	}
	return further, nil
}

// belonging are the relations whose rows belong to one row of another, to which their first column
// refers.
var belonging = map[string][]string{
	"build":       {"build_types", "maven_builds", "win_builds", "image_builds"},
	"rpminfo":     {"rpmsigs"},
	"archiveinfo": {"maven_archives", "win_archives", "image_archives", "archive_rpm_components", "archive_components"},
}

// identity is what tells notes of what is left out apart.
func identity(x *snapfile.LeftOut) string {
	return fmt.Sprintf("%s\x00%s\x00%d\x00%q", x.Relation, x.Row, x.ID, x.Key)
}

func keyOfText(rel *relation.Relation, key []string) string {
	row := make([][]byte, len(rel.Columns))
	for n, i := range rel.KeyIndexes() {
		row[i] = []byte(key[n])
	}
	return rowKey(rel, row)
}

// earlier is the snapshot before, once it was looked for; nil if there is none.
type earlier struct {
	snap   *snapfile.Snapshot
	sought bool
}

// lastSnapshot is the one that this pull goes on from or, if it shall pay no regard to it, would go on
// from; nil if there is none that can be read.
func (p *puller) lastSnapshot(ctx context.Context) (*snapfile.Snapshot, error) {
	if p.base != nil || p.before.sought || p.store == nil {
		return cmp.Or(p.base, p.before.snap), nil
	}
	p.before.sought = true
	q := *p
	q.log = slog.New(slog.DiscardHandler) // what is no base was told, or is not asked for
	if err := q.chooseBase(ctx, p.store); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		p.log.WarnContext(ctx, "what production cannot give cannot be looked for in earlier snapshots", "err", err)
		return nil, nil
	}
	p.before.snap = q.base
	return q.base, nil
}
