package hubtest

import (
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

func getTag(c *call) any {
	return orNil(c.tag(c.arg("tagInfo"), c.flag("strict"), c.arg("event"), c.flag("blocked")))
}

func getTagID(c *call) any { return c.getID("tag", c.arg("info"), c.flag("strict")) }

// tag returns a tag's configuration: now, at an event, or, with the event "auto", its last one.
func (c *call) tag(info any, strict bool, event any, blocked bool) *python.Struct {
	q := whereNameOrID(c.from("tag_config").Join("tag", "id", "tag_config.tag_id").Left("permissions", "id", "tag_config.perm_id").
		FieldList(`id tag.id, name tag.name, perm_id, perm permissions.name, arches, locked
			maven_support, maven_include_all`), "tag", info)
	if event == "auto" {
		if event = c.revoked(info); event != nil {
			event = event.(int64) - 1
			q.FieldList("revoke_event")
		}
	}
	tag := q.At("tag_config", event).One()
	if tag == nil {
		if strict {
			python.Generic("No such tagInfo: %s", python.Repr(info))
		}
		return nil
	}
	tag.Set("extra", c.tagExtra(tag.Val("id"), event, blocked))
	if event != nil {
		tag.Set("query_event", event)
	}
	return tag
}

// revoked returns when the last configuration of a tag was revoked, nil if it is active.
func (c *call) revoked(info any) any {
	rows := rowsInOrder(whereNameOrID(c.from("tag_config").Join("tag", "id", "tag_config.tag_id"), "tag", info).
		FieldList("create_event, revoke_event"), "-create_event")
	if len(rows) == 0 {
		return nil
	}
	return rows[0].Val("revoke_event")
}

// tagExtra returns a struct by key. A blocked key has no value; with blocked, each value is [blocked, value].
func (c *call) tagExtra(tag, event any, blocked bool) *python.Struct {
	extra := &python.Struct{}
	for _, row := range c.from("tag_extra").Eq("tag_extra.tag_id", tag).At("tag_extra", event).FieldList("key, value").Rows() {
		key, value := python.AsString(row.Val("key")), row.Val("value")
		isBlocked := value == nil
		if isBlocked && !blocked {
			continue
		}
		value = query.JsonField(value, "No such tag extra data: "+key)
		if blocked {
			value = []any{isBlocked, value}
		}
		extra.Set(key, value)
	}
	return extra
}

// getBuildConfig is getTag with the arches and the extra that a tag inherits.
func getBuildConfig(c *call) any {
	event := c.arg("event")
	tag := c.tag(c.arg("tag"), true, event, true)
	extra := tag.Val("extra").(*python.Struct)
	from := python.NewStruct("extra", &python.Struct{}, "arches", nil)
	tag.Set("config_inheritance", from)
	for _, link := range c.fullInheritance(tag.Val("id"), event, false) {
		if python.Truth(link.Val("noconfig")) {
			continue
		}
		ancestor := c.tag(link.Val("parent_id"), true, event, true)
		origin := python.NewStruct("id", ancestor.Val("id"), "name", ancestor.Val("name"))
		if tag.Val("arches") == nil && ancestor.Val("arches") != nil {
			tag.Set("arches", ancestor.Val("arches"))
			from.Set("arches", origin)
		}
		inherited := ancestor.Val("extra").(*python.Struct)
		for i, key := range inherited.Keys {
			if _, ok := extra.Get(key); !ok {
				extra.Set(key, inherited.Vals[i])
				from.Val("extra").(*python.Struct).Set(key, origin)
			}
		}
	}
	final := &python.Struct{}
	for i, key := range extra.Keys {
		if pair := extra.Vals[i].([]any); pair[0] == false {
			final.Set(key, pair[1])
		}
	}
	tag.Set("extra", final)
	return tag
}

func listTags(c *call) any {
	build, pkg := c.arg("build"), c.arg("package")
	if build != nil && pkg != nil {
		python.Generic("only one of build and package may be specified")
	}
	q := c.from("tag_config").Join("tag", "id", "tag_config.tag_id").Is("tag_config.active").
		FieldList("id tag.id, name tag.name, arches, locked, maven_support, maven_include_all")
	if c.flag("perms") {
		q.Left("permissions", "id", "tag_config.perm_id").FieldList("perm_id, perm permissions.name")
	}
	switch {
	case build != nil:
		info := c.build(build, false)
		if info == nil {
			python.Generic("No such build: %s", python.Str(build))
		}
		q.Join("tag_listing", "tag_id", "tag.id").Is("tag_listing.active").Eq("tag_listing.build_id", info.Val("id"))
	case pkg != nil:
		info := c.lookupName("package", pkg, false)
		if info == nil {
			python.Generic("No such package: %s", python.Str(pkg))
		}
		joinOwners(q.Join("tag_packages", "tag_id", "tag.id").Is("tag_packages.active").
			Eq("tag_packages.package_id", info.Val("id")), "tag_packages", nil).
			FieldList(`owner_id users.id, owner_name users.name, blocked tag_packages.blocked
				extra_arches tag_packages.extra_arches`)
	}
	if pattern := c.arg("pattern"); pattern != nil {
		like, name := query.Glob(python.Str(pattern)), q.Ref("tag.name")
		q.Where(func(t query.Tuple) bool { return like.MatchString(python.AsString(name(t))) })
	}
	return q.Iterate(c.arg("queryOpts"))
}

// The plugin sidetag keeps its data in tag_extra.
func listSideTags(c *call) any {
	q := c.from("tag").Join("tag_extra AS te1", "tag_id", "tag.id").Join("tag_extra AS te2", "tag_id", "tag.id").
		Is("te1.active").Eq("te1.key", "sidetag").Eq("te1.value", "true").Is("te2.active").Eq("te2.key", "sidetag_user_id")
	owner := q.Ref("te2.value")
	if user := c.arg("user"); user != nil {
		q.Eq("te2.value", python.Str(c.user(user, true).Val("id")))
	}
	if base := c.arg("basetag"); base != nil {
		q.Join("tag_inheritance", "tag_id", "tag.id").Is("tag_inheritance.active").
			Eq("tag_inheritance.parent_id", c.tag(base, true, nil, false).Val("id"))
	}
	q.FieldList("id tag.id, name tag.name, user_id te2.value").Field("user_name", func(t query.Tuple) any {
		id, _ := python.ToInt(owner(t), true)
		if user := c.lookupName("users", id, false); user != nil {
			return user.Val("name")
		}
		return nil
	})
	return q.Execute(c.arg("queryOpts"))
}

func getBuildTargets(c *call) any {
	return c.buildTargets(c.arg("info"), c.arg("event"), c.arg("buildTagID"), c.arg("destTagID")).Execute(c.arg("queryOpts"))
}

func getBuildTarget(c *call) any {
	targets := c.buildTargets(c.arg("info"), c.arg("event"), nil, nil).Rows()
	if len(targets) == 1 {
		return targets[0]
	}
	if c.flag("strict") {
		python.Generic("No such build target: %s", python.Str(c.arg("info")))
	}
	return nil
}

func (c *call) buildTargets(info, event, buildTag, destTag any) *query.Query {
	q := c.from("build_target_config").Join("build_target", "id", "build_target_config.build_target_id").
		Join("tag AS tag1", "id", "build_target_config.build_tag").Join("tag AS tag2", "id", "build_target_config.dest_tag").
		FieldList(`id build_target.id, name build_target.name, build_tag, dest_tag
			build_tag_name tag1.name, dest_tag_name tag2.name`).At("build_target_config", event)
	if python.Truth(info) {
		whereNameOrID(q, "build_target", info)
	}
	for column, tag := range map[string]any{"build_tag": buildTag, "dest_tag": destTag} {
		switch tag.(type) {
		case nil:
			continue
		case string, *python.Struct:
			tag = c.getID("tag", tag, false)
		}
		q.Eq("build_target_config."+column, tag)
	}
	return q
}
