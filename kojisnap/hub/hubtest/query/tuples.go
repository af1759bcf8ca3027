package query

import "kojisnap/kojisnap/hub/hubtest/kojidb"

// tuples calls f with each joined row that meets the conditions, until f returns false. With backwards it
// reads the first relation's rows from the last to the first.
func (q *Query) tuples(backwards bool, f func(Tuple) bool) {
	first := q.rels[0].table
	t := make(Tuple, len(q.rels))
	for i := range t {
		t[i] = -1
	}
	tests := make([][]func(Tuple) bool, len(q.rels))
	for _, c := range q.conds {
		depth := c.depth
		if depth < 0 {
			depth = len(q.rels) - 1
		}
		tests[depth] = append(tests[depth], c.test)
	}
	rows, narrowed := q.narrow()
	if !narrowed {
		rows = kojidb.Hits{High: first.Size()}
	}
	for k := range rows.Len() {
		if backwards {
			k = rows.Len() - 1 - k
		}
		n := rows.At(k)
		if !narrowed && !first.Has(n) {
			continue
		}
		t[0] = n
		if !q.expand(t, 1, tests, f) {
			return
		}
	}
}

// narrow picks the equality on the first relation that matches the fewest rows.
func (q *Query) narrow() (rows kojidb.Hits, ok bool) {
	for _, eq := range q.base {
		if q.rels[0].table.At(eq.column) < 0 {
			continue
		}
		hit := q.rels[0].table.Where(eq.column, SqlValue(eq.value))
		if !ok || hit.Len() < rows.Len() {
			rows, ok = hit, true
		}
	}
	return rows, ok
}

// expand joins the relations from depth on. It returns false if f did.
func (q *Query) expand(t Tuple, depth int, tests [][]func(Tuple) bool, f func(Tuple) bool) bool {
	for _, test := range tests[depth-1] {
		if !test(t) {
			return true
		}
	}
	if depth == len(q.rels) {
		return f(t)
	}
	r := &q.rels[depth]
	found := false
	rows := r.table.Where(r.column, r.with(t))
	for k := range rows.Len() {
		t[depth] = rows.At(k)
		for i := depth + 1; i < len(t); i++ {
			t[i] = -1
		}
		if r.on != nil && !r.on(t) {
			continue
		}
		found = true
		if !q.expand(t, depth+1, tests, f) {
			return false
		}
	}
	if !found && r.outer {
		for i := depth; i < len(t); i++ {
			t[i] = -1
		}
		return q.expand(t, depth+1, tests, f)
	}
	return true
}
