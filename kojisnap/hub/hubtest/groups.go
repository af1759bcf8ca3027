package hubtest

// getTagGroups walks the inheritance; the first tag wins for each group, each
// package of a group and each group that a group requires.
func getTagGroups(c *call) any {
	event := c.arg("event")
	tag := c.getID("tag", c.arg("tag"), true)
	tags := c.lineage(tag, event, c.flag("inherit"))
	groups := groupsOfTags(c, tags, event)
	if c.flag("incl_pkgs") {
		addGroupMembers(c, groups, "packagelist", "package", tags, func() *query {
			return c.from("group_package_listing").
				fieldList("group_id, tag_id, package, blocked, type, basearchonly, requires").at("group_package_listing", event)
		}, func(*Struct) bool { return true })
	}
	if c.flag("incl_reqs") {
		addGroupMembers(c, groups, "grouplist", "req_id", tags, func() *query {
			return c.from("group_req_listing").join("groups", "id", "group_req_listing.req_id").
				fieldList("group_id, tag_id, req_id, blocked, type, is_metapkg, name groups.name").at("group_req_listing", event)
		}, func(row *Struct) bool {
			required := groups.byID[row.Val("req_id")]
			return required != nil && !truth(required.Val("blocked"))
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
		if !truth(g.Val("blocked")) {
			list = append(list, g)
		}
	}
	return list
}

type groupSet struct {
	order []*Struct
	byID  map[any]*Struct
}

func groupsOfTags(c *call, tags []any, event any) *groupSet {
	set := &groupSet{byID: map[any]*Struct{}}
	for _, tag := range tags {
		for _, g := range c.from("group_config").join("groups", "id", "group_config.group_id").at("group_config", event).
			eq("group_config.tag_id", tag).fieldList(`name groups.name, group_id, tag_id, blocked, exported, display_name
				is_default, uservisible, description, langonly, biarchonly`).rows() {
			if id := g.Val("group_id"); set.byID[id] == nil {
				set.byID[id] = g
				set.order = append(set.order, g)
			}
		}
	}
	return set
}

// addGroupMembers collects the rows of a listing into a member of their groups,
// each key once. Those of unknown and blocked groups are dropped.
func addGroupMembers(c *call, groups *groupSet, member, key string, tags []any, listing func() *query, wanted func(*Struct) bool) {
	for _, g := range groups.order {
		g.Set(member, []any{})
	}
	type place struct{ group, key any }
	seen := map[place]bool{}
	for _, tag := range tags {
		q := listing()
		for _, row := range q.eq(q.first()+".tag_id", tag).rows() {
			g := groups.byID[row.Val("group_id")]
			at := place{row.Val("group_id"), row.Val(key)}
			if g == nil || truth(g.Val("blocked")) || seen[at] || !wanted(row) {
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
		if !truth(r.(*Struct).Val("blocked")) {
			out = append(out, r)
		}
	}
	return out
}
