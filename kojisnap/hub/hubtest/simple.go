package hubtest

import (
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

func hello(*call) any         { return "Hello World" }
func echo(c *call) any        { return append([]any{}, c.rest...) }
func getAPIVersion(*call) any { return int64(1) }

func getKojiVersion(c *call) any { return c.srv.opts.KojiVersion }

func getLoggedInUser(*call) any { return nil }

func showSession(*call) any {
	return "session: not logged in (no session header or session args)"
}

func listMethods(c *call) any {
	names := make([]any, len(c.srv.signatures()))
	for name, s := range c.srv.signatures() {
		names[s.position] = name
	}
	return names
}

// listAPI is _listapi without the documentation, which is Koji's.
func listAPI(c *call) any {
	list := make([]any, len(c.srv.signatures()))
	for name, s := range c.srv.signatures() {
		list[s.position] = python.NewStruct("name", name, "doc", nil, "argspec", s.argspec, "argdesc", s.argdesc, "args", s.args)
	}
	return list
}

func methodHelp(c *call) any {
	s := c.srv.signatures()[python.AsString(c.arg("method"))]
	if s == nil {
		return ""
	}
	return s.name + s.argdesc
}

func listVolumes(c *call) any { return c.from("volume").FieldList("id, name").Execute(nil) }

func getVolume(c *call) any {
	s := c.lookupName("volume", c.arg("volume"), false)
	if s == nil && c.flag("strict") {
		python.Generic("No such volume: %s", python.Str(c.arg("volume")))
	}
	return orNil(s)
}

func listBTypes(c *call) any {
	q := c.from("btype").FieldList("id, name")
	if by, ok := c.arg("query").(*python.Struct); ok {
		for _, key := range []string{"name", "id"} {
			if v, ok := by.Get(key); ok {
				q.Eq("btype."+key, v)
			}
		}
	}
	return q.Execute(c.arg("queryOpts"))
}

func getArchiveTypes(c *call) any {
	return selectArchiveTypes(c).Execute(python.NewStruct("order", "id"))
}

func selectArchiveTypes(c *call) *query.Query {
	return c.from("archivetypes").FieldList("id, name, description, extensions, compression_type")
}

func getArchiveType(c *call) any {
	var found *python.Struct
	switch {
	case c.flag("type_id"):
		found = selectArchiveTypes(c).Eq("archivetypes.id", c.arg("type_id")).One()
	case c.flag("type_name"):
		found = selectArchiveTypes(c).Eq("archivetypes.name", c.arg("type_name")).One()
	default:
		python.Generic("one of filename, type_name, or type_id must be specified")
	}
	if found == nil && c.flag("strict") {
		python.Generic("query returned no rows")
	}
	return orNil(found)
}

func getAllPerms(c *call) any {
	return c.from("permissions").FieldList("id, name, description").Execute(python.NewStruct("order", "id"))
}

// listCGs returns, by name, the content generators that have a user.
func listCGs(c *call) any {
	q := c.from("cg_users").Join("content_generator", "id", "cg_users.cg_id").Join("users", "id", "cg_users.user_id").
		Is("cg_users.active").FieldList("id content_generator.id, name content_generator.name, user_name users.name")
	cgs := &python.Struct{}
	for _, row := range q.Rows() {
		name := python.AsString(row.Val("name"))
		if _, ok := cgs.Get(name); !ok {
			cgs.Set(name, python.NewStruct("id", row.Val("id"), "users", []any{}))
		}
		cg := cgs.Val(name).(*python.Struct)
		cg.Set("users", append(cg.Val("users").([]any), row.Val("user_name")))
	}
	return cgs
}

func getBuildNotifications(c *call) any {
	user := c.user(c.arg("userID"), true)
	return c.from("build_notifications").FieldList("id, user_id, package_id, tag_id, success_only, email").
		Eq("build_notifications.user_id", user.Val("id")).Execute(nil)
}

func getBuildNotificationBlocks(c *call) any {
	user := c.user(c.arg("userID"), true)
	return c.from("build_notifications_block").FieldList("id, user_id, package_id, tag_id").
		Eq("build_notifications_block.user_id", user.Val("id")).Execute(nil)
}
