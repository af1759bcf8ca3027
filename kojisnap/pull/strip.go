package pull

import (
	"context"
	"errors"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/snapfile"
)

// A password is no business of staging's, wherever production has it: external repos and sources are
// had by URLs, and so is what is noted in extra. It is taken out before the row goes anywhere, so that
// later pulls find nothing changed.

// strip takes the credentials out of a row's URLs, in place, and notes that.
func (p *puller) strip(rel *relation.Relation, row [][]byte) {
	for _, i := range snapfile.Secretive(rel) {
		stripped, found := secret.Strip(row[i])
		if !found {
			continue
		}
		row[i] = stripped
		x := describeLeftOut(rel, row, errStripped)
		x.Kept = snapfile.KeptStripped
		x.Builds, x.Tag = nil, 0 // there is nothing to ask for again
		p.leave(x)
	}
}

var errStripped = errors.New("what else is in the URL is there, and a user's name without a password")

// carryStripped notes of the rows that are carried over what was taken out of them.
func (p *puller) carryStripped(ctx context.Context) error {
	if p.carry == nil {
		return nil
	}
	notes := map[string]map[string]snapfile.LeftOut{}
	for _, x := range p.base.Manifest.LeftOut {
		rel := relation.Get(x.Relation)
		if !x.Stripped() || rel == nil || len(x.Key) != len(rel.Key) {
			continue
		}
		if notes[rel.Name] == nil {
			notes[rel.Name] = map[string]snapfile.LeftOut{}
		}
		notes[rel.Name][keyOfText(rel, x.Key)] = x
	}
	for name, of := range notes {
		rel, t := relation.Get(name), p.tables[name]
		keep := p.keeps(rel)
		err := eachRow(ctx, p.base, rel, func(row [][]byte) error {
			x, noted := of[rowKey(rel, row)]
			if !noted {
				return nil
			}
			kept, err := keep(row)
			if err != nil || !kept {
				return err
			}
			if rel.Key[0] == "id" {
				if id, err := idOf(row[0]); err != nil || t.has(id) { // it came anew, and was judged
					return err
				}
			}
			p.leave(x)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
