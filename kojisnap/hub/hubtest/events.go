package hubtest

import (
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

func selectEvents(c *call) *query.Query {
	q := c.from("events").FieldList("id")
	return q.Epoch("ts", "events.time")
}

func getEvent(c *call) any {
	id, _ := python.ToInt(c.arg("id"), false)
	found := selectEvents(c).Eq("events.id", id).One()
	if found == nil && c.flag("strict") {
		python.Generic("query returned no rows")
	}
	return orNil(found)
}

// getLastEvent returns the event with the highest id that is older than before: ids decide, not times.
func getLastEvent(c *call) any {
	q := selectEvents(c)
	if before := c.arg("before"); before != nil {
		limit, ok := before.(float64)
		if n, isInt := python.Integer(before); isInt {
			limit, ok = float64(n), true
		}
		if !ok {
			python.Generic("Invalid type for before: %s", python.TypeName(before))
		}
		at := q.Ref("events.time")
		q.Where(func(t query.Tuple) bool { e, ok := query.Epoch(at(t)).(float64); return ok && e < limit })
	}
	last := q.Execute(python.NewStruct("order", "-id", "limit", int64(1))).([]any)
	if len(last) == 0 {
		if c.flag("strict") {
			python.Generic("query returned no rows")
		}
		return nil
	}
	return last[0]
}

// tagTables are the versioned tables whose rows belong to a tag and count as changes of it. Owners of
// packages do not.
var tagTables = []string{"tag_listing", "tag_inheritance", "tag_config", "tag_extra", "tag_packages",
	"tag_external_repos", "group_package_listing", "group_req_listing", "group_config"}

func tagChangedSinceEvent(c *call) any {
	event, ok := python.Integer(c.arg("event"))
	if !ok {
		python.Exception("TypeError", "%%i format: a real number is required, not %s", python.TypeName(c.arg("event")))
	}
	tags, ok := c.arg("taglist").([]any)
	if !ok || len(tags) == 0 {
		python.Exception("psycopg2.errors.SyntaxError", "syntax error at or near \"%s\"", python.Str(c.arg("taglist")))
	}
	changed := false
	eachChange(c, tags, func(e int64) { changed = changed || e > event })
	return changed
}

// eachChange calls f with each event at which one of the tags changed.
func eachChange(c *call, tags []any, f func(event int64)) {
	eachEvent(c, "tag_updates", "tag_id", tags, f, "update_event")
	for _, table := range tagTables {
		eachEvent(c, table, "tag_id", tags, f, "create_event", "revoke_event")
	}
}

func eachEvent(c *call, table, key string, ids []any, f func(int64), columns ...string) {
	t := c.Table(table)
	for _, id := range ids {
		rows := t.Where(key, id)
		for _, column := range columns {
			i := t.At(column)
			if i < 0 {
				continue
			}
			event := t.Get(i)
			for k := range rows.Len() {
				if e, ok := event(rows.At(k)).(int64); ok {
					f(e)
				}
			}
		}
	}
}

// tagLastChangeEvent also looks at external repos, as of before.
func tagLastChangeEvent(c *call) any {
	tag := c.tag(c.arg("tag"), true, "auto", false)
	deleted := tag.Val("revoke_event")
	limit, limited := python.ToInt(c.arg("before"), true)
	if !limited && deleted != nil {
		return deleted
	}
	var at any
	if limited {
		at = limit
	}
	last := int64(0)
	eachTagChange(c, tag.Val("id"), at, c.flag("inherit"), func(e int64) {
		if !limited || e < limit {
			last = max(last, e)
		}
	})
	switch {
	case last == 0:
		return nil
	case deleted != nil:
		return min(last, deleted.(int64))
	}
	return last
}

func tagFirstChangeEvent(c *call) any {
	tag := c.getID("tag", c.arg("tag"), true)
	limit, limited := python.ToInt(c.arg("after"), true)
	var created any
	eachEvent(c, "tag_config", "tag_id", []any{tag}, func(e int64) {
		if created == nil || e < created.(int64) {
			created = e
		}
	}, "create_event")
	if !limited {
		return created
	}
	var first any
	eachTagChange(c, tag, limit, c.flag("inherit"), func(e int64) {
		if e > limit && (first == nil || e < first.(int64)) {
			first = e
		}
	})
	if first == nil || created == nil {
		return first
	}
	return max(first.(int64), created.(int64))
}

func eachTagChange(c *call, tag, event any, inherit bool, f func(int64)) {
	tags := c.lineage(tag, event, inherit)
	eachChange(c, tags, f)
	var repos []any
	for _, t := range tags {
		for _, r := range tagExternalRepos(c, t, nil, event) {
			repos = append(repos, r.Val("external_repo_id"))
		}
	}
	for _, table := range []string{"external_repo_config", "external_repo_data"} {
		eachEvent(c, table, "external_repo_id", repos, f, "create_event", "revoke_event")
	}
}
