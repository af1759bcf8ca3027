package hubtest

import (
	"slices"
	"strings"
)

// options are Koji's queryOpts. Unknown keys are ignored, a limit or an offset
// of 0 is none.
type options struct {
	order         string
	offset, limit int64
	countOnly     bool
	asList        bool
}

// options reads queryOpts; what a real hub refuses when it words its SQL is
// raised here.
func queryOptions(v any) options {
	s, ok := v.(*Struct)
	if !ok {
		if truth(v) {
			exception("AttributeError", "'%s' object has no attribute 'get'", strings.TrimSuffix(strings.TrimPrefix(typeName(v), "<class '"), "'>"))
		}
		return options{}
	}
	o := options{countOnly: truth(s.Val("countOnly")), asList: truth(s.Val("asList"))}
	if order := s.Val("order"); truth(order) {
		if o.order, ok = order.(string); !ok {
			exception("AttributeError", "object has no attribute 'split'")
		}
	}
	o.offset, o.limit = rowNumber(s.Val("offset")), rowNumber(s.Val("limit"))
	return o
}

func rowNumber(v any) int64 {
	if !truth(v) {
		return 0
	}
	if f, ok := v.(float64); ok {
		return int64(f)
	}
	n, ok := integer(v)
	if !ok {
		exception("TypeError", "%%i format: a real number is required, not %s", strings.TrimSuffix(strings.TrimPrefix(typeName(v), "<class '"), "'>"))
	}
	if n < 0 {
		exception("psycopg2.errors.InvalidRowCountInLimitClause", "LIMIT must not be negative")
	}
	return n
}

// execute runs the query now: a list of rows, or their number.
func (q *query) execute(queryOpts any) any {
	o := queryOptions(queryOpts)
	order := q.order(o)
	return q.run(o, order)
}

// iterate is execute for the methods that a hub answers by a generator, unless
// the limit is below 1000.
func (q *query) iterate(queryOpts any) any {
	o := queryOptions(queryOpts)
	order := q.order(o)
	if o.countOnly || o.limit > 0 && o.limit < 1000 {
		return q.run(o, order)
	}
	return q.generate(o, order)
}

// reply is execute for a result that nobody looks at before it is sent. In a
// multicall it is made at once: a fault in it is that call's only.
func (q *query) reply(queryOpts any) any {
	o := queryOptions(queryOpts)
	order := q.order(o)
	if o.countOnly || !q.call.alone {
		return q.run(o, order)
	}
	return q.generate(o, order)
}

// generate makes the rows one at a time.
func (q *query) generate(o options, order []term) *generator {
	return &generator{func(f func(any)) {
		vals := make([]any, len(q.fields))
		q.each(o, order, func() *Struct { return &Struct{Vals: vals} }, func(s *Struct) {
			if o.asList {
				f(s.Vals)
			} else {
				f(s)
			}
		})
	}}
}

// newRow is where rows go that are kept.
func (q *query) newRow() *Struct { return &Struct{Vals: make([]any, len(q.fields))} }

// term is one name of an order.
type term struct {
	alias string
	value func(tuple) any
	desc  bool
}

func (q *query) order(o options) []term {
	if o.order == "" || o.countOnly {
		return nil
	}
	var terms []term
	for _, name := range strings.Split(o.order, ",") {
		name, desc := strings.CutPrefix(name, "-")
		i := slices.IndexFunc(q.fields, func(f field) bool { return f.alias == name })
		if i < 0 {
			exception("Exception", "Invalid order: %s", name)
		}
		terms = append(terms, term{name, q.fields[i].value, desc})
	}
	return terms
}

func (q *query) run(o options, order []term) any {
	if o.countOnly {
		return q.count(o)
	}
	out := []any{}
	q.each(o, order, q.newRow, func(s *Struct) {
		if o.asList {
			out = append(out, s.Vals)
		} else {
			out = append(out, s)
		}
	})
	return out
}

func (q *query) count(o options) int64 {
	n := int64(0)
	q.tuples(false, func(tuple) bool { n++; return true })
	n = max(n-o.offset, 0)
	if o.limit > 0 {
		n = min(n, o.limit)
	}
	return n
}

// each calls f with the rows that the options leave, in their order. They are
// made in what room gives.
func (q *query) each(o options, order []term, room func() *Struct, f func(*Struct)) {
	q.sortFields()
	keys := q.keys()
	send := func(t tuple) {
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
		q.tuples(backwards, func(t tuple) bool {
			if n++; n > o.offset {
				send(t)
			}
			return o.limit == 0 || n < o.offset+o.limit
		})
		return
	}
	type result struct {
		rows tuple
		sort []any
	}
	var results []result
	arrange := func() {
		slices.SortStableFunc(results, func(a, b result) int {
			for i, term := range order {
				if c := compareSQL(a.sort[i], b.sort[i]); c != 0 {
					if term.desc {
						return -c
					}
					return c
				}
			}
			return 0
		})
	}
	wanted := o.offset + o.limit
	q.tuples(false, func(t tuple) bool {
		r := result{rows: slices.Clone(t), sort: make([]any, len(order))}
		for i, term := range order {
			r.sort[i] = term.value(t)
		}
		results = append(results, r)
		if o.limit > 0 && int64(len(results)) > 3*wanted+1000 {
			arrange()
			results = results[:wanted] // what comes after them never comes before
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

// inOrder tells whether the tuples come in the order, forwards or backwards,
// without being sorted: the first term is a column of the first relation
// whose values ascend.
func (q *query) inOrder(order []term) (backwards, ok bool) {
	if len(order) == 0 {
		return false, true
	}
	column, isColumn := q.plain[order[0].alias]
	first := q.rels[0]
	if !isColumn || len(q.rels) > 1 && !q.unique() {
		return false, false
	}
	at := first.table.at(column)
	return order[0].desc, at >= 0 && first.table.ascending(at)
}

// unique tells whether each further relation has at most one row for one of
// the first: it is joined by its key id.
func (q *query) unique() bool {
	for _, r := range q.rels[1:] {
		if r.column != "id" {
			return false
		}
	}
	return true
}

// applyOptions applies queryOpts to a list that was made without them, as
// Koji's _applyQueryOpts does: one order name, no asList.
func applyOptions(rows []any, queryOpts any) any {
	o := queryOptions(queryOpts)
	if o.order != "" {
		name, desc := strings.CutPrefix(o.order, "-")
		sortBy(rows, name, desc, false)
	}
	rows = rows[min(o.offset, int64(len(rows))):]
	if o.limit > 0 {
		rows = rows[:min(o.limit, int64(len(rows)))]
	}
	if o.countOnly {
		return int64(len(rows))
	}
	return rows
}

// sortBy is Python's list.sort by a member: stable, in reverse too.
func sortBy(rows []any, name string, desc, noneGreatest bool) {
	for _, r := range rows {
		s, ok := r.(*Struct)
		if !ok {
			exception("TypeError", "list indices must be integers or slices, not str")
		}
		v, ok := s.Get(name)
		if !ok {
			exception("KeyError", "%s", name)
		}
		if v == nil && !noneGreatest && len(rows) > 1 {
			exception("TypeError", "'<' not supported between instances of 'NoneType' and 'NoneType'")
		}
	}
	slices.SortStableFunc(rows, func(a, b any) int {
		c := compareSQL(a.(*Struct).Val(name), b.(*Struct).Val(name))
		if desc {
			return -c
		}
		return c
	})
}
