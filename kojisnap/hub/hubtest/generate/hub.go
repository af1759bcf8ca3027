package generate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/hub/hubtest/python"
)

// Tag is the tag in the scope of a generated hub. It inherits from f41; f42-compose and f42-updates inherit
// from it.
const Tag = "f42"

// Key is the key that nearly all rpms of ScaleTag are signed with.
const Key = "105ef944"

// Options configure Hub.
type Options struct {
	// Seed decides everything that is random: the same options make the same
	// rows.
	Seed uint64
	// Builds is how many builds ScaleTag has; default 24,000. On average a build has 9 rpms, and an rpm 1.25
	// signatures besides the one with the empty key.
	Builds int
	// Factor multiplies Builds; default 1.
	Factor int
	// Outside is how many times as many builds, rpms and signatures are outside ScaleTag, at least. Their
	// ids are mixed with the others'. Default 10; negative: none.
	Outside int
}

// Hub makes a database like that of a distribution's hub. It meets all constraints of Koji's schema. A hub of
// the default size takes some 0.5 GB of memory.
func Hub(opts Options) (*kojidb.Memory, error) {
	if opts.Builds == 0 {
		opts.Builds = 24000
	}
	if opts.Factor == 0 {
		opts.Factor = 1
	}
	if opts.Outside == 0 {
		opts.Outside = 10
	}
	if opts.Builds < 0 || opts.Factor < 0 {
		return nil, fmt.Errorf("generate a hub: %d builds, factor %d: neither can be negative", opts.Builds, opts.Factor)
	}
	g := newGeneration(opts)
	g.people()
	g.tags()
	g.packages()
	g.history()
	return g.memory()
}

// generation is a database that is being made.
type generation struct {
	opts   Options
	builds int // in ScaleTag
	rnd    *rand.Rand
	rows   map[string][]kojidb.Values // tables of rows
	now    python.Time
	step   int64 // mean between events, microseconds

	owners   []int32 // users who own packages
	tagIDs   map[string]int32
	releases []release
	pkgs     []sourcePackage

	event struct {
		id   kojidb.IntColumn
		time kojidb.TimeColumn
	}
	big bigTables
}

// release is a tag that builds are made for, and what they are made with.
type release struct {
	name, dist, key string
	tag, candidate  int32
	builds          int
}

func newGeneration(opts Options) *generation {
	g := &generation{opts: opts, builds: opts.Builds * opts.Factor,
		rnd:  rand.New(rand.NewPCG(opts.Seed, 0x6b6f6a69)),
		rows: map[string][]kojidb.Values{}, tagIDs: map[string]int32{},
		now: python.Time(time.Date(2021, 2, 9, 6, 0, 0, 0, time.UTC).UnixMicro())}
	for name, t := range kojidb.FreshTables() {
		g.rows[name] = t.Rows
	}
	g.big.init()
	// The events cover four years. The packages take few of them.
	events := int64(g.builds)*int64(max(opts.Outside, 0)+1)*4 + 1000
	g.step = 4 * 365 * 24 * 3600 * 1e6 / events
	return g
}

func (g *generation) add(table string, rows ...kojidb.Values) {
	g.rows[table] = append(g.rows[table], rows...)
}

// newEvent is an event a little later than the last.
func (g *generation) newEvent() int32 {
	g.now += python.Time(1 + g.rnd.Int64N(2*g.step))
	id := g.event.id.Len() + 1
	g.event.id.Add(id)
	g.event.time.Add(g.now)
	return id
}

// since adds the columns of a versioned row that is active from now on.
func (g *generation) since(v kojidb.Values) kojidb.Values {
	v["create_event"], v["creator_id"], v["active"] = int64(g.newEvent()), int64(1), true
	return v
}

// until revokes a versioned row now.
func (g *generation) until(v kojidb.Values) {
	v["revoke_event"], v["revoker_id"], v["active"] = int64(g.newEvent()), int64(1), nil
}

func (g *generation) digest(width int) []byte {
	b := make([]byte, 0, width+8)
	for len(b) < width {
		b = binary.LittleEndian.AppendUint64(b, g.rnd.Uint64())
	}
	return b[:width]
}

// memory puts the tables together.
func (g *generation) memory() (*kojidb.Memory, error) {
	tables := map[string]*kojidb.Table{}
	for _, name := range kojiprod.Tables() {
		t, err := kojidb.TableOfRows(name, g.rows[name])
		if err != nil {
			return nil, fmt.Errorf("generate table %s: %w", name, err)
		}
		tables[name] = t
	}
	columns := g.big.columns()
	columns["events"] = map[string]kojidb.Column{"id": &g.event.id, "time": &g.event.time}
	for name, c := range columns {
		tables[name] = kojidb.TableOfNamed(name, c)
	}
	return kojidb.NewMemory(tables), nil
}
