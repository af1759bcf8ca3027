package hubtest

import (
	"strings"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

// fieldMap is a query whose fields, conditions and order the caller chooses (Koji's QueryView). The map has
// Koji's order, which the field "*" shows.
type fieldMap struct {
	names []string
	ref   map[string]string // with "ts:" in front for a time that is sent as seconds
	joins map[string]bool   // fields that need a join: "*" leaves them out
}

func newFieldMap(list string) fieldMap {
	m := fieldMap{ref: map[string]string{}, joins: map[string]bool{}}
	for _, f := range strings.Fields(list) {
		name, ref, _ := strings.Cut(f, "=")
		if joined, ok := strings.CutPrefix(ref, "+"); ok {
			ref, m.joins[name] = joined, true
		}
		m.names = append(m.names, name)
		m.ref[name] = ref
	}
	return m
}

var repoFields = newFieldMap(`id=repo.id tag_id=repo.tag_id creation_time=repo.creation_time creation_ts=ts:repo.creation_time
	state_time=repo.state_time state_ts=ts:repo.state_time create_event=repo.create_event create_ts=+ts:create_ev.time
	begin_event=repo.begin_event begin_ts=+ts:begin_ev.time end_event=repo.end_event end_ts=+ts:end_ev.time
	state=repo.state dist=repo.dist opts=repo.opts custom_opts=repo.custom_opts task_id=repo.task_id
	task_state=+task.state tag_name=+tag.name`)

var repoDefault = []any{"id", "tag_id", "create_event", "state", "dist", "task_id", "opts", "custom_opts"}

func selectRepos(c *call) *query.Query {
	return c.from("repo").Join("tag", "id", "repo.tag_id").Join("events AS create_ev", "id", "repo.create_event").
		Left("events AS begin_ev", "id", "repo.begin_event").Left("events AS end_ev", "id", "repo.end_event").
		Left("task", "id", "repo.task_id")
}

var queueFields = newFieldMap(`id=repo_queue.id create_time=repo_queue.create_time create_ts=ts:repo_queue.create_time
	owner=repo_queue.owner owner_name=+users.name priority=repo_queue.priority tag_id=repo_queue.tag_id tag_name=+tag.name
	at_event=repo_queue.at_event min_event=repo_queue.min_event opts=repo_queue.opts update_time=repo_queue.update_time
	update_ts=ts:repo_queue.update_time active=repo_queue.active task_id=repo_queue.task_id task_state=+task.state
	tries=repo_queue.tries repo_id=repo_queue.repo_id`)

var queueDefault = []any{"id", "tag_id", "at_event", "min_event", "create_ts", "task_id", "tries", "repo_id", "opts", "active", "update_ts"}

func repoQuery(c *call) any {
	return repoFields.query(selectRepos(c), c.arg("clauses"), c.arg("fields"), repoDefault, c.arg("opts"))
}

func repoQueueQuery(c *call) any {
	q := c.from("repo_queue").Left("tag", "id", "repo_queue.tag_id").Left("users", "id", "repo_queue.owner").
		Left("task", "id", "repo_queue.task_id")
	return queueFields.query(q, c.arg("clauses"), c.arg("fields"), queueDefault, c.arg("opts"))
}

// query answers with the fields that the caller names.
func (m fieldMap) query(q *query.Query, clauses, fields any, byDefault []any, opts any) any {
	if s, ok := opts.(*python.Struct); ok && python.Truth(s.Val("order")) {
		for _, name := range strings.Split(python.Str(s.Val("order")), ",") {
			m.check(strings.TrimPrefix(name, "-"))
		}
	}
	list, _ := clauses.([]any)
	for _, clause := range list {
		m.clause(q, clause)
	}
	requested := byDefault
	switch f := fields.(type) {
	case string:
		if f != "" {
			requested = []any{f}
		}
	case []any:
		if len(f) > 0 {
			requested = f
		}
	}
	m.add(q, m.expand(requested))
	return m.execute(q, opts)
}

func (m fieldMap) expand(requested []any) []string {
	var names []string
	for _, f := range requested {
		switch f {
		case "*":
			for _, name := range m.names {
				if !m.joins[name] {
					names = append(names, name)
				}
			}
		case "**":
			names = append(names, m.names...)
		default:
			m.check(python.Str(f))
			names = append(names, python.Str(f))
		}
	}
	return names
}

func (m fieldMap) check(name string) {
	if _, ok := m.ref[name]; !ok {
		python.Parameter("Invalid field for query %s", name)
	}
}

func (m fieldMap) add(q *query.Query, names []string) {
	seen := map[string]bool{}
	for _, name := range names {
		if !seen[name] {
			q.Field(name, m.value(q, name))
		}
		seen[name] = true
	}
}

func (m fieldMap) value(q *query.Query, name string) func(query.Tuple) any {
	ref, seconds := strings.CutPrefix(m.ref[name], "ts:")
	value := q.Ref(ref)
	if seconds {
		return func(t query.Tuple) any { return query.Epoch(value(t)) }
	}
	return value
}

// execute can order by each field of the map, even if it is not sent.
func (m fieldMap) execute(q *query.Query, opts any) any {
	o := query.ReadOptions(opts)
	var order []query.Term
	if o.Order != "" && !o.CountOnly {
		for _, name := range strings.Split(o.Order, ",") {
			name, desc := strings.CutPrefix(name, "-")
			order = append(order, query.Term{Alias: name, Value: m.value(q, name), Desc: desc})
		}
	}
	return q.Run(o, order)
}

// clause adds a condition: [field, value] or [field, operator, value].
func (m fieldMap) clause(q *query.Query, clause any) {
	parts, _ := clause.([]any)
	var name, op string
	var v any
	switch len(parts) {
	case 2:
		name, op, v = python.Str(parts[0]), "=", parts[1]
		if _, ok := v.([]any); ok {
			op = "IN"
		}
	case 3:
		name, op, v = python.Str(parts[0]), strings.ToUpper(python.Str(parts[1])), parts[2]
	default:
		python.Parameter("Invalid clause: %s", python.Repr(clause))
	}
	test := operators[op]
	if test == nil {
		python.Parameter("Invalid operator: %s", op)
	}
	m.check(name)
	ref := strings.TrimPrefix(m.ref[name], "ts:")
	alias, column, _ := strings.Cut(ref, ".")
	if list, ok := v.([]any); ok && op == "IN" {
		typed := make([]any, len(list))
		for i := range list {
			typed[i] = q.Literal(alias, column, list[i])
		}
		v = typed
	} else if m.ref[name] == ref && op != "@>" && op != "<@" {
		v = q.Literal(alias, column, v)
	}
	value := m.value(q, name)
	q.Where(func(t query.Tuple) bool { return test(value(t), query.SqlValue(v)) })
}

var operators = map[string]func(got, want any) bool{
	"=":      func(a, b any) bool { return a != nil && b != nil && kojidb.CompareSQL(a, b) == 0 },
	"!=":     func(a, b any) bool { return a != nil && b != nil && kojidb.CompareSQL(a, b) != 0 },
	">":      func(a, b any) bool { return a != nil && b != nil && kojidb.CompareSQL(a, b) > 0 },
	"<":      func(a, b any) bool { return a != nil && b != nil && kojidb.CompareSQL(a, b) < 0 },
	">=":     func(a, b any) bool { return a != nil && b != nil && kojidb.CompareSQL(a, b) >= 0 },
	"<=":     func(a, b any) bool { return a != nil && b != nil && kojidb.CompareSQL(a, b) <= 0 },
	"IS":     func(a, b any) bool { return a == b },
	"IS NOT": func(a, b any) bool { return a != b },
	"IN": func(a, b any) bool {
		for _, v := range b.([]any) {
			if a != nil && a == query.SqlValue(v) {
				return true
			}
		}
		return false
	},
	"@>": func(a, b any) bool { return containsJSON(a, jsonArgument(b)) },
	"<@": func(a, b any) bool { return containsJSON(jsonArgument(b), a) },
}

func jsonArgument(v any) any {
	v, err := python.ParseJSON(python.AsString(v))
	if err != nil {
		python.Exception("psycopg2.errors.InvalidTextRepresentation", "invalid input syntax for type json")
	}
	return v
}

// containsJSON is jsonb's @> for structs: whole has each member of part.
func containsJSON(whole, part any) bool {
	w, ok1 := whole.(*python.Struct)
	p, ok2 := part.(*python.Struct)
	if !ok1 || !ok2 {
		return whole != nil && python.Repr(whole) == python.Repr(part)
	}
	for i, key := range p.Keys {
		v, ok := w.Get(key)
		if !ok || !containsJSON(v, p.Vals[i]) && !(v == nil && p.Vals[i] == nil) {
			return false
		}
	}
	return true
}

// Koji's REPO_STATES.
const (
	repoReady   = int64(1)
	repoDeleted = int64(3)
)

func repoInfo(c *call) any {
	var id any
	if n, ok := python.ToInt(c.arg("repo_id"), true); ok {
		id = n
	}
	q := selectRepos(c).Eq("repo.id", id)
	repoFields.add(q, repoFields.names)
	repo := q.One()
	if repo == nil && c.flag("strict") {
		python.Generic("query returned no rows")
	}
	return orNil(repo)
}

func getActiveRepos(c *call) any {
	return repoFields.query(selectRepos(c), []any{[]any{"state", "!=", repoDeleted}}, []any{"id", "tag_id", "create_event", "create_ts",
		"state", "dist", "task_id", "tag_name", "creation_ts", "state_ts", "end_event", "opts"}, nil, nil)
}

// getRepo returns the newest repo of a tag. With an event, its state does not matter.
func getRepo(c *call) any {
	q := selectRepos(c).Eq("repo.tag_id", c.getID("tag", c.arg("tag"), true))
	state, hasState := python.ToInt(c.arg("state"), true)
	event, _ := python.ToInt(c.arg("event"), true)
	least, hasLeast := python.ToInt(c.arg("min_event"), true)
	q.Eq("repo.dist", c.flag("dist"))
	created := q.Ref("repo.create_event")
	if event != 0 {
		q.Where(func(t query.Tuple) bool { return python.AsInt(created(t)) <= event })
	} else {
		if !hasState {
			state = repoReady
		}
		q.Eq("repo.state", state)
	}
	if hasLeast {
		q.Where(func(t query.Tuple) bool { return python.AsInt(created(t)) >= least })
	}
	repoFields.add(q, repoFields.names)
	rows := q.Execute(python.NewStruct("order", "-creation_time", "limit", int64(1))).([]any)
	if len(rows) == 0 {
		return nil
	}
	return rows[0]
}
