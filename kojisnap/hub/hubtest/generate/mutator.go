package generate

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/hub/hubtest/python"
)

// MutatorOptions configure a Mutator.
type MutatorOptions struct {
	// Seed decides everything that is random.
	Seed uint64
	// Tags are names of tags. Three of four changes are about them. They are not renamed or deleted.
	// Default: no preference.
	Tags []string
	// Pace is the mean time between two events; default 1 s. The first event comes after the last one in the
	// database.
	Pace time.Duration
	// Late is how long after its event a transaction may commit. Older ones are rolled back. Default: no
	// limit.
	Late time.Duration
	// Rare adds changes that hardly ever happen: two names are swapped, or a name moves to another row;
	// builds are made again with the same rpms; deleted tags are made again.
	Rare bool
	// Meet makes production often take the first free priority, as staging's users do.
	Meet bool
	// Names gives names for new things. If it returns "" or a used name, the Mutator makes one up. Default:
	// all names are made up.
	Names func() string
}

// Mutator changes a database at random, as Koji would: with events, with revoked rows, and without a trace
// where Koji leaves none. All constraints of Koji's schema stay true. A Mutator is for one goroutine. Its
// database may be served at the same time: a request sees a step whole or not at all.
type Mutator struct {
	src   *kojidb.Memory
	opts  MutatorOptions
	rnd   *rand.Rand
	names *nameMaker
	now   python.Time
	last  map[string]int64 // the last id of each table
	open  []transaction    // transactions that have not committed yet

	tx    *kojidb.Tx
	event int64 // of this step; 0: none yet
	keep  map[any]bool
}

// transaction has taken its ids long before it commits.
type transaction struct {
	event, build int64
	at           python.Time
}

// errNothing says that nothing exists that the change could be made to.
var errNothing = errors.New("nothing to change")

// NewMutator prepares to change src. It adds tables that src lacks, empty.
func NewMutator(src *kojidb.Memory, opts MutatorOptions) (*Mutator, error) {
	m := &Mutator{src: src, opts: opts, rnd: rand.New(rand.NewPCG(opts.Seed, 0x6d757461)), last: map[string]int64{}, keep: map[any]bool{}}
	if opts.Pace == 0 {
		m.opts.Pace = time.Second
	}
	m.names = &nameMaker{rnd: m.rnd, used: map[string]bool{}}
	err := src.Change(func(tx *kojidb.Tx) error {
		for _, name := range kojiprod.Tables() {
			tx.Ensure(name)
		}
		for _, name := range opts.Tags {
			tags, err := tx.Select("tag", kojidb.Values{"name": name})
			if err != nil {
				return err
			}
			if len(tags) == 0 {
				return fmt.Errorf("no tag %q", name)
			}
			m.keep[tags[0]["id"]] = true
		}
		for _, name := range []string{"package", "tag", "users", "external_repo", "build_target", "groups", "channels"} {
			t := tx.Find(name)
			get := t.Get(t.At("name"))
			for n := range t.Size() {
				if t.Has(n) {
					m.names.used[python.AsString(get(n))] = true
				}
			}
		}
		events := tx.Find("events")
		at := events.Get(events.At("time"))
		for n := range events.Size() {
			if t, ok := at(n).(python.Time); events.Has(n) && ok {
				m.now = max(m.now, t)
			}
		}
		return nil
	})
	return m, err
}

type mutation struct {
	weight int
	make   func(*Mutator) string
}

var mutations = []mutation{
	{10, tagBuild}, {6, untagBuild}, {4, moveBuild}, {3, retagBuild},
	{4, blockPackage}, {2, addPackage}, {1, removePackage}, {3, ownPackage},
	{8, newBuild}, {3, startBuild}, {3, endBuild}, {3, deleteBuild},
	{2, resetBuild}, {1, recycleBuild}, {2, ownBuild}, {3, moveVolume}, {3, draftBuild},
	{3, promoteBuild}, {6, signBuild}, {3, removeSignature}, {2, addRPM},
	{1, renameTag}, {1, renameUser}, {1, renameTarget}, {1, renameExternalRepo},
	{3, editTag}, {2, editExtra}, {3, editInheritance}, {1, addInheritance},
	{1, removeInheritance}, {1, newTag}, {1, deleteTag},
	{1, renameChannel}, {2, groupPackage}, {1, groupConfig}, {1, groupNeeds},
	{1, editExternalRepo}, {1, useExternalRepo},
	{1, editTarget}, {1, newUser}, {1, blockUser}, {1, grant},
	{3, begin}, {4, commit},
}

// Step makes one change and describes it.
func (m *Mutator) Step() (description string, err error) {
	kinds := mutations
	if m.opts.Rare {
		kinds = slices.Concat(kinds, rare)
	}
	total := 0
	for _, c := range kinds {
		total += c.weight
	}
	for range 1000 {
		at := m.rnd.IntN(total)
		var c mutation
		for _, c = range kinds {
			if at -= c.weight; at < 0 {
				break
			}
		}
		err := m.attempt(func() { description = c.make(m) })
		if err == nil || !errors.Is(err, errNothing) {
			return description, err
		}
	}
	return "", errNothing
}

// attempt makes one change, or none if the change panics with a stepFault.
func (m *Mutator) attempt(change func()) error {
	defer func() { m.tx = nil }()
	return m.src.Change(func(tx *kojidb.Tx) (err error) {
		defer caught(&err)
		m.tx, m.event = tx, 0
		change()
		return nil
	})
}

// id returns the next id of a table as its sequence does: it never returns an id twice, even if the first was
// not used.
func (m *Mutator) id(table string) int64 {
	if _, ok := m.last[table]; !ok {
		t := m.tx.Find(table)
		id := t.Get(t.At("id"))
		for n := range t.Size() {
			if t.Has(n) {
				m.last[table] = max(m.last[table], id(n).(int64))
			}
		}
	}
	m.last[table]++
	return m.last[table]
}

// newEvent returns the step's event. All changes of one call of Koji share it.
func (m *Mutator) newEvent() int64 {
	if m.event == 0 {
		id, at := m.takeEvent()
		m.event = id
		m.insert("events", kojidb.Values{"id": id, "time": at})
	}
	return m.event
}

func (m *Mutator) takeEvent() (int64, python.Time) {
	m.now += python.Time(1 + m.rnd.Int64N(max(1, 2*m.opts.Pace.Microseconds())))
	return m.id("events"), m.now
}

// stepFault carries an error of the tables out of a mutation.
type stepFault struct{ error }

func must[T any](v T, err error) T {
	if err != nil {
		panic(stepFault{err})
	}
	return v
}

func (m *Mutator) insert(table string, v kojidb.Values) { must(0, m.tx.Insert(table, v)) }

func (m *Mutator) update(table string, where, set kojidb.Values) int {
	return must(m.tx.Update(table, where, set))
}

func (m *Mutator) remove(table string, where kojidb.Values) int {
	return must(m.tx.Delete(table, where))
}

func (m *Mutator) all(table string, where kojidb.Values) []kojidb.Values {
	return must(m.tx.Select(table, where))
}

// create inserts a versioned row at the step's event.
func (m *Mutator) create(table string, v kojidb.Values) {
	v["create_event"], v["creator_id"], v["active"] = m.newEvent(), m.editor(), true
	v["revoke_event"], v["revoker_id"] = nil, nil
	m.insert(table, v)
}

// revoke revokes the active rows that match, and returns how many.
func (m *Mutator) revoke(table string, where kojidb.Values) int {
	where["active"] = true
	return m.update(table, where, kojidb.Values{"revoke_event": m.newEvent(), "revoker_id": m.editor(), "active": nil})
}

// pick returns a random row that matches where and is wanted, or nil.
func (m *Mutator) pick(table string, where kojidb.Values, wanted func(kojidb.Values) bool) kojidb.Values {
	t := m.tx.Find(table)
	rows := kojidb.Hits{High: t.Size()}
	if len(where) > 0 {
		rows = kojidb.Hits{List: must(t.Matching(where))}
	}
	if rows.Len() == 0 {
		return nil
	}
	try := func(n int32) kojidb.Values {
		if !t.Has(n) {
			return nil
		}
		v := kojidb.Values{}
		for i, x := range t.Row(n) {
			v[t.Columns[i]] = x
		}
		if wanted == nil || wanted(v) {
			return v
		}
		return nil
	}
	for range 50 {
		if v := try(rows.At(m.rnd.IntN(rows.Len()))); v != nil {
			return v
		}
	}
	start := m.rnd.IntN(rows.Len())
	for k := range min(rows.Len(), 20000) {
		if v := try(rows.At((start + k) % rows.Len())); v != nil {
			return v
		}
	}
	return nil
}

// need is pick, but ends the step if there is no row; then another change is tried.
func (m *Mutator) need(table string, where kojidb.Values, wanted func(kojidb.Values) bool) kojidb.Values {
	v := m.pick(table, where, wanted)
	if v == nil {
		panic(stepFault{errNothing})
	}
	return v
}

// editor returns the user who makes a change.
func (m *Mutator) editor() int64 {
	return m.need("users", nil, func(u kojidb.Values) bool { return u["usertype"] == userNormal })["id"].(int64)
}

// tag picks an active tag.
func (m *Mutator) tag() int64 {
	if len(m.opts.Tags) > 0 && m.rnd.IntN(4) > 0 {
		name := m.opts.Tags[m.rnd.IntN(len(m.opts.Tags))]
		return m.need("tag", kojidb.Values{"name": name}, nil)["id"].(int64)
	}
	return m.need("tag_config", nil, isActive)["tag_id"].(int64)
}

func isActive(v kojidb.Values) bool { return v["active"] == true }

func (m *Mutator) nameOf(table string, id any) string {
	rows := m.all(table, kojidb.Values{"id": id})
	if len(rows) == 0 {
		return fmt.Sprint(id)
	}
	return python.AsString(rows[0]["name"])
}

// without copies a row without some columns and without what create sets.
func without(v kojidb.Values, columns ...string) kojidb.Values {
	out := kojidb.Values{}
	for c, x := range v {
		if !slices.Contains(columns, c) {
			out[c] = x
		}
	}
	return out
}

func (m *Mutator) digest() string {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(m.rnd.UintN(256))
	}
	return hex.EncodeToString(b)
}

// newName returns a name that no package, tag, user, target, repo or group has.
func (m *Mutator) newName() string {
	if m.opts.Names != nil {
		if name := m.opts.Names(); name != "" && m.names.take(name) {
			return name
		}
	}
	name := m.names.word()
	for !m.names.take(name) {
		name += "-" + m.names.word()
	}
	return name
}

// caught turns the panic of a mutation into an error.
func caught(err *error) {
	switch r := recover().(type) {
	case nil:
	case stepFault:
		*err = r.error
	default:
		panic(r)
	}
}
