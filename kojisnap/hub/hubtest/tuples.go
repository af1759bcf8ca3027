package hubtest

// tuples calls f with every joined row that meets the conditions, until it is
// false. backwards takes the first relation's rows from the last to the first.
func (q *query) tuples(backwards bool, f func(tuple) bool) {
	first := q.rels[0].table
	t := make(tuple, len(q.rels))
	for i := range t {
		t[i] = -1
	}
	tests := make([][]func(tuple) bool, len(q.rels))
	for _, c := range q.conds {
		depth := c.depth
		if depth < 0 {
			depth = len(q.rels) - 1
		}
		tests[depth] = append(tests[depth], c.test)
	}
	rows, narrowed := q.narrow()
	if !narrowed {
		rows = hits{high: first.size()}
	}
	for k := range rows.len() {
		if backwards {
			k = rows.len() - 1 - k
		}
		n := rows.at(k)
		if !narrowed && !first.has(n) {
			continue
		}
		t[0] = n
		if !q.expand(t, 1, tests, f) {
			return
		}
	}
}

// narrow picks the equality on the first relation that leaves fewest rows.
func (q *query) narrow() (rows hits, ok bool) {
	for _, eq := range q.base {
		if q.rels[0].table.at(eq.column) < 0 {
			continue
		}
		hit := q.rels[0].table.where(eq.column, sqlValue(eq.value))
		if !ok || hit.len() < rows.len() {
			rows, ok = hit, true
		}
	}
	return rows, ok
}

// expand joins the relations from depth on; it is false when f was.
func (q *query) expand(t tuple, depth int, tests [][]func(tuple) bool, f func(tuple) bool) bool {
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
	rows := r.table.where(r.column, r.with(t))
	for k := range rows.len() {
		t[depth] = rows.at(k)
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
