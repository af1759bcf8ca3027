// Package convert makes rows of a snapshot, as COPY fields, of the values that a hub sends.
package convert

import (
	"errors"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapshot"
)

// maxRow is how many bytes the text of a row may have. JSON may be three times what the hub sent, and
// COPY text twice that: the row is in memory in several forms at once, see package hub.
const maxRow = 16 << 20

// Converter makes rows of the values of hubs of one version. It may be used concurrently.
type Converter struct {
	version hub.Version
	members map[string][]string // of each relation: for each column, the member of the hub's rows that holds it
}

// New returns a Converter.
func New(version hub.Version) Converter {
	c := Converter{version, map[string][]string{}}
	for _, rel := range relation.All() {
		c.members[rel.Name] = members(rel)
	}
	return c
}

// Row converts a row. fault is what makes it useless; columns that are right are there all the same.
// lacks are the columns that it can go without. assume has the text of columns that the call does not
// tell, nil for NULL. err says that the hub's rows are not what kojisnap knows.
func (c Converter) Row(name string, r hub.Value, assume map[string][]byte) (row [][]byte, lacks []snapshot.Lack, fault, err error) {
	rel, from := relation.Get(name), c.members[name]
	row = make([][]byte, len(rel.Columns))
	buf := make([]byte, 0, 256)
	for i := range rel.Columns {
		column := &rel.Columns[i]
		start := len(buf)
		v := r.Field(from[i])
		if v.Kind() == hub.Missing && from[i] != column.Name {
			v = r.Field(column.Name) // as other calls name it
		}
		if text, ok := assume[column.Name]; ok && v.Kind() == hub.Missing {
			row[i] = text
			continue
		}
		if column.Name == "cg_id" && v.Kind() == hub.Missing {
			continue // of a list of builds, which are asked for by themselves if they have one
		}
		if column.Since > 0 && !c.version.AtLeast(1, int(column.Since)) {
			v = hub.Value{} // an older hub does not have it, whatever it sends
		}
		if column.MissingOf != nil {
			older := column.Older(string(row[rel.Index("name")]))
			column = &older
		}
		out, null, err := appendColumn(buf, column, v)
		var wrong valueError
		switch {
		case errors.As(err, &wrong) && snapshot.Spare(rel, column.Name):
			lacks = append(lacks, snapshot.Lack{Column: column.Name, Why: err})
			continue
		case errors.As(err, &wrong):
			if fault == nil {
				fault = fmt.Errorf("%s: %w", c.columnName(rel, i), err)
			}
			continue
		case err != nil:
			return nil, nil, nil, fmt.Errorf("%s.%s: %w, in the row %s", name, column.Name, err, pager.DescribeRow(r))
		}
		buf = out
		if !null {
			row[i] = buf[start:len(buf):len(buf)]
		}
	}
	if len(buf) > maxRow {
		return nil, nil, badValue("%d bytes in one row, more than kojisnap takes (%d)", len(buf), maxRow), nil
	}
	if fault == nil {
		switch column, err := Climbs(rel, row); {
		case err != nil && snapshot.Spare(rel, column):
			lacks = append(lacks, snapshot.Lack{Column: column, Why: err})
		case err != nil:
			fault = fmt.Errorf("%s.%s: %w", name, column, err)
		}
	}
	return row, lacks, fault, nil
}

// columnName names a column for people, by the hub's name, too, if that is another.
func (c Converter) columnName(rel *relation.Relation, i int) string {
	name, from := rel.Name+"."+rel.Columns[i].Name, c.members[rel.Name][i]
	if from != rel.Columns[i].Name {
		name += " (" + from + ")"
	}
	return name
}

// members maps columns to the members of the hub's rows: the same names, but for the cases
// here (koji-hub: get_build, list_archives, query_history).
func members(rel *relation.Relation) []string {
	other := map[string]string{}
	switch rel.Name {
	case "build":
		other = map[string]string{"id": "build_id", "pkg_id": "package_id", "owner": "owner_id", "promoter": "promoter_id",
			"create_event": "creation_event_id", "start_time": "start_ts", "completion_time": "completion_ts", "promotion_time": "promotion_ts"}
	case "maven_archives", "win_archives", "image_archives":
		other = map[string]string{"archive_id": "id"}
	}
	names := rel.ColumnNames()
	for i, n := range names {
		if o, ok := other[n]; ok {
			names[i] = o
		}
	}
	return names
}
