package hubtest

import (
	"strings"

	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

func getPackage(c *call) any {
	return orNil(c.lookupName("package", c.arg("info"), c.flag("strict")))
}

func getPackageID(c *call) any {
	found := c.from("package").Eq("package.name", c.arg("name")).FieldList("id").One()
	if found == nil {
		if c.flag("strict") {
			python.Generic("No such package name: %s", python.Str(c.arg("name")))
		}
		return nil
	}
	return found.Val("id")
}

func listPackagesSimple(c *call) any {
	return packagesSimple(c, c.arg("prefix"), c.arg("queryOpts"))
}

func packagesSimple(c *call, prefix, queryOpts any) any {
	q := c.from("package").FieldList("package_id package.id, package_name package.name")
	if prefix != nil {
		like, name := query.Ilike(python.Str(prefix)+"%"), q.Ref("package.name")
		q.Where(func(t query.Tuple) bool { return like.MatchString(python.AsString(name(t))) })
	}
	return q.Execute(queryOpts)
}

func listPackages(c *call) any {
	w := packageFilter{tag: c.arg("tagID"), user: c.arg("userID"), pkg: c.arg("pkgID"), event: c.arg("event"),
		inherit: c.flag("inherited"), dups: c.flag("with_dups"), owners: c.flag("with_owners"), blocked: c.flag("with_blocked")}
	if w.tag == nil && w.user == nil && w.pkg == nil {
		return packagesSimple(c, c.arg("prefix"), c.arg("queryOpts"))
	}
	if w.tag != nil {
		w.tag = c.getID("tag", w.tag, true)
	}
	if w.user != nil {
		w.user = c.user(w.user, true).Val("id")
	}
	if w.pkg != nil {
		w.pkg = c.getID("package", w.pkg, true)
	}
	prefix := strings.ToLower(python.Str(orEmpty(c.arg("prefix"))))
	rows := []any{}
	for _, row := range packagesOf(c, w).rows() {
		if prefix == "" || strings.HasPrefix(strings.ToLower(python.AsString(row.Val("package_name"))), prefix) {
			rows = append(rows, row)
		}
	}
	return query.ApplyOptions(rows, c.arg("queryOpts"))
}

func orEmpty(v any) any {
	if python.Truth(v) {
		return v
	}
	return ""
}

func getPackageConfig(c *call) any {
	tag, pkg := c.getID("tag", c.arg("tag"), false), c.getID("package", c.arg("pkg"), false)
	if tag == nil || pkg == nil {
		return nil
	}
	return orNil(packagesOf(c, packageFilter{tag: tag, pkg: pkg, event: c.arg("event"), inherit: true, owners: true, blocked: true}).get(pkg))
}

func checkTagPackage(c *call) any {
	tag, pkg := c.getID("tag", c.arg("tag"), false), c.getID("package", c.arg("pkg"), false)
	if tag == nil || pkg == nil {
		return false
	}
	row := packagesOf(c, packageFilter{tag: tag, pkg: pkg, inherit: true, blocked: true}).get(pkg)
	return row != nil && !python.Truth(row.Val("blocked"))
}

// packageFilter is what packageList is asked for: at least one of tag, user, pkg
// (an id or a name).
type packageFilter struct {
	tag, user, pkg, event any
	inherit, dups         bool
	owners, blocked       bool
}

// packages are rows by package id, in the order of the ids' first appearance.
type packages struct {
	order []any
	byID  map[any][]*python.Struct
}

func (p *packages) get(id any) *python.Struct {
	if rows := p.byID[id]; len(rows) > 0 {
		return rows[0]
	}
	return nil
}

func (p *packages) rows() (all []*python.Struct) {
	for _, id := range p.order {
		all = append(all, p.byID[id]...)
	}
	return all
}

func (p *packages) put(row *python.Struct, dups, replace bool) {
	id := row.Val("package_id")
	old, known := p.byID[id]
	switch {
	case !known:
		p.order = append(p.order, id)
		p.byID[id] = []*python.Struct{row}
	case dups:
		p.byID[id] = append(old, row)
	case replace:
		p.byID[id] = []*python.Struct{row}
	}
}

// packagesOf is Koji's readPackageList: a tag's own entries come before those that it inherits through its
// links' package filters.
func packagesOf(c *call, w packageFilter) *packages {
	list := &packages{byID: map[any][]*python.Struct{}}
	for _, row := range packageRows(c, w, w.tag) {
		list.put(row, w.dups, true)
	}
	if w.tag == nil || !w.inherit {
		return list
	}
	for _, link := range c.fullInheritance(w.tag, w.event, false) {
		filters := python.MatchAll(link.Val("filter").([]any))
		for _, row := range packageRows(c, w, link.Val("parent_id")) {
			if filters(python.AsString(row.Val("package_name"))) {
				list.put(row, w.dups, false)
			}
		}
	}
	return list
}

func packageRows(c *call, w packageFilter, tag any) []*python.Struct {
	q := c.from("tag_packages").Join("tag", "id", "tag_packages.tag_id").Join("package", "id", "tag_packages.package_id").
		FieldList(`package_id package.id, package_name package.name, tag_id tag.id, tag_name tag.name
			extra_arches, blocked`).At("tag_packages", w.event)
	if tag != nil {
		q.Eq("tag_packages.tag_id", tag)
	}
	if name, ok := w.pkg.(string); ok {
		q.Eq("package.name", name)
	} else if w.pkg != nil {
		q.Eq("tag_packages.package_id", w.pkg)
	}
	if w.owners {
		joinOwners(q, "tag_packages", w.event).FieldList("owner_id users.id, owner_name users.name")
	}
	if w.user != nil {
		q.Eq("users.id", w.user)
	}
	if !w.blocked {
		blocked := q.Ref("tag_packages.blocked")
		q.Where(func(t query.Tuple) bool { return blocked(t) == false })
	}
	return q.Rows()
}

// joinOwners joins the owner of a package in a tag. Entries without an owner are left out.
func joinOwners(q *query.Query, alias string, event any) *query.Query {
	q.Join("tag_package_owners", "package_id", alias+".package_id")
	tag, own := q.Ref(alias+".tag_id"), q.Ref("tag_package_owners.tag_id")
	q.On(func(t query.Tuple) bool { return tag(t) == own(t) })
	return q.Join("users", "id", "tag_package_owners.owner").At("tag_package_owners", event)
}
