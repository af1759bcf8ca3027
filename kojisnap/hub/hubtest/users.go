package hubtest

import (
	"slices"

	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

// Koji's USERTYPES.
const userGroup = int64(2)

func getUser(c *call) any {
	user := c.user(c.arg("userInfo"), c.flag("strict"))
	if user == nil {
		return nil
	}
	if c.flag("krb_princs") {
		user.Set("krb_principals", principalsOf(c, user.Val("id")))
	}
	if c.flag("groups") {
		groups := []any{}
		for _, g := range groupsOfUser(c, user.Val("id")) {
			groups = append(groups, g.Val("name"))
		}
		user.Set("groups", groups)
	}
	return user
}

// user finds a user by id, name, Kerberos principal or a struct of them.
func (c *call) user(info any, strict bool) *python.Struct {
	q := c.from("users").FieldList("id, name, status, usertype")
	switch info := info.(type) {
	case nil:
		python.Generic("No user provided")
	case string:
		whereIdentity(q, func(name, principal any) bool { return name == info || principal == info })
	case *python.Struct:
		whereUserStruct(q, info)
	default:
		id, ok := python.Integer(info)
		if !ok {
			python.Generic("Invalid type for userInfo: %s", python.TypeName(info))
		}
		q.Eq("users.id", id)
	}
	user := q.One()
	if user == nil && strict {
		python.Generic("No such user: %s", python.Repr(info))
	}
	return user
}

func whereIdentity(q *query.Query, match func(name, principal any) bool) {
	q.Left("user_krb_principals", "user_id", "users.id")
	name, principal := q.Ref("users.name"), q.Ref("user_krb_principals.krb_principal")
	q.Where(func(t query.Tuple) bool { return match(name(t), principal(t)) })
}

func whereUserStruct(q *query.Query, info *python.Struct) {
	if text := info.Val("info"); python.Truth(text) {
		whereIdentity(q, func(name, principal any) bool { return true })
		return
	}
	if id := info.Val("id"); id != nil {
		n, ok := python.Integer(id)
		if !ok {
			python.Generic("Invalid type for userid: %s", python.TypeName(id))
		}
		q.Eq("users.id", n)
	}
	if name := info.Val("name"); python.Truth(name) {
		if _, ok := name.(string); !ok {
			python.Generic("Invalid type for username: %s", python.TypeName(name))
		}
		q.Eq("users.name", name)
	}
	if want := info.Val("krb_principal"); python.Truth(want) {
		if _, ok := want.(string); !ok {
			python.Generic("Invalid type for krb_principal: %s", python.TypeName(want))
		}
		whereIdentity(q, func(_, principal any) bool { return principal == want })
	}
}

func principalsOf(c *call, user any) []any {
	list := []any{}
	for _, row := range c.from("user_krb_principals").Eq("user_krb_principals.user_id", user).FieldList("krb_principal").Rows() {
		list = append(list, row.Val("krb_principal"))
	}
	return list
}

func listUsers(c *call) any {
	if c.flag("inherited_perm") && !c.flag("perm") {
		python.Generic("inherited_perm option must be used with perm option")
	}
	q := c.from("users").FieldList("id, name, status, usertype")
	switch kind := c.arg("userType").(type) {
	case nil:
	case []any:
		q.In("users.usertype", kind)
	default:
		n, ok := python.Integer(kind)
		if !ok {
			python.Parameter("userType must be integer, list, tuple or None")
		}
		q.Eq("users.usertype", n)
	}
	if perm := c.arg("perm"); python.Truth(perm) {
		holders := permHolders(c, c.getID("permissions", perm, true), c.flag("inherited_perm"))
		id := q.Ref("users.id")
		q.Where(func(t query.Tuple) bool { return slices.Contains(holders, id(t)) })
	}
	if prefix := c.arg("prefix"); python.Truth(prefix) {
		like, name := query.Ilike(python.Str(prefix)+"%"), q.Ref("users.name")
		q.Where(func(t query.Tuple) bool { return like.MatchString(python.AsString(name(t))) })
	}
	if opts, ok := c.arg("queryOpts").(*python.Struct); ok && python.Truth(opts.Val("group")) {
		python.Generic("queryOpts.group is not available for this API")
	}
	id := q.Ref("users.id")
	q.Field("krb_principals", func(t query.Tuple) any { return principalsOf(c, id(t)) })
	return q.Execute(c.arg("queryOpts"))
}

// permHolders lists the users who hold a permission themselves or, with inherited, through their groups.
func permHolders(c *call, perm any, inherited bool) []any {
	var users []any
	for _, row := range c.from("user_perms").Eq("user_perms.perm_id", perm).Is("user_perms.active").FieldList("user_id").Rows() {
		holder := row.Val("user_id")
		users = append(users, holder)
		if !inherited {
			continue
		}
		for _, m := range c.from("user_groups").Eq("user_groups.group_id", holder).Is("user_groups.active").FieldList("user_id").Rows() {
			users = append(users, m.Val("user_id"))
		}
	}
	return users
}

func getUserPerms(c *call) any {
	names := []any{}
	for _, name := range userPerms(c, c.flag("with_groups")).Keys {
		names = append(names, name)
	}
	return names
}

// getUserPermsInheritance returns, for each permission, the groups that it comes from; None stands for the
// user.
func getUserPermsInheritance(c *call) any { return userPerms(c, true) }

func userPerms(c *call, withGroups bool) *python.Struct {
	id := c.user(c.arg("userID"), true).Val("id")
	perms := &python.Struct{}
	add := func(q *query.Query) {
		for _, row := range q.Rows() {
			name := python.AsString(row.Val("name"))
			from, _ := perms.Val(name).([]any)
			perms.Set(name, append(from, row.Val("group")))
		}
	}
	add(c.from("user_perms").Join("permissions", "id", "user_perms.perm_id").
		Eq("user_perms.user_id", id).Is("user_perms.active").FieldList("name permissions.name"))
	if withGroups {
		add(c.from("user_groups").Join("user_perms", "user_id", "user_groups.group_id").
			Join("permissions", "id", "user_perms.perm_id").Join("users", "id", "user_groups.group_id").
			Eq("user_groups.user_id", id).Is("user_groups.active").Is("user_perms.active").
			FieldList("name permissions.name, group users.name"))
	}
	return perms
}

func groupsOfUser(c *call, user any) []*python.Struct {
	return c.from("user_groups").Join("users", "id", "user_groups.group_id").Eq("user_groups.user_id", user).
		Eq("users.usertype", userGroup).Is("user_groups.active").FieldList("id user_groups.group_id, name users.name").Rows()
}

func getUserGroups(c *call) any {
	return query.AnyList(groupsOfUser(c, c.user(c.arg("user"), true).Val("id")))
}

func getGroupMembers(c *call) any {
	group := c.user(c.arg("group"), false)
	if group == nil || group.Val("usertype") != userGroup {
		python.Generic("No such group: %s", python.Str(c.arg("group")))
	}
	q := c.from("user_groups").Join("users", "id", "user_groups.user_id").Eq("user_groups.group_id", group.Val("id")).
		Is("user_groups.active").FieldList("id users.id, name users.name, usertype users.usertype")
	id := q.Ref("users.id")
	q.Field("krb_principals", func(t query.Tuple) any { return principalsOf(c, id(t)) })
	return q.Iterate(nil)
}
