package pull

import (
	"errors"
	"fmt"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapshot"
)

// columnName names a column for people, by the hub's name, too, if that is another.
func (p *puller) columnName(rel *relation.Relation, i int) string {
	name, from := rel.Name+"."+rel.Columns[i].Name, p.members[rel.Name][i]
	if from != rel.Columns[i].Name {
		name += " (" + from + ")"
	}
	return name
}

// put converts a row of the hub and adds it. Whatever it refers to is noted. A row that is wrong in
// itself is left out, which is noted, too. put may be called concurrently.
func (p *puller) put(name string, r hub.Value) error {
	row, err := p.convert(name, r)
	if err != nil || row == nil {
		return err
	}
	return p.addRow(name, row, false)
}

// countedOnce is the Again of calls whose rows are added to tables, or to sets: a row that comes
// anew takes the place of the one of its key.
func countedOnce() {}

// rowsOf is a call whose rows are judged one by one, and may come again.
func rowsOf(call hub.Call) hub.Call {
	call.Again, call.KeepBad = countedOnce, true
	return call
}

// convert converts a row, and notes what is wrong with it. A row that cannot be had is nil.
func (p *puller) convert(name string, r hub.Value) ([][]byte, error) {
	row, fault, err := p.tryConvert(name, r, nil)
	if err != nil || fault == nil {
		return row, err
	}
	return nil, p.leaveRow(relation.Get(name), row, fault)
}

// maxRow is how many bytes the text of a row may have. JSON may be three times what the hub sent, and
// COPY text twice that: the row is in memory in several forms at once, see package hub.
const maxRow = 16 << 20

// tryConvert converts a row, and says what keeps it from being had. Columns that are right are
// there all the same. What it can go without it goes without, and notes that. assume has the text of
// columns that the call does not tell, nil for NULL.
func (p *puller) tryConvert(name string, r hub.Value, assume map[string][]byte) (row [][]byte, fault, err error) {
	rel, from := relation.Get(name), p.members[name]
	row = make([][]byte, len(rel.Columns))
	buf := make([]byte, 0, 256)
	var lacks []snapshot.Lack
	for i := range rel.Columns {
		c := &rel.Columns[i]
		start := len(buf)
		v := r.Field(from[i])
		if v.Kind() == hub.Missing && from[i] != c.Name {
			v = r.Field(c.Name) // as other calls name it
		}
		if text, ok := assume[c.Name]; ok && v.Kind() == hub.Missing {
			row[i] = text
			continue
		}
		if c.Name == "cg_id" && v.Kind() == hub.Missing {
			continue // of a list of builds, which are asked for by themselves if they have one
		}
		if c.Since > 0 && !p.version.AtLeast(1, int(c.Since)) {
			v = hub.Value{} // an older hub does not have it, whatever it sends
		}
		if c.MissingOf != nil {
			older := c.Older(string(row[rel.Index("name")]))
			c = &older
		}
		out, null, err := appendColumn(buf, c, v)
		var wrong valueError
		switch {
		case errors.As(err, &wrong) && snapshot.Spare(rel, c.Name):
			lacks = append(lacks, snapshot.Lack{Column: c.Name, Why: err})
			continue
		case errors.As(err, &wrong):
			if fault == nil {
				fault = fmt.Errorf("%s: %w", p.columnName(rel, i), err)
			}
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("%s.%s: %w, in the row %s", name, c.Name, err, describeRow(r))
		}
		buf = out
		if !null {
			row[i] = buf[start:len(buf):len(buf)]
		}
	}
	if len(buf) > maxRow {
		return nil, badValue("%d bytes in one row, more than kojisnap takes (%d)", len(buf), maxRow), nil
	}
	if fault == nil {
		switch column, err := climbs(rel, row); {
		case err != nil && snapshot.Spare(rel, column):
			lacks = append(lacks, snapshot.Lack{Column: column, Why: err})
		case err != nil:
			fault = fmt.Errorf("%s.%s: %w", name, column, err)
		}
	}
	if fault == nil && len(lacks) > 0 {
		p.goWithout(rel, row, lacks)
	}
	return row, fault, nil
}

func (p *puller) addRow(name string, row [][]byte, revoked bool) error {
	add, kind := p.builder.Add, rowInView
	if revoked {
		add, kind = p.builder.AddRevoked, rowRevoked
	}
	notes, err := add(name, row)
	if err != nil {
		return err
	}
	for _, x := range notes {
		p.leave(x)
	}
	if p.batch != nil {
		p.batch.row(name, row, kind)
	}
	return nil
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

// describeRow names a row for a message.
func describeRow(r hub.Value) string {
	var b strings.Builder
	for name, v := range r.Members() {
		if k := v.Kind(); (k == hub.Int || k == hub.String) && (strings.HasSuffix(name, "id") || strings.HasSuffix(name, "name")) && b.Len() < 160 {
			fmt.Fprintf(&b, " %.100s=%.100q", name, v.Text())
		}
	}
	return strings.TrimSpace(b.String())
}
