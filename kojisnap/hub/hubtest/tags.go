package hubtest

func getTag(c *call) any {
	return orNil(c.tag(c.arg("tagInfo"), c.flag("strict"), c.arg("event"), c.flag("blocked")))
}

func getTagID(c *call) any { return c.getID("tag", c.arg("info"), c.flag("strict")) }

// tag is a tag's configuration now, at an event, or, with the event "auto", as
// it was last.
func (c *call) tag(info any, strict bool, event any, blocked bool) *Struct {
	q := whereNameOrID(c.from("tag_config").join("tag", "id", "tag_config.tag_id").left("permissions", "id", "tag_config.perm_id").
		fieldList(`id tag.id, name tag.name, perm_id, perm permissions.name, arches, locked
			maven_support, maven_include_all`), "tag", info)
	if event == "auto" {
		if event = c.revoked(info); event != nil {
			event = event.(int64) - 1
			q.fieldList("revoke_event")
		}
	}
	tag := q.at("tag_config", event).one()
	if tag == nil {
		if strict {
			generic("No such tagInfo: %s", repr(info))
		}
		return nil
	}
	tag.Set("extra", c.tagExtra(tag.Val("id"), event, blocked))
	if event != nil {
		tag.Set("query_event", event)
	}
	return tag
}

// revoked is when the last configuration of a tag was revoked, nil if it is
// active.
func (c *call) revoked(info any) any {
	rows := rowsInOrder(whereNameOrID(c.from("tag_config").join("tag", "id", "tag_config.tag_id"), "tag", info).
		fieldList("create_event, revoke_event"), "-create_event")
	if len(rows) == 0 {
		return nil
	}
	return rows[0].Val("revoke_event")
}

// tagExtra is a struct by key; a blocked key has no value. With blocked a
// value is [blocked, value].
func (c *call) tagExtra(tag, event any, blocked bool) *Struct {
	extra := &Struct{}
	for _, row := range c.from("tag_extra").eq("tag_extra.tag_id", tag).at("tag_extra", event).fieldList("key, value").rows() {
		key, value := asString(row.Val("key")), row.Val("value")
		isBlocked := value == nil
		if isBlocked && !blocked {
			continue
		}
		value = jsonField(value, "No such tag extra data: "+key)
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
	extra := tag.Val("extra").(*Struct)
	from := NewStruct("extra", &Struct{}, "arches", nil)
	tag.Set("config_inheritance", from)
	for _, link := range c.fullInheritance(tag.Val("id"), event, false) {
		if truth(link.Val("noconfig")) {
			continue
		}
		ancestor := c.tag(link.Val("parent_id"), true, event, true)
		origin := NewStruct("id", ancestor.Val("id"), "name", ancestor.Val("name"))
		if tag.Val("arches") == nil && ancestor.Val("arches") != nil {
			tag.Set("arches", ancestor.Val("arches"))
			from.Set("arches", origin)
		}
		inherited := ancestor.Val("extra").(*Struct)
		for i, key := range inherited.Keys {
			if _, ok := extra.Get(key); !ok {
				extra.Set(key, inherited.Vals[i])
				from.Val("extra").(*Struct).Set(key, origin)
			}
		}
	}
	final := &Struct{}
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
		generic("only one of build and package may be specified")
	}
	q := c.from("tag_config").join("tag", "id", "tag_config.tag_id").is("tag_config.active").
		fieldList("id tag.id, name tag.name, arches, locked, maven_support, maven_include_all")
	if c.flag("perms") {
		q.left("permissions", "id", "tag_config.perm_id").fieldList("perm_id, perm permissions.name")
	}
	switch {
	case build != nil:
		info := c.build(build, false)
		if info == nil {
			generic("No such build: %s", str(build))
		}
		q.join("tag_listing", "tag_id", "tag.id").is("tag_listing.active").eq("tag_listing.build_id", info.Val("id"))
	case pkg != nil:
		info := c.lookupName("package", pkg, false)
		if info == nil {
			generic("No such package: %s", str(pkg))
		}
		joinOwners(q.join("tag_packages", "tag_id", "tag.id").is("tag_packages.active").
			eq("tag_packages.package_id", info.Val("id")), "tag_packages", nil).
			fieldList(`owner_id users.id, owner_name users.name, blocked tag_packages.blocked
				extra_arches tag_packages.extra_arches`)
	}
	if pattern := c.arg("pattern"); pattern != nil {
		like, name := glob(str(pattern)), q.ref("tag.name")
		q.where(func(t tuple) bool { return like.MatchString(asString(name(t))) })
	}
	return q.iterate(c.arg("queryOpts"))
}

// sidetag's plugin keeps what it needs to know in tag_extra.
func listSideTags(c *call) any {
	q := c.from("tag").join("tag_extra AS te1", "tag_id", "tag.id").join("tag_extra AS te2", "tag_id", "tag.id").
		is("te1.active").eq("te1.key", "sidetag").eq("te1.value", "true").is("te2.active").eq("te2.key", "sidetag_user_id")
	owner := q.ref("te2.value")
	if user := c.arg("user"); user != nil {
		q.eq("te2.value", str(c.user(user, true).Val("id")))
	}
	if base := c.arg("basetag"); base != nil {
		q.join("tag_inheritance", "tag_id", "tag.id").is("tag_inheritance.active").
			eq("tag_inheritance.parent_id", c.tag(base, true, nil, false).Val("id"))
	}
	q.fieldList("id tag.id, name tag.name, user_id te2.value").field("user_name", func(t tuple) any {
		id, _ := toInt(owner(t), true)
		if user := c.lookupName("users", id, false); user != nil {
			return user.Val("name")
		}
		return nil
	})
	return q.execute(c.arg("queryOpts"))
}
