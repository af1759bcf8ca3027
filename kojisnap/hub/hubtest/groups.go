package hubtest

import (
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

// getTagGroups walks the inheritance. For each group, each package of a group and each group that a group
// requires, the first tag with an entry counts.
func getTagGroups(c *call) any {
	event := c.arg("event")
	tag := c.getID("tag", c.arg("tag"), true)
	tags := c.lineage(tag, event, c.flag("inherit"))
	groups := groupsOfTags(c, tags, event)
	if c.flag("incl_pkgs") {
		addGroupMembers(c, groups, "packagelist", "package", tags, func() *query.Query {
			return c.from("group_package_listing").
				FieldList("group_id, tag_id, package, blocked, type, basearchonly, requires").At("group_package_listing", event)
		}, func(*python.Struct) bool { return true })
	}
	if c.flag("incl_reqs") {
		addGroupMembers(c, groups, "grouplist", "req_id", tags, func() *query.Query {
			return c.from("group_req_listing").Join("groups", "id", "group_req_listing.req_id").
				FieldList("group_id, tag_id, req_id, blocked, type, is_metapkg, name groups.name").At("group_req_listing", event)
		}, func(row *python.Struct) bool {
			required := groups.byID[row.Val("req_id")]
			return required != nil && !python.Truth(required.Val("blocked"))
		})
	}
	list := []any{}
	for _, g := range groups.order {
		if c.flag("incl_blocked") {
			list = append(list, g)
			continue
		}
		for _, key := range []string{"packagelist", "grouplist"} {
			if members, ok := g.Val(key).([]any); ok {
				g.Set(key, unblocked(members))
			}
		}
		if !python.Truth(g.Val("blocked")) {
			list = append(list, g)
		}
	}
	return list
}

type groupSet struct {
	order []*python.Struct
	byID  map[any]*python.Struct
}

func groupsOfTags(c *call, tags []any, event any) *groupSet {
	set := &groupSet{byID: map[any]*python.Struct{}}
	for _, tag := range tags {
		for _, g := range c.from("group_config").Join("groups", "id", "group_config.group_id").At("group_config", event).
			Eq("group_config.tag_id", tag).FieldList(`name groups.name, group_id, tag_id, blocked, exported, display_name
				is_default, uservisible, description, langonly, biarchonly`).Rows() {
			if id := g.Val("group_id"); set.byID[id] == nil {
				set.byID[id] = g
				set.order = append(set.order, g)
			}
		}
	}
	return set
}

// addGroupMembers collects the rows of a listing into a member of their groups, each key once. It drops rows
// of unknown and blocked groups.
func addGroupMembers(c *call, groups *groupSet, member, key string, tags []any, listing func() *query.Query, wanted func(*python.Struct) bool) {
	for _, g := range groups.order {
		g.Set(member, []any{})
	}
	type place struct{ group, key any }
	seen := map[place]bool{}
	for _, tag := range tags {
		q := listing()
		for _, row := range q.Eq(q.First()+".tag_id", tag).Rows() {
			g := groups.byID[row.Val("group_id")]
			at := place{row.Val("group_id"), row.Val(key)}
			if g == nil || python.Truth(g.Val("blocked")) || seen[at] || !wanted(row) {
				continue
			}
			seen[at] = true
			g.Set(member, append(g.Val(member).([]any), row))
		}
	}
}

func unblocked(rows []any) []any {
	out := []any{}
	for _, r := range rows {
		if !python.Truth(r.(*python.Struct).Val("blocked")) {
			out = append(out, r)
		}
	}
	return out
}
