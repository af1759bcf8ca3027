package pull

import (
	"errors"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapshot"
)

// goWithout notes that a row is there without some columns; a name is made up.
func (p *puller) goWithout(rel *relation.Relation, row [][]byte, lacks []snapshot.Lack) {
	for _, x := range snapshot.Without(rel, row, lacks) {
		p.leave(x)
	}
}

// maxKey is how long a text may be that identifies a row that is left out.
const maxKey = 4096

// leaveRow notes that a row is left out. Its columns are there as far as they are right. A tag
// without its config is none, and so the pull ends there.
func (p *puller) leaveRow(rel *relation.Relation, row [][]byte, why error) error {
	for _, i := range rel.KeyIndexes() {
		if len(row[i]) > maxKey { // what is left out is kept in mind by its key
			return fmt.Errorf("%w, in a row of %s whose %s has %d bytes: mend it in production", why, rel.Name, rel.Columns[i].Name, len(row[i]))
		}
	}
	x := snapshot.DescribeSkipped(rel, row, why)
	if rel.Name == "tag_config" {
		return fmt.Errorf("%w, in the row %s: a tag is nothing without its config: mend it in production", why, x.Row)
	}
	p.leave(x)
	return nil
}

// addNamed adds the name of something that a row refers to, as a member of that row has it. If
// there is none the row itself did not need it.
func (p *puller) addNamed(relationName string, id int64, name hub.Value) error {
	rel := relation.Get(relationName)
	switch name.Kind() {
	case hub.String:
		text := string(name.Text())
		row := [][]byte{fmt.Append(nil, id), []byte(text)}
		if _, err := climbs(rel, row); err != nil {
			p.leave(snapshot.DescribeSkipped(rel, row, fmt.Errorf("%s.name: %w", rel.Name, err)))
			return nil
		}
		return p.addName(relationName, id, text)
	case hub.Bad:
		row := [][]byte{fmt.Append(nil, id), nil}
		if !snapshot.MakesUpName(rel) {
			p.leave(snapshot.DescribeSkipped(rel, row, fmt.Errorf("%s.name: %w", rel.Name, name.Bad())))
			return nil
		}
		p.goWithout(rel, row, []snapshot.Lack{{Column: "name", Why: name.Bad()}})
		return p.bring(relationName, id, row)
	}
	return nil
}

var errNoBType = errors.New("the hub lists no such build type")
