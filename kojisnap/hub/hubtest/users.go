package hubtest

import "slices"

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
func (c *call) user(info any, strict bool) *Struct {
	q := c.from("users").fieldList("id, name, status, usertype")
	switch info := info.(type) {
	case nil:
		generic("No user provided")
	case string:
		whereIdentity(q, func(name, principal any) bool { return name == info || principal == info })
	case *Struct:
		whereUserStruct(q, info)
	default:
		id, ok := integer(info)
		if !ok {
			generic("Invalid type for userInfo: %s", typeName(info))
		}
		q.eq("users.id", id)
	}
	user := q.one()
	if user == nil && strict {
		generic("No such user: %s", repr(info))
	}
	return user
}

func whereIdentity(q *query, match func(name, principal any) bool) {
	q.left("user_krb_principals", "user_id", "users.id")
	name, principal := q.ref("users.name"), q.ref("user_krb_principals.krb_principal")
	q.where(func(t tuple) bool { return match(name(t), principal(t)) })
}

func whereUserStruct(q *query, info *Struct) {
	if text := info.Val("info"); truth(text) {
		whereIdentity(q, func(name, principal any) bool { return true })
		return
	}
	if id := info.Val("id"); id != nil {
		n, ok := integer(id)
		if !ok {
			generic("Invalid type for userid: %s", typeName(id))
		}
		q.eq("users.id", n)
	}
	if name := info.Val("name"); truth(name) {
		if _, ok := name.(string); !ok {
			generic("Invalid type for username: %s", typeName(name))
		}
		q.eq("users.name", name)
	}
	if want := info.Val("krb_principal"); truth(want) {
		if _, ok := want.(string); !ok {
			generic("Invalid type for krb_principal: %s", typeName(want))
		}
		whereIdentity(q, func(_, principal any) bool { return principal == want })
	}
}

func principalsOf(c *call, user any) []any {
	list := []any{}
	for _, row := range c.from("user_krb_principals").eq("user_krb_principals.user_id", user).fieldList("krb_principal").rows() {
		list = append(list, row.Val("krb_principal"))
	}
	return list
}

func listUsers(c *call) any {
	if c.flag("inherited_perm") && !c.flag("perm") {
		generic("inherited_perm option must be used with perm option")
	}
	q := c.from("users").fieldList("id, name, status, usertype")
	switch kind := c.arg("userType").(type) {
	case nil:
	case []any:
		q.in("users.usertype", kind)
	default:
		n, ok := integer(kind)
		if !ok {
			parameter("userType must be integer, list, tuple or None")
		}
		q.eq("users.usertype", n)
	}
	if perm := c.arg("perm"); truth(perm) {
		holders := permHolders(c, c.getID("permissions", perm, true), c.flag("inherited_perm"))
		id := q.ref("users.id")
		q.where(func(t tuple) bool { return slices.Contains(holders, id(t)) })
	}
	if prefix := c.arg("prefix"); truth(prefix) {
		like, name := ilike(str(prefix)+"%"), q.ref("users.name")
		q.where(func(t tuple) bool { return like.MatchString(asString(name(t))) })
	}
	if opts, ok := c.arg("queryOpts").(*Struct); ok && truth(opts.Val("group")) {
		generic("queryOpts.group is not available for this API")
	}
	id := q.ref("users.id")
	q.field("krb_principals", func(t tuple) any { return principalsOf(c, id(t)) })
	return q.execute(c.arg("queryOpts"))
}

// permHolders lists the users who hold a permission themselves, or also
// through their groups.
func permHolders(c *call, perm any, inherited bool) []any {
	var users []any
	for _, row := range c.from("user_perms").eq("user_perms.perm_id", perm).is("user_perms.active").fieldList("user_id").rows() {
		holder := row.Val("user_id")
		users = append(users, holder)
		if !inherited {
			continue
		}
		for _, m := range c.from("user_groups").eq("user_groups.group_id", holder).is("user_groups.active").fieldList("user_id").rows() {
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

// getUserPermsInheritance is a struct by permission of the groups that it
// comes from; None stands for the user.
func getUserPermsInheritance(c *call) any { return userPerms(c, true) }

func userPerms(c *call, withGroups bool) *Struct {
	id := c.user(c.arg("userID"), true).Val("id")
	perms := &Struct{}
	add := func(q *query) {
		for _, row := range q.rows() {
			name := asString(row.Val("name"))
			from, _ := perms.Val(name).([]any)
			perms.Set(name, append(from, row.Val("group")))
		}
	}
	add(c.from("user_perms").join("permissions", "id", "user_perms.perm_id").
		eq("user_perms.user_id", id).is("user_perms.active").fieldList("name permissions.name"))
	if withGroups {
		add(c.from("user_groups").join("user_perms", "user_id", "user_groups.group_id").
			join("permissions", "id", "user_perms.perm_id").join("users", "id", "user_groups.group_id").
			eq("user_groups.user_id", id).is("user_groups.active").is("user_perms.active").
			fieldList("name permissions.name, group users.name"))
	}
	return perms
}

func groupsOfUser(c *call, user any) []*Struct {
	return c.from("user_groups").join("users", "id", "user_groups.group_id").eq("user_groups.user_id", user).
		eq("users.usertype", userGroup).is("user_groups.active").fieldList("id user_groups.group_id, name users.name").rows()
}

func getUserGroups(c *call) any {
	return anyList(groupsOfUser(c, c.user(c.arg("user"), true).Val("id")))
}

func getGroupMembers(c *call) any {
	group := c.user(c.arg("group"), false)
	if group == nil || group.Val("usertype") != userGroup {
		generic("No such group: %s", str(c.arg("group")))
	}
	q := c.from("user_groups").join("users", "id", "user_groups.user_id").eq("user_groups.group_id", group.Val("id")).
		is("user_groups.active").fieldList("id users.id, name users.name, usertype users.usertype")
	id := q.ref("users.id")
	q.field("krb_principals", func(t tuple) any { return principalsOf(c, id(t)) })
	return q.iterate(nil)
}
