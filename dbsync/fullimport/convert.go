package fullimport

import (
	"bytes"
	"fmt"
	"io"
	"strconv"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// converter makes rows of a snapshot into rows of Koji's table, and refuses those that pull cannot have written, where
// no constraint would, as the merge does. Most rows stay as they are.
type converter struct {
	rel    *relation.Relation
	floor  int64
	event  int64                     // E
	ids    []map[string][]byte       // for each column, staging's ids where they differ from production's
	volume func(row [][]byte) []byte // for builds: the volume
	at     columns
	row    [][]byte
	out    []byte
}

// columns are the positions of some columns, -1 for those that a relation does not have.
type columns struct{ volume, created, active, revoked, revoker int }

// newConverter makes one. ids are by relation, from production's id to staging's.
func newConverter(r *relation.Relation, floor, event int64, ids map[string]map[string][]byte) *converter {
	c := &converter{rel: r, floor: floor, event: event, at: columns{r.Index("volume_id"), r.Index("create_event"), r.Index("active"), r.Index("revoke_event"), r.Index("revoker_id")}}
	for _, col := range r.Columns {
		c.ids = append(c.ids, ids[col.Ref])
	}
	return c
}

var (
	isNull = []byte(`\N`)
	isTrue = []byte("t")
)

// line converts a line. What it returns is valid until the next call.
func (c *converter) line(line []byte) ([]byte, error) {
	row := c.row[:0]
	for rest := line[:len(line)-1]; ; {
		i := bytes.IndexByte(rest, '\t')
		if i < 0 {
			row = append(row, rest)
			break
		}
		row = append(row, rest[:i])
		rest = rest[i+1:]
	}
	c.row = row
	if len(row) != len(c.rel.Columns) {
		return nil, fmt.Errorf("a row of %d fields", len(row))
	}
	changed := false
	var volume []byte
	if c.volume != nil {
		volume = c.volume(row) // by production's ids
	}
	for i := range c.rel.Columns {
		col := &c.rel.Columns[i]
		switch {
		case col.External:
			// Its table is not in the snapshot.
			changed = changed || !bytes.Equal(row[i], isNull)
			row[i] = isNull
		case col.Path:
			if climbs(row[i]) {
				return nil, fmt.Errorf("the snapshot's %s %s: its %s %.200q %s", c.rel.Name, c.key(), col.Name, row[i], relation.ClimbsReason)
			}
		case col.Name == "id" || col.Ref != "":
			if col.Null && bytes.Equal(row[i], isNull) {
				continue
			}
			if err := c.inRange(i); err != nil {
				return nil, err
			}
			if to, ok := c.ids[i][string(row[i])]; ok {
				row[i], changed = to, true
			}
		}
	}
	if c.rel.Versioned && !c.inView() {
		return nil, fmt.Errorf("the snapshot's %s %s is not in the view at event %d", c.rel.Name, c.key(), c.event)
	}
	if c.volume != nil {
		row[c.at.volume], changed = volume, true
	}
	if !changed {
		return line, nil
	}
	c.out = c.out[:0]
	for _, field := range row {
		c.out = append(append(c.out, field...), '\t')
	}
	c.out[len(c.out)-1] = '\n'
	return c.out, nil
}

// inRange refuses an id that is staging's, or none.
func (c *converter) inRange(i int) error {
	id, err := strconv.ParseInt(string(c.row[i]), 10, 64)
	name := c.rel.Columns[i].Name
	switch {
	case err != nil:
		return fmt.Errorf("the snapshot's %s %s: production's %s %.100q is no number", c.rel.Name, c.key(), name, c.row[i])
	case id < 0:
		return fmt.Errorf("the snapshot's %s %s: production's %s is %d, which is below 0", c.rel.Name, c.key(), name, id)
	case id >= c.floor:
		return fmt.Errorf("the snapshot's %s %s: production's %s is %d, which is at or above the floor %d, where staging's ids begin", c.rel.Name, c.key(), name, id, c.floor)
	}
	return nil
}

// inView reports whether a versioned row is in the view at E.
func (c *converter) inView() bool {
	created, err := strconv.ParseInt(string(c.row[c.at.created]), 10, 64)
	return err == nil && created <= c.event && bytes.Equal(c.row[c.at.active], isTrue) && bytes.Equal(c.row[c.at.revoked], isNull) && bytes.Equal(c.row[c.at.revoker], isNull)
}

// key names the row.
func (c *converter) key() string {
	var b bytes.Buffer
	for n, i := range c.rel.KeyIndexes() {
		if n > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%.100q", c.rel.Columns[i].Name, c.row[i])
	}
	return b.String()
}

// climbs is relation.Climbs of a field as COPY text.
func climbs(field []byte) bool {
	if bytes.IndexByte(field, '\\') < 0 {
		return relation.Climbs(field)
	}
	plain, err := snapfile.ParseLine(bytes.Clone(field), nil)
	return err != nil || len(plain) != 1 || relation.Climbs(plain[0])
}

// reader gives converted rows to COPY.
type reader struct {
	from    loadtx.LineReader
	convert func(line []byte) ([]byte, error)
	read    func(int64) // counts rows, many at a time; nil: nobody does
	buf     []byte      // not yet read
	rest    []byte
	err     error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		r.buf = r.buf[:0]
		rows := int64(0)
		for r.err == nil && len(r.buf) < len(p) {
			if !r.from.Next() {
				if r.err = r.from.Err(); r.err == nil {
					r.err = io.EOF
				}
				break
			}
			var line []byte
			if line, r.err = r.convert(r.from.Line()); r.err == nil {
				r.buf = append(r.buf, line...)
				rows++
			}
		}
		if r.rest = r.buf; r.read != nil {
			r.read(rows)
		}
		if len(r.rest) == 0 {
			return 0, r.err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// wrong is why the rows could not be read; nil if all were.
func (r *reader) wrong() error {
	if r.err == io.EOF {
		return nil
	}
	return r.err
}

// Volumes say where builds go.
type Volumes struct {
	Names    map[string]string   // production's volumes, by id
	IDs      map[string]int32    // staging's volume for a name of production's
	Copied   map[kojidb.NVR]bool // builds whose files were copied
	CopyID   int32               // their volume
	Packages map[string]string   // names of packages by id, if there are copied builds
}

// volumeOf returns staging's volume of a build, a row of COPY text.
func (v *Volumes) volumeOf(r *relation.Relation, row [][]byte) int32 {
	field := func(name string) string { return string(row[r.Index(name)]) }
	if field("state") != complete {
		return 0
	}
	if len(v.Copied) > 0 && v.Copied[kojidb.NVR{Name: v.Packages[field("pkg_id")], Version: field("version"), Release: field("release")}] {
		return v.CopyID
	}
	return v.IDs[v.Names[field("volume_id")]]
}

// complete is the state of builds that have files.
const complete = "1"
