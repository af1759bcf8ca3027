// Package convert converts the values that a hub sends to rows of a snapshot, as COPY fields.
package convert

import (
	"errors"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapshot"
)

// maxRow is the largest size of a row's text in bytes. JSON may be three times as large as what the hub sent,
// and COPY text twice that. The row is in memory in several forms at once, see package hub.
const maxRow = 16 << 20

// Converter converts the values of hubs of one version. It may be used concurrently.
type Converter struct {
	version hub.Version
	members map[string][]string // by relation: for each column the member of the hub's rows that has its value
}

// New returns a Converter.
func New(version hub.Version) Converter {
	c := Converter{version, map[string][]string{}}
	for _, rel := range relation.All() {
		c.members[rel.Name] = members(rel)
	}
	return c
}

// Row converts a row. fault says why the row is useless; it has its valid columns nevertheless. lacks are
// columns that the row can do without. assume has the text of columns that the call does not return, nil for
// NULL. err says that the hub's rows have another form than kojisnap knows.
func (c Converter) Row(name string, r hub.Value, assume map[string][]byte) (row [][]byte, lacks []snapshot.Lack, fault, err error) {
	rel, from := relation.Get(name), c.members[name]
	row = make([][]byte, len(rel.Columns))
	buf := make([]byte, 0, 256)
	for i := range rel.Columns {
		column := &rel.Columns[i]
		start := len(buf)
		v := r.Field(from[i])
		if v.Kind() == hub.Missing && from[i] != column.Name {
			v = r.Field(column.Name) // other calls use this name
		}
		if text, ok := assume[column.Name]; ok && v.Kind() == hub.Missing {
			row[i] = text
			continue
		}
		if column.Name == "cg_id" && v.Kind() == hub.Missing {
			continue // in a list of builds: builds with extra are asked for one by one
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

// columnName names a column for people, with the hub's name if that differs.
func (c Converter) columnName(rel *relation.Relation, i int) string {
	name, from := rel.Name+"."+rel.Columns[i].Name, c.members[rel.Name][i]
	if from != rel.Columns[i].Name {
		name += " (" + from + ")"
	}
	return name
}

// members maps columns to members of the hub's rows: the same names, except the cases here (koji-hub:
// get_build, list_archives, query_history).
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
