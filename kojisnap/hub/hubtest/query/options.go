package query

import (
	"slices"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
)

// Options are Koji's queryOpts. Unknown keys are ignored. A limit or an offset of 0 counts as none.
type Options struct {
	Order         string
	offset, limit int64
	CountOnly     bool
	AsList        bool
}

// ReadOptions parses queryOpts. It raises what a real hub raises when it writes its SQL.
func ReadOptions(v any) Options {
	s, ok := v.(*python.Struct)
	if !ok {
		if python.Truth(v) {
			python.Exception("AttributeError", "'%s' object has no attribute 'get'", strings.TrimSuffix(strings.TrimPrefix(python.TypeName(v), "<class '"), "'>"))
		}
		return Options{}
	}
	o := Options{CountOnly: python.Truth(s.Val("countOnly")), AsList: python.Truth(s.Val("asList"))}
	if order := s.Val("order"); python.Truth(order) {
		if o.Order, ok = order.(string); !ok {
			python.Exception("AttributeError", "object has no attribute 'split'")
		}
	}
	o.offset, o.limit = rowNumber(s.Val("offset")), rowNumber(s.Val("limit"))
	return o
}

func rowNumber(v any) int64 {
	if !python.Truth(v) {
		return 0
	}
	if f, ok := v.(float64); ok {
		return int64(f)
	}
	n, ok := python.Integer(v)
	if !ok {
		python.Exception("TypeError", "%%i format: a real number is required, not %s", strings.TrimSuffix(strings.TrimPrefix(python.TypeName(v), "<class '"), "'>"))
	}
	if n < 0 {
		python.Exception("psycopg2.errors.InvalidRowCountInLimitClause", "LIMIT must not be negative")
	}
	return n
}

// Execute runs the query now. It returns the rows, or their number.
func (q *Query) Execute(queryOpts any) any {
	o := ReadOptions(queryOpts)
	order := q.order(o)
	return q.Run(o, order)
}

// Iterate is Execute for methods that a hub answers with a generator, unless the limit is below 1000.
func (q *Query) Iterate(queryOpts any) any {
	o := ReadOptions(queryOpts)
	order := q.order(o)
	if o.CountOnly || o.limit > 0 && o.limit < 1000 {
		return q.Run(o, order)
	}
	return q.Generate(o, order)
}

// Reply is Execute for a result that is only sent. In a multicall it runs at once, so that a fault in it is
// only that call's.
func (q *Query) Reply(queryOpts any) any {
	o := ReadOptions(queryOpts)
	order := q.order(o)
	if o.CountOnly || !q.view.Alone() {
		return q.Run(o, order)
	}
	return q.Generate(o, order)
}

// Generate makes the rows one at a time.
func (q *Query) Generate(o Options, order []Term) *python.Generator {
	return &python.Generator{Each: func(f func(any)) {
		vals := make([]any, len(q.fields))
		q.each(o, order, func() *python.Struct { return &python.Struct{Vals: vals} }, func(s *python.Struct) {
			if o.AsList {
				f(s.Vals)
			} else {
				f(s)
			}
		})
	}}
}

// newRow returns an empty row that the caller may keep.
func (q *Query) newRow() *python.Struct { return &python.Struct{Vals: make([]any, len(q.fields))} }

// Term is one column of an order.
type Term struct {
	Alias string
	Value func(Tuple) any
	Desc  bool
}

func (q *Query) order(o Options) []Term {
	if o.Order == "" || o.CountOnly {
		return nil
	}
	var terms []Term
	for _, name := range strings.Split(o.Order, ",") {
		name, desc := strings.CutPrefix(name, "-")
		i := slices.IndexFunc(q.fields, func(f field) bool { return f.alias == name })
		if i < 0 {
			python.Exception("Exception", "Invalid order: %s", name)
		}
		terms = append(terms, Term{name, q.fields[i].value, desc})
	}
	return terms
}

func (q *Query) Run(o Options, order []Term) any {
	if o.CountOnly {
		return q.count(o)
	}
	out := []any{}
	q.each(o, order, q.newRow, func(s *python.Struct) {
		if o.AsList {
			out = append(out, s.Vals)
		} else {
			out = append(out, s)
		}
	})
	return out
}

func (q *Query) count(o Options) int64 {
	n := int64(0)
	q.tuples(false, func(Tuple) bool { n++; return true })
	n = max(n-o.offset, 0)
	if o.limit > 0 {
		n = min(n, o.limit)
	}
	return n
}

// each calls f with the rows that the options select, in their order. It makes them in the structs that room
// returns.
func (q *Query) each(o Options, order []Term, room func() *python.Struct, f func(*python.Struct)) {
	q.sortFields()
	keys := q.keys()
	send := func(t Tuple) {
		s := room()
		s.Keys = keys
		for i, field := range q.fields {
			s.Vals[i] = field.value(t)
		}
		if q.change != nil {
			q.change(s)
		}
		f(s)
	}
	backwards, sorted := q.inOrder(order)
	if sorted {
		n := int64(0)
		q.tuples(backwards, func(t Tuple) bool {
			if n++; n > o.offset {
				send(t)
			}
			return o.limit == 0 || n < o.offset+o.limit
		})
		return
	}
	type result struct {
		rows Tuple
		sort []any
	}
	var results []result
	arrange := func() {
		slices.SortStableFunc(results, func(a, b result) int {
			for i, term := range order {
				if c := kojidb.CompareSQL(a.sort[i], b.sort[i]); c != 0 {
					if term.Desc {
						return -c
					}
					return c
				}
			}
			return 0
		})
	}
	wanted := o.offset + o.limit
	q.tuples(false, func(t Tuple) bool {
		r := result{rows: slices.Clone(t), sort: make([]any, len(order))}
		for i, term := range order {
			r.sort[i] = term.Value(t)
		}
		results = append(results, r)
		if o.limit > 0 && int64(len(results)) > 3*wanted+1000 {
			arrange()
			results = results[:wanted] // rows after these never sort before them
		}
		return true
	})
	arrange()
	results = results[min(o.offset, int64(len(results))):]
	if o.limit > 0 {
		results = results[:min(o.limit, int64(len(results)))]
	}
	for _, r := range results {
		send(r.rows)
	}
}

// inOrder reports whether the tuples already come in the order, forwards or backwards: its first term is a
// column of the first relation whose values ascend.
func (q *Query) inOrder(order []Term) (backwards, ok bool) {
	if len(order) == 0 {
		return false, true
	}
	column, isColumn := q.plain[order[0].Alias]
	first := q.rels[0]
	if !isColumn || len(q.rels) > 1 && !q.unique() {
		return false, false
	}
	at := first.table.At(column)
	return order[0].Desc, at >= 0 && first.table.Ascending(at)
}

// unique reports whether each further relation has at most one row for a row of the first: it is joined by
// its key id.
func (q *Query) unique() bool {
	for _, r := range q.rels[1:] {
		if r.column != "id" {
			return false
		}
	}
	return true
}

// ApplyOptions applies queryOpts to a complete list, as Koji's _applyQueryOpts does: with one name in the
// order, and without asList.
func ApplyOptions(rows []any, queryOpts any) any {
	o := ReadOptions(queryOpts)
	if o.Order != "" {
		name, desc := strings.CutPrefix(o.Order, "-")
		SortBy(rows, name, desc, false)
	}
	rows = rows[min(o.offset, int64(len(rows))):]
	if o.limit > 0 {
		rows = rows[:min(o.limit, int64(len(rows)))]
	}
	if o.CountOnly {
		return int64(len(rows))
	}
	return rows
}

// SortBy is Python's list.sort by a member. It is stable, also in reverse.
func SortBy(rows []any, name string, desc, noneGreatest bool) {
	for _, r := range rows {
		s, ok := r.(*python.Struct)
		if !ok {
			python.Exception("TypeError", "list indices must be integers or slices, not str")
		}
		v, ok := s.Get(name)
		if !ok {
			python.Exception("KeyError", "%s", name)
		}
		if v == nil && !noneGreatest && len(rows) > 1 {
			python.Exception("TypeError", "'<' not supported between instances of 'NoneType' and 'NoneType'")
		}
	}
	slices.SortStableFunc(rows, func(a, b any) int {
		c := kojidb.CompareSQL(a.(*python.Struct).Val(name), b.(*python.Struct).Val(name))
		if desc {
			return -c
		}
		return c
	})
}
