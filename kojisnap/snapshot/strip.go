package snapshot

import (
	"context"
	"errors"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/snapfile"
)

// Staging must not get a password of production's, whichever column has it: URLs in external repos, in
// sources and in extra may have one. Credentials are removed before a row goes anywhere, so that a later pull
// finds no change.

// strip removes credentials from a row's URLs, in place, and returns notes about that.
func strip(rel *relation.Relation, row [][]byte) []snapfile.LeftOut {
	var notes []snapfile.LeftOut
	for _, i := range snapfile.Secretive(rel) {
		stripped, found := secret.Strip(row[i])
		if !found {
			continue
		}
		row[i] = stripped
		x := DescribeSkipped(rel, row, errStripped)
		x.Kept = snapfile.KeptStripped
		x.Builds, x.Tag = nil, 0 // there is nothing to ask for again
		notes = append(notes, x)
	}
	return notes
}

var errStripped = errors.New("what else is in the URL is there, and a user's name without a password")

// keepStripped adds notes about credentials that were removed from kept rows of the base.
func (b *Builder) keepStripped(ctx context.Context) error {
	if b.keeper == nil {
		return nil
	}
	notes := map[string]map[string]snapfile.LeftOut{}
	for _, x := range b.base.Manifest.LeftOut {
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
		rel := relation.Get(name)
		err := b.eachKept(ctx, rel, func(row [][]byte) error {
			x, noted := of[RowKey(rel, row)]
			if !noted {
				return nil
			}
			if rel.Key[0] == "id" {
				if id, err := idset.Parse(row[0]); err != nil || b.Has(name, id) { // it was added, and noted then
					return err
				}
			}
			b.Skip(x)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
