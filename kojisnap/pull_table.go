package kojisnap

import (
	"context"
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
	have    idSet // ids of rows added, of relations with an id
	kept    idSet // ids of rows carried over from the base
	want    idSet // ids referred to
}

func newTable(rel *relation.Relation, tempDir string) *table {
	return &table{
		rel: rel, from: members(rel), view: snapfile.NewWriter(rel, tempDir), revoked: snapfile.NewWriter(rel, tempDir),
	}
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
	if t.rel.Key[0] == "id" {
		id, err := idOf(row[0])
		if err != nil {
			return fmt.Errorf("%s.id: %w", t.rel.Name, err)
		}
		t.have.add(id)
	}
	return nil
}

// finish writes the relation: over base, if there is one, of whose rows keep says which stay.
func (t *table) finish(ctx context.Context, base *snapfile.Snapshot, keep func([][]byte) (bool, error), put snapfile.PutFunc) (snapfile.Relation, error) {
	r := snapfile.Relation{Name: t.rel.Name, Columns: t.rel.ColumnNames(), Key: t.rel.Key}
	var err error
	if base == nil {
		r.Segments, err = t.view.Finish(ctx, 0, put)
		for _, s := range r.Segments {
			r.Rows += s.Rows
		}
	} else {
		r.Segments, r.Rows, err = t.view.FinishOver(ctx, base, t.noting(keep), put)
	}
	if err != nil {
		return r, err
	}
	r.Revoked, err = t.revoked.Finish(ctx, 0, put)
	return r, err
}

// noting is keep, and notes the ids of what is kept.
func (t *table) noting(keep func([][]byte) (bool, error)) func([][]byte) (bool, error) {
	if t.rel.Key[0] != "id" {
		return keep
	}
	return func(row [][]byte) (bool, error) {
		kept, err := keep(row)
		if !kept || err != nil {
			return false, err
		}
		id, err := idOf(row[0])
		if err != nil {
			return false, err
		}
		t.kept.add(id)
		return true, nil
	}
}

func (t *table) close() {
	t.view.Close()
	t.revoked.Close()
}

// put converts a row of the hub and adds it. Whatever it refers to is noted. put may be called
// concurrently.
func (p *puller) put(name string, r hub.Value) error {
	row, err := p.convert(name, r)
	if err != nil {
		return err
	}
	return p.addRow(name, row, false)
}

// countedOnce is the Again of calls whose rows are added to tables, or to sets: a row that comes
// anew takes the place of the one of its key.
func countedOnce() {}

func (p *puller) convert(name string, r hub.Value) ([][]byte, error) {
	t := p.tables[name]
	row := make([][]byte, len(t.rel.Columns))
	buf := make([]byte, 0, 256)
	for i := range t.rel.Columns {
		c := &t.rel.Columns[i]
		start := len(buf)
		v := r.Field(t.from[i])
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
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w, in the row %s", name, c.Name, err, describeRow(r))
		}
		buf = out
		if !null {
			row[i] = buf[start:len(buf):len(buf)]
		}
	}
	return row, nil
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
	if err := checkNames(name, t.rel, row); err != nil {
		return err
	}
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
			fmt.Fprintf(&b, " %s=%q", name, v.Text())
		}
	}
	return strings.TrimSpace(b.String())
}
