package hubtest

import (
	"slices"
	"sort"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

// versioned are the tables of queryHistory with their data columns.
var versioned = map[string]string{
	"user_perms":            "user_id, perm_id",
	"user_groups":           "user_id, group_id",
	"cg_users":              "user_id, cg_id",
	"tag_inheritance":       "tag_id, parent_id, priority, maxdepth, intransitive, noconfig, pkg_filter",
	"tag_config":            "tag_id, arches, perm_id, locked, maven_support, maven_include_all",
	"tag_extra":             "tag_id, key, value",
	"build_target_config":   "build_target_id, build_tag, dest_tag",
	"external_repo_config":  "external_repo_id, url",
	"external_repo_data":    "external_repo_id, data",
	"host_config":           "host_id, arches, capacity, description, comment, enabled",
	"host_channels":         "host_id, channel_id",
	"tag_external_repos":    "tag_id, external_repo_id, priority, merge_mode, arches",
	"tag_listing":           "build_id, tag_id",
	"tag_packages":          "package_id, tag_id, blocked, extra_arches",
	"tag_package_owners":    "package_id, tag_id, owner",
	"group_config":          "group_id, tag_id, blocked, exported, display_name, is_default, uservisible, description, langonly, biarchonly",
	"group_req_listing":     "group_id, tag_id, req_id, blocked, type, is_metapkg",
	"group_package_listing": "group_id, tag_id, package, blocked, type, basearchonly, requires",
}

// nameOf are the joins that give the name for a column's id: the table, its alias and the prefix of the field
// NAME.name.
var nameOf = map[string][3]string{
	"user_id":          {"users", "users", "user"},
	"perm_id":          {"permissions", "permission", "permission"},
	"cg_id":            {"content_generator", "content_generator", "content_generator"},
	"tag_id":           {"tag", "tag", "tag"},
	"host_id":          {"host", "host", "host"},
	"channel_id":       {"channels", "channels", "channels"},
	"parent_id":        {"tag", "parent", "parent"},
	"build_target_id":  {"build_target", "build_target", "build_target"},
	"build_tag":        {"tag", "build_tag", "build_tag"},
	"dest_tag":         {"tag", "dest_tag", "dest_tag"},
	"external_repo_id": {"external_repo", "external_repo", "external_repo"},
	"package_id":       {"package", "package", "package"},
	"owner":            {"users", "owner", "owner"},
	"req_id":           {"groups", "req", "req"},
}

// queryHistory returns, by table, all rows of versioned tables, also revoked ones. It leaves out a table to
// which a filter does not apply. It ignores filters that Koji does not know.
func queryHistory(c *call) any {
	var tables []string
	if list, ok := c.arg("tables").([]any); ok {
		for _, t := range list {
			if _, ok := versioned[python.AsString(t)]; !ok {
				python.Generic("No such history table: %s", python.Str(t))
			}
			tables = append(tables, python.AsString(t))
		}
	} else {
		for t := range versioned {
			tables = append(tables, t)
		}
		sort.Strings(tables)
	}
	var queryOpts any
	if c.srv.atLeast(1, 34) {
		queryOpts = c.kwargs.Val("queryOpts")
	}
	result := &python.Struct{}
	for _, table := range tables {
		h := c.history(table)
		apply := true
		for i, name := range c.kwargs.Keys {
			if apply = h.filter(name, c.kwargs.Vals[i]); !apply {
				break
			}
		}
		if apply {
			result.Set(table, h.Iterate(queryOpts))
		}
	}
	return result
}

// history is the query over one table.
type history struct {
	*query.Query
	call    *call
	table   string
	columns []string
	joined  map[string]string // alias by the table that a filter needs
}

func (c *call) history(table string) *history {
	columns := c.srv.historyColumns(table)
	h := &history{Query: c.from(table), call: c, table: table, joined: map[string]string{}, columns: strings.Split(columns, ", ")}
	h.Left("events AS ev1", "id", table+".create_event").Left("events AS ev2", "id", table+".revoke_event").
		Left("users AS creator", "id", table+".creator_id").Left("users AS revoker", "id", table+".revoker_id")
	h.FieldList(columns + `, active, create_event, revoke_event, creator_id, revoker_id
		creator_name creator.name, revoker_name revoker.name`)
	h.Epoch("create_ts", "ev1.time").Epoch("revoke_ts", "ev2.time")
	for _, column := range h.columns {
		h.name(column)
	}
	return h
}

func (h *history) name(column string) {
	if n, ok := nameOf[column]; ok {
		h.Left(n[0]+" AS "+n[1], "id", h.table+"."+column).FieldList(n[2] + ".name " + n[1] + ".name")
		h.joined[n[0]] = n[1]
		return
	}
	switch {
	case column == "build_id":
		h.Join("build", "id", h.table+".build_id").Join("package", "id", "build.pkg_id").FieldList(`name package.name
			version build.version, release build.release, epoch build.epoch, build.state build.state`)
		h.joined["build"], h.joined["package"] = "build", "package"
	case column == "group_id" && h.table == "user_groups":
		h.Join("users AS usergroup", "id", h.table+".group_id").FieldList("group.name usergroup.name")
		h.joined["users"] = "usergroup"
	case column == "group_id":
		h.Join("groups", "id", h.table+".group_id").FieldList("group.name groups.name")
		h.joined["groups"] = "groups"
	}
}

// filter adds a condition. It returns false if the filter cannot apply to the table.
func (h *history) filter(name string, v any) bool {
	c := h.call
	byID := func(table string, id func() any) bool {
		alias, ok := h.joined[table]
		if !ok {
			return false
		}
		h.Eq(alias+".id", id())
		return true
	}
	switch name {
	case "tag":
		if h.table != "tag_inheritance" {
			if _, ok := h.joined["tag"]; ok && slices.Contains(h.columns, "tag_id") {
				h.NarrowBy("tag_id", c.getID("tag", v, true))
			}
			return byID("tag", func() any { return c.getID("tag", v, true) })
		}
		id := c.getID("tag", v, true)
		h.either("tag_id", "parent_id", func(got any) any { return got == id })
	case "build":
		return byID("build", func() any { return c.build(v, true).Val("id") })
	case "host":
		return byID("host", func() any { return c.getID("host", v, false) })
	case "channel":
		return byID("channels", func() any { return c.getID("channels", v, false) })
	case "package":
		if h.table == "group_package_listing" {
			h.Eq(h.table+".package", python.Str(v))
			return true
		}
		return byID("package", func() any { return c.getID("package", v, true) })
	case "user":
		return byID("users", func() any { return c.user(v, true).Val("id") })
	case "permission":
		return byID("permissions", func() any { return c.getID("permissions", v, true) })
	case "cg":
		return byID("content_generator", func() any { return c.getID("content_generator", v, true) })
	case "external_repo":
		return byID("external_repo", func() any { return c.getID("external_repo", v, true) })
	case "build_target":
		return byID("build_target", func() any { return c.getID("build_target", v, true) })
	case "group":
		return byID("groups", func() any { return c.getID("groups", v, true) })
	case "xkey":
		if h.table != "tag_extra" {
			return false
		}
		h.Eq("tag_extra.key", python.Str(v))
	default:
		h.timeFilter(name, v)
	}
	return true
}

func (h *history) timeFilter(name string, v any) {
	switch name {
	case "active":
		active := h.Ref(h.table + ".active")
		if python.Truth(v) {
			h.Is(h.table + ".active")
		} else if v != nil {
			h.WhereOf(h.table, func(t query.Tuple) bool { return active(t) == nil })
		}
	case "editor":
		id := h.call.user(v, true).Val("id")
		h.tested("creator_id", "revoker_id", "by", func(got any) any { return equalSQL(got, id) })
	case "after", "before":
		limit := h.call.moment(v)
		create, revoke := h.Ref("ev1.time"), h.Ref("ev2.time")
		h.marked("_created_"+name, "_revoked_"+name, create, revoke, func(got any) any {
			return compared(got, query.SqlValue(limit), name == "after")
		})
	case "afterEvent", "beforeEvent":
		limit := h.Literal(h.table, "create_event", v)
		suffix := strings.TrimSuffix(name, "Event") + "_event"
		h.tested("create_event", "revoke_event", suffix, func(got any) any {
			return compared(got, query.SqlValue(limit), name == "afterEvent")
		})
	}
}

// tested requires that the test holds for one of two columns, and sends both results as the fields _created_…
// and _revoked_….
func (h *history) tested(create, revoke, suffix string, test func(any) any) {
	one, other := h.Ref(h.table+"."+create), h.Ref(h.table+"."+revoke)
	h.Field("_created_"+suffix, func(t query.Tuple) any { return test(one(t)) })
	h.Field("_revoked_"+suffix, func(t query.Tuple) any { return test(other(t)) })
	h.WhereOf(h.table, func(t query.Tuple) bool { return test(one(t)) == true || test(other(t)) == true })
}

func (h *history) marked(created, revoked string, create, revoke func(query.Tuple) any, test func(any) any) {
	h.Field(created, func(t query.Tuple) any { return test(create(t)) })
	h.Field(revoked, func(t query.Tuple) any { return test(revoke(t)) })
	h.Where(func(t query.Tuple) bool { return test(create(t)) == true || test(revoke(t)) == true })
}

func (h *history) either(a, b string, test func(any) any) {
	one, other := h.Ref(h.table+"."+a), h.Ref(h.table+"."+b)
	h.Where(func(t query.Tuple) bool { return test(one(t)) == true || test(other(t)) == true })
}

func equalSQL(got, want any) any {
	if got == nil {
		return nil
	}
	return got == want
}

// compared returns got > limit or got < limit; NULL for NULL.
func compared(got, limit any, after bool) any {
	if got == nil {
		return nil
	}
	if after {
		return kojidb.CompareSQL(got, limit) > 0
	}
	return kojidb.CompareSQL(got, limit) < 0
}
