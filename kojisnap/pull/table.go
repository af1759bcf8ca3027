package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

type seeker = io.ReadSeeker

// table collects the rows of one relation, and the ids that other rows refer to in it. Its
// methods may be called concurrently.
type table struct {
	rel  *relation.Relation
	from []string // for each column, the member of the hub's rows that holds it

	mu      sync.Mutex
	view    *snapfile.Writer
	revoked *snapfile.Writer
	seen    int64 // rows added
	have    idSet // ids of rows added, of relations with an id
	kept    idSet // ids of rows carried over from the base
	want    idSet // ids referred to
}

func newTable(rel *relation.Relation, tempDir string) *table {
	return &table{
		rel: rel, from: members(rel), view: snapfile.NewWriter(rel, tempDir), revoked: snapfile.NewWriter(rel, tempDir),
	}
}

// columnName names a column for people, by the hub's name, too, if that is another.
func (t *table) columnName(i int) string {
	name := t.rel.Name + "." + t.rel.Columns[i].Name
	if t.from[i] != t.rel.Columns[i].Name {
		name += " (" + t.from[i] + ")"
	}
	return name
}

// refer notes that a row refers to id.
func (t *table) refer(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.want.add(id)
}

// wanted returns the ids referred to of which there is no row yet, ascending.
func (t *table) wanted() []int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.want.without(&t.have, &t.kept)
}

// wantedSet returns the ids referred to.
func (t *table) wantedSet() idSet {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.want.clone()
}

// all returns the ids of the rows so far, ascending.
func (t *table) all() []int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(t.have.each())
}

func (t *table) wants(id int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.want.has(id)
}

func (t *table) has(id int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.have.has(id)
}

func (t *table) add(row [][]byte, revoked bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.view
	if revoked {
		w = t.revoked
	}
	if err := w.Add(row); err != nil {
		return err
	}
	t.seen++
	if t.rel.Key[0] == "id" && !revoked {
		id, err := idOf(row[0])
		if err != nil {
			return fmt.Errorf("%s.id: %w", t.rel.Name, err)
		}
		t.have.add(id)
	}
	return nil
}

// finish writes a relation: over the base, if there is one, with what is carried over from it, and
// without what is cut.
func (p *puller) finish(ctx context.Context, rel *relation.Relation, put snapfile.PutFunc) (snapfile.Relation, error) {
	t, keep, keepRevoked := p.tables[rel.Name], p.keeps(rel), p.keepsRevoked(rel)
	r := snapfile.Relation{Name: rel.Name, Columns: rel.ColumnNames(), Key: rel.Key}
	if p.cut != nil {
		dropped := func(row [][]byte) bool { _, dropped := p.cut.drops(rel, row); return dropped }
		t.view.Drop(dropped)
		t.revoked.Drop(dropped)
		without := func(keep func([][]byte) (bool, error)) func([][]byte) (bool, error) {
			return func(row [][]byte) (bool, error) {
				kept, err := keep(row)
				return kept && !dropped(row), err
			}
		}
		keep, keepRevoked = without(keep), without(keepRevoked)
	}
	var err error
	if p.base == nil {
		r.Segments, err = t.view.Finish(ctx, 0, put)
		for _, s := range r.Segments {
			r.Rows += s.Rows
		}
	} else {
		r.Segments, r.Rows, err = t.view.FinishOver(ctx, p.base, keep, put)
	}
	if err != nil {
		return r, err
	}
	if p.base == nil || p.start == 0 || !rel.Versioned {
		r.Revoked, err = t.revoked.Finish(ctx, 0, put)
	} else {
		r.Revoked, err = t.revoked.FinishRevokedOver(ctx, p.base, keepRevoked, put)
	}
	return r, err
}

// keptToo notes the id of a row that is carried over.
func (t *table) keptToo(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept.add(id)
}

func (t *table) close() {
	t.view.Close()
	t.revoked.Close()
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
	return nil, p.leaveRow(p.tables[name].rel, row, fault)
}

// maxRow is how many bytes the text of a row may have. JSON may be three times what the hub sent, and
// COPY text twice that: the row is in memory in several forms at once, see package hub.
const maxRow = 16 << 20

// tryConvert converts a row, and says what keeps it from being had. Columns that are right are
// there all the same. What it can go without it goes without, and notes that. assume has the text of
// columns that the call does not tell, nil for NULL.
func (p *puller) tryConvert(name string, r hub.Value, assume map[string][]byte) (row [][]byte, fault, err error) {
	t := p.tables[name]
	row = make([][]byte, len(t.rel.Columns))
	buf := make([]byte, 0, 256)
	var lacks []lack
	for i := range t.rel.Columns {
		c := &t.rel.Columns[i]
		start := len(buf)
		v := r.Field(t.from[i])
		if v.Kind() == hub.Missing && t.from[i] != c.Name {
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
			older := c.Older(string(row[t.rel.Index("name")]))
			c = &older
		}
		out, null, err := appendColumn(buf, c, v)
		var wrong valueError
		switch {
		case errors.As(err, &wrong) && spare(t.rel, c.Name):
			lacks = append(lacks, lack{c.Name, err})
			continue
		case errors.As(err, &wrong):
			if fault == nil {
				fault = fmt.Errorf("%s: %w", t.columnName(i), err)
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
		switch column, err := climbs(t.rel, row); {
		case err != nil && spare(t.rel, column):
			lacks = append(lacks, lack{column, err})
		case err != nil:
			fault = fmt.Errorf("%s.%s: %w", name, column, err)
		}
	}
	if fault == nil && len(lacks) > 0 {
		p.goWithout(t.rel, row, lacks)
	}
	return row, fault, nil
}

// refer notes what a row refers to.
func (p *puller) refer(rel *relation.Relation, row [][]byte) error {
	for i := range rel.Columns {
		ref := rel.Columns[i].Ref
		if ref == "" || row[i] == nil {
			continue
		}
		id, err := idOf(row[i])
		if err != nil {
			return fmt.Errorf("%s.%s: %w", rel.Name, rel.Columns[i].Name, err)
		}
		p.tables[ref].refer(id)
	}
	return nil
}

func (p *puller) addRow(name string, row [][]byte, revoked bool) error {
	t := p.tables[name]
	if err := p.refer(t.rel, row); err != nil {
		return err
	}
	p.strip(t.rel, row)
	if p.batch != nil {
		kind := rowInView
		if revoked {
			kind = rowRevoked
		}
		p.batch.row(name, row, kind)
	}
	return t.add(row, revoked)
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
