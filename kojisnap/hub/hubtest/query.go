package hubtest

import (
	"slices"
	"strings"
)

// query is a SELECT over joined tables. References are "relation.column", where
// relation is the table or the alias given with AS. A column that the
// database does not have is NULL.
type query struct {
	call   *call
	rels   []relation
	fields []field
	conds  []condition
	base   []equality // on the first relation, answered by an index
	change func(*Struct)
	plain  map[string]string // by alias, the column of the first relation that a field is
}

type relation struct {
	alias  string
	table  *Table
	column string           // of table; equal to
	with   func(tuple) any  // what earlier relations have
	on     func(tuple) bool // further condition of the join
	outer  bool
}

type equality struct {
	column string
	value  any
}

// condition is tested when the rows of relations up to depth are known.
type condition struct {
	depth int
	test  func(tuple) bool
}

type field struct {
	alias string
	value func(tuple) any
}

// tuple has the number of a row for each relation, -1 where an outer join found
// none.
type tuple []int32

// from starts a query over a table.
func (c *call) from(table string) *query {
	q := &query{call: c, plain: map[string]string{}}
	q.add(table, relation{})
	return q
}

func (q *query) add(table string, r relation) *relation {
	name, alias, ok := strings.Cut(table, " AS ")
	if !ok {
		alias = name
	}
	r.alias, r.table = alias, q.call.table(name)
	q.rels = append(q.rels, r)
	return &q.rels[len(q.rels)-1]
}

// join is an inner join: the table's column equals ref.
func (q *query) join(table, column, ref string) *query {
	q.add(table, relation{column: column, with: q.ref(ref)})
	return q
}

// left is a LEFT OUTER JOIN.
func (q *query) left(table, column, ref string) *query {
	q.add(table, relation{column: column, with: q.ref(ref), outer: true})
	return q
}

// on adds a condition to the last join.
func (q *query) on(cond func(tuple) bool) *query {
	q.rels[len(q.rels)-1].on = cond
	return q
}

// ref compiles a reference.
func (q *query) ref(ref string) func(tuple) any {
	alias, column, _ := strings.Cut(ref, ".")
	r := slices.IndexFunc(q.rels, func(r relation) bool { return r.alias == alias })
	if r < 0 {
		panic("hubtest: query has no relation " + alias)
	}
	i := q.rels[r].table.at(column)
	if i < 0 {
		return func(tuple) any { return nil }
	}
	get := q.rels[r].table.get(i)
	return func(t tuple) any {
		if t[r] < 0 {
			return nil
		}
		return get(t[r])
	}
}

// fieldList takes "alias ref" pairs, one a line or divided by commas; an alias
// alone is that column of the first relation.
func (q *query) fieldList(list string) *query {
	for _, f := range strings.FieldsFunc(list, func(r rune) bool { return r == '\n' || r == ',' }) {
		words := strings.Fields(f)
		if len(words) == 0 {
			continue
		}
		ref := q.rels[0].alias + "." + words[0]
		if len(words) == 2 {
			ref = words[1]
		}
		if alias, column, _ := strings.Cut(ref, "."); alias == q.rels[0].alias {
			q.plain[words[0]] = column
		}
		value := q.ref(ref)
		q.field(words[0], func(t tuple) any { return fetched(value(t)) })
	}
	return q
}

func (q *query) field(alias string, value func(tuple) any) *query {
	q.fields = append(q.fields, field{alias, value})
	return q
}

// epoch adds a time as float seconds.
func (q *query) epoch(alias, ref string) *query {
	value := q.ref(ref)
	return q.field(alias, func(t tuple) any { return epoch(value(t)) })
}

func epoch(v any) any {
	if t, ok := v.(Time); ok {
		return t.Epoch()
	}
	return nil
}

// joined adds the texts of refs with "-" between, NULL if one is NULL.
func (q *query) joined(alias string, refs ...string) *query {
	return q.field(alias, q.concat("-", refs...))
}

func (q *query) concat(sep string, refs ...string) func(tuple) any {
	values := make([]func(tuple) any, len(refs))
	for i, r := range refs {
		values[i] = q.ref(r)
	}
	return func(t tuple) any {
		parts := make([]string, len(values))
		for i, v := range values {
			s, ok := v(t).(string)
			if !ok {
				return nil
			}
			parts[i] = s
		}
		return strings.Join(parts, sep)
	}
}

// eq is ref = v in SQL: text is read as the column's type, and NULL equals
// nothing.
func (q *query) eq(ref string, v any) *query {
	alias, column, _ := strings.Cut(ref, ".")
	v = q.literal(alias, column, v)
	if q.rels[0].alias == alias {
		q.base = append(q.base, equality{column, v})
	}
	value := q.ref(ref)
	return q.whereOf(alias, func(t tuple) bool {
		got := value(t)
		return got != nil && got == sqlValue(v)
	})
}

// narrowBy has the query look only at rows of the first relation whose column is v. It is for a
// condition that is stated otherwise too, and saves time alone.
func (q *query) narrowBy(column string, v any) { q.base = append(q.base, equality{column, v}) }

// first is the alias of the first relation.
func (q *query) first() string { return q.rels[0].alias }

// changing has f change each row that the query gives.
func (q *query) changing(f func(*Struct)) { q.change = f }

// in is ref IN list, or ref = v if v is no list.
func (q *query) in(ref string, v any) *query {
	list, ok := v.([]any)
	if !ok {
		return q.eq(ref, v)
	}
	if len(list) == 0 {
		q.where(func(tuple) bool {
			exception("psycopg2.errors.SyntaxError", "syntax error at or near \")\"")
			return false
		})
	}
	alias, column, _ := strings.Cut(ref, ".")
	set := map[any]bool{}
	for _, v := range list {
		set[sqlValue(q.literal(alias, column, v))] = true
	}
	value := q.ref(ref)
	return q.whereOf(alias, func(t tuple) bool { got := value(t); return got != nil && set[got] })
}

func (q *query) where(cond func(tuple) bool) *query {
	q.conds = append(q.conds, condition{-1, cond})
	return q
}

// whereOf is where for a condition that looks at one relation only.
func (q *query) whereOf(alias string, cond func(tuple) bool) *query {
	r := slices.IndexFunc(q.rels, func(r relation) bool { return r.alias == alias })
	q.conds = append(q.conds, condition{r, cond})
	return q
}

// is is ref IS TRUE.
func (q *query) is(ref string) *query {
	alias, _, _ := strings.Cut(ref, ".")
	value := q.ref(ref)
	return q.whereOf(alias, func(t tuple) bool { return value(t) == true })
}

// isNot is ref IS NOT TRUE.
func (q *query) isNot(ref string) *query {
	alias, _, _ := strings.Cut(ref, ".")
	value := q.ref(ref)
	return q.whereOf(alias, func(t tuple) bool { return value(t) != true })
}

// at is Koji's eventCondition: active, or visible at an event.
func (q *query) at(alias string, event any) *query {
	if event == nil {
		return q.is(alias + ".active")
	}
	e, ok := integer(event)
	if !ok {
		generic("Invalid event: %s", repr(event))
	}
	create, revoke := q.ref(alias+".create_event"), q.ref(alias+".revoke_event")
	return q.whereOf(alias, func(t tuple) bool {
		r := revoke(t)
		return asInt(create(t)) <= e && (r == nil || e < asInt(r))
	})
}

// draft is Koji's draft_clause, if there is a wish.
func (q *query) draft(alias string, draft any) *query {
	switch {
	case draft == nil:
		return q
	case truth(draft):
		return q.is(alias + ".draft")
	}
	return q.isNot(alias + ".draft")
}

// extraJSON parses the field extra of each row.
func (q *query) extraJSON(fault string) *query {
	q.change = func(s *Struct) { s.Set("extra", jsonField(s.Val("extra"), fault)) }
	return q
}

// jsonField parses JSON from a text column.
func jsonField(v any, fault string) any {
	text, ok := v.(string)
	if !ok {
		return v
	}
	parsed, err := parseJSON(text)
	if err != nil {
		generic("%s: %s", fault, stringRepr(text))
	}
	return parsed
}

// rows runs the query without options.
func (q *query) rows() []*Struct {
	q.sortFields()
	keys := q.keys()
	var out []*Struct
	q.tuples(false, func(t tuple) bool {
		vals := make([]any, len(q.fields))
		for i, f := range q.fields {
			vals[i] = f.value(t)
		}
		s := &Struct{Keys: keys, Vals: vals}
		if q.change != nil {
			q.change(s)
		}
		out = append(out, s)
		return true
	})
	return out
}

// one returns the first row, nil if there is none.
func (q *query) one() *Struct {
	if rows := q.rows(); len(rows) > 0 {
		return rows[0]
	}
	return nil
}

// sortFields puts the fields into the order in which Koji's QueryProcessor
// sends them: by alias.
func (q *query) sortFields() {
	slices.SortStableFunc(q.fields, func(a, b field) int { return strings.Compare(a.alias, b.alias) })
}

func (q *query) keys() []string {
	keys := make([]string, len(q.fields))
	for i, f := range q.fields {
		keys[i] = f.alias
	}
	return keys
}

func anyList[T any](list []T) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}
