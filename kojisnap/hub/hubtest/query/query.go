package query

import (
	"slices"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
)

// Query is a SELECT over joined tables. References are "relation.column", where relation is the table or the
// alias given with AS. A column that the database does not have is NULL.
type Query struct {
	view   View
	rels   []relation
	fields []field
	conds  []condition
	base   []equality // on the first relation; found by an index
	change func(*python.Struct)
	plain  map[string]string // by alias: the column of the first relation that the field has
}

type relation struct {
	alias  string
	table  *kojidb.Table
	column string           // of table; must be equal to
	with   func(Tuple) any  // this value of earlier relations
	on     func(Tuple) bool // further condition of the join
	outer  bool
}

type equality struct {
	column string
	value  any
}

// condition is tested as soon as the rows of the relations up to depth are known.
type condition struct {
	depth int
	test  func(Tuple) bool
}

type field struct {
	alias string
	value func(Tuple) any
}

// Tuple has a row number for each relation, -1 if an outer join found none.
type Tuple []int32

// View is the database as a call sees it.
type View interface {
	// Table returns a table. If the table cannot be read, it raises a fault.
	Table(name string) *kojidb.Table
	// Alone reports whether this is the request's only call.
	Alone() bool
}

// From starts a query over a table.
func From(view View, table string) *Query {
	q := &Query{view: view, plain: map[string]string{}}
	q.add(table, relation{})
	return q
}

func (q *Query) add(table string, r relation) *relation {
	name, alias, ok := strings.Cut(table, " AS ")
	if !ok {
		alias = name
	}
	r.alias, r.table = alias, q.view.Table(name)
	q.rels = append(q.rels, r)
	return &q.rels[len(q.rels)-1]
}

// Join adds an inner join: the table's column equals ref.
func (q *Query) Join(table, column, ref string) *Query {
	q.add(table, relation{column: column, with: q.Ref(ref)})
	return q
}

// Left adds a LEFT OUTER JOIN.
func (q *Query) Left(table, column, ref string) *Query {
	q.add(table, relation{column: column, with: q.Ref(ref), outer: true})
	return q
}

// On adds a condition to the last join.
func (q *Query) On(cond func(Tuple) bool) *Query {
	q.rels[len(q.rels)-1].on = cond
	return q
}

// Ref compiles a reference to a function that reads it.
func (q *Query) Ref(ref string) func(Tuple) any {
	alias, column, _ := strings.Cut(ref, ".")
	r := slices.IndexFunc(q.rels, func(r relation) bool { return r.alias == alias })
	if r < 0 {
		panic("hubtest: query has no relation " + alias)
	}
	i := q.rels[r].table.At(column)
	if i < 0 {
		return func(Tuple) any { return nil }
	}
	get := q.rels[r].table.Get(i)
	return func(t Tuple) any {
		if t[r] < 0 {
			return nil
		}
		return get(t[r])
	}
}

// FieldList adds "alias ref" pairs, one a line or separated by commas. An alias alone is that column of the
// first relation.
func (q *Query) FieldList(list string) *Query {
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
		value := q.Ref(ref)
		q.Field(words[0], func(t Tuple) any { return python.Fetched(value(t)) })
	}
	return q
}

func (q *Query) Field(alias string, value func(Tuple) any) *Query {
	q.fields = append(q.fields, field{alias, value})
	return q
}

// Epoch adds a time as float seconds.
func (q *Query) Epoch(alias, ref string) *Query {
	value := q.Ref(ref)
	return q.Field(alias, func(t Tuple) any { return Epoch(value(t)) })
}

func Epoch(v any) any {
	if t, ok := v.(python.Time); ok {
		return t.Epoch()
	}
	return nil
}

// Joined adds the texts of refs, joined with "-"; NULL if one is NULL.
func (q *Query) Joined(alias string, refs ...string) *Query {
	return q.Field(alias, q.Concat("-", refs...))
}

func (q *Query) Concat(sep string, refs ...string) func(Tuple) any {
	values := make([]func(Tuple) any, len(refs))
	for i, r := range refs {
		values[i] = q.Ref(r)
	}
	return func(t Tuple) any {
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

// Eq requires ref = v as in SQL: text is converted to the column's type, and NULL equals nothing.
func (q *Query) Eq(ref string, v any) *Query {
	alias, column, _ := strings.Cut(ref, ".")
	v = q.Literal(alias, column, v)
	if q.rels[0].alias == alias {
		q.base = append(q.base, equality{column, v})
	}
	value := q.Ref(ref)
	return q.WhereOf(alias, func(t Tuple) bool {
		got := value(t)
		return got != nil && got == SqlValue(v)
	})
}

// NarrowBy makes the query look only at rows of the first relation whose column is v. It only saves time: the
// caller must add the condition, too.
func (q *Query) NarrowBy(column string, v any) { q.base = append(q.base, equality{column, v}) }

// First returns the alias of the first relation.
func (q *Query) First() string { return q.rels[0].alias }

// Changing makes f change each row of the result.
func (q *Query) Changing(f func(*python.Struct)) { q.change = f }

// In requires ref IN list, or ref = v if v is no list.
func (q *Query) In(ref string, v any) *Query {
	list, ok := v.([]any)
	if !ok {
		return q.Eq(ref, v)
	}
	if len(list) == 0 {
		q.Where(func(Tuple) bool {
			python.Exception("psycopg2.errors.SyntaxError", "syntax error at or near \")\"")
			return false
		})
	}
	alias, column, _ := strings.Cut(ref, ".")
	set := map[any]bool{}
	for _, v := range list {
		set[SqlValue(q.Literal(alias, column, v))] = true
	}
	value := q.Ref(ref)
	return q.WhereOf(alias, func(t Tuple) bool { got := value(t); return got != nil && set[got] })
}

func (q *Query) Where(cond func(Tuple) bool) *Query {
	q.conds = append(q.conds, condition{-1, cond})
	return q
}

// WhereOf is Where for a condition on one relation.
func (q *Query) WhereOf(alias string, cond func(Tuple) bool) *Query {
	r := slices.IndexFunc(q.rels, func(r relation) bool { return r.alias == alias })
	q.conds = append(q.conds, condition{r, cond})
	return q
}

// Is requires ref IS TRUE.
func (q *Query) Is(ref string) *Query {
	alias, _, _ := strings.Cut(ref, ".")
	value := q.Ref(ref)
	return q.WhereOf(alias, func(t Tuple) bool { return value(t) == true })
}

// isNot requires ref IS NOT TRUE.
func (q *Query) isNot(ref string) *Query {
	alias, _, _ := strings.Cut(ref, ".")
	value := q.Ref(ref)
	return q.WhereOf(alias, func(t Tuple) bool { return value(t) != true })
}

// At adds Koji's eventCondition: active, or visible at an event.
func (q *Query) At(alias string, event any) *Query {
	if event == nil {
		return q.Is(alias + ".active")
	}
	e, ok := python.Integer(event)
	if !ok {
		python.Generic("Invalid event: %s", python.Repr(event))
	}
	create, revoke := q.Ref(alias+".create_event"), q.Ref(alias+".revoke_event")
	return q.WhereOf(alias, func(t Tuple) bool {
		r := revoke(t)
		return python.AsInt(create(t)) <= e && (r == nil || e < python.AsInt(r))
	})
}

// Draft adds Koji's draft_clause, if the caller asks for drafts or for none.
func (q *Query) Draft(alias string, draft any) *Query {
	switch {
	case draft == nil:
		return q
	case python.Truth(draft):
		return q.Is(alias + ".draft")
	}
	return q.isNot(alias + ".draft")
}

// ExtraJSON parses the field extra of each row.
func (q *Query) ExtraJSON(fault string) *Query {
	q.change = func(s *python.Struct) { s.Set("extra", JsonField(s.Val("extra"), fault)) }
	return q
}

// JsonField parses JSON from a text column.
func JsonField(v any, fault string) any {
	text, ok := v.(string)
	if !ok {
		return v
	}
	parsed, err := python.ParseJSON(text)
	if err != nil {
		python.Generic("%s: %s", fault, python.StringRepr(text))
	}
	return parsed
}

// Rows runs the query without options.
func (q *Query) Rows() []*python.Struct {
	q.sortFields()
	keys := q.keys()
	var out []*python.Struct
	q.tuples(false, func(t Tuple) bool {
		vals := make([]any, len(q.fields))
		for i, f := range q.fields {
			vals[i] = f.value(t)
		}
		s := &python.Struct{Keys: keys, Vals: vals}
		if q.change != nil {
			q.change(s)
		}
		out = append(out, s)
		return true
	})
	return out
}

// One returns the first row, nil if there is none.
func (q *Query) One() *python.Struct {
	if rows := q.Rows(); len(rows) > 0 {
		return rows[0]
	}
	return nil
}

// sortFields sorts the fields by alias, as Koji's QueryProcessor sends them.
func (q *Query) sortFields() {
	slices.SortStableFunc(q.fields, func(a, b field) int { return strings.Compare(a.alias, b.alias) })
}

func (q *Query) keys() []string {
	keys := make([]string, len(q.fields))
	for i, f := range q.fields {
		keys[i] = f.alias
	}
	return keys
}

func AnyList[T any](list []T) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}
