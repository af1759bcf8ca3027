package generate

import (
	"errors"
	"fmt"
	"slices"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
)

// keyColumns are the columns that identify the subject of a versioned table's row.
var keyColumns = map[string][]string{
	"tag_config": {"tag_id"}, "tag_extra": {"tag_id", "key"}, "tag_inheritance": {"tag_id", "parent_id"},
	"tag_packages": {"package_id", "tag_id"}, "tag_package_owners": {"package_id", "tag_id"}, "tag_listing": {"build_id", "tag_id"},
	"build_target_config": {"build_target_id"}, "external_repo_config": {"external_repo_id"}, "tag_external_repos": {"tag_id", "external_repo_id"},
	"group_config": {"group_id", "tag_id"}, "group_req_listing": {"group_id", "tag_id", "req_id"}, "group_package_listing": {"group_id", "tag_id", "package"},
}

// Change changes the row with one key in a versioned table, as Koji's calls do: it adds it, removes it, edits
// it, or removes it and adds it again. It returns "" if Koji would refuse, or if the key refers to something
// that does not exist.
func (m *Mutator) Change(table string, key kojidb.Values) (description string, err error) {
	err = m.attempt(func() { description = m.change(table, key) })
	if errors.Is(err, errNothing) {
		return "", nil
	}
	return description, err
}

func (m *Mutator) change(table string, key kojidb.Values) string {
	of := kojidb.Values{}
	for _, c := range keyColumns[table] {
		of[c] = key[c]
		if n, ok := key[c].(int); ok {
			of[c] = int64(n)
		}
	}
	m.refuseUnless(m.allows(table, of))
	row := m.pick(table, of, isActive)
	what := fmt.Sprintf("%s %v", table, m.describe(of))
	if row == nil {
		m.create(table, m.edited(table, without(of)))
		return "added " + what
	}
	switch m.rnd.IntN(4) {
	case 0:
		m.drop(table, of)
		return "removed " + what
	case 1:
		m.revoke(table, without(of))
		m.event = 0 // another call
		m.create(table, row)
		return "removed and added again " + what
	}
	if table == "tag_listing" {
		m.revoke(table, without(of))
		return "removed " + what
	}
	m.revoke(table, without(of))
	m.create(table, m.edited(table, row))
	if table == "tag_packages" { // as Koji's _pkglist_add does
		if m.revoke("tag_package_owners", without(of)) > 0 {
			m.create("tag_package_owners", kojidb.Values{"package_id": of["package_id"], "tag_id": of["tag_id"], "owner": m.editor()})
		}
	}
	return "changed " + what
}

func (m *Mutator) describe(of kojidb.Values) string {
	out := ""
	for _, c := range []string{"build_id", "package_id", "tag_id", "parent_id", "key", "build_target_id", "external_repo_id", "group_id", "req_id", "package"} {
		if v, ok := of[c]; ok {
			out += fmt.Sprintf("%s=%v ", c, v)
		}
	}
	return out[:len(out)-1]
}

func (m *Mutator) refuseUnless(ok bool) {
	if !ok {
		panic(stepFault{errNothing})
	}
}

func (m *Mutator) isActive(table string, of kojidb.Values) bool {
	return m.pick(table, of, isActive) != nil
}

// allows reports whether Koji would accept a change of the key: everything that it refers to exists and is
// active.
func (m *Mutator) allows(table string, of kojidb.Values) bool {
	for _, ref := range [][2]string{{"tag_id", "tag"}, {"parent_id", "tag"}, {"package_id", "package"}, {"build_id", "build"},
		{"build_target_id", "build_target"}, {"external_repo_id", "external_repo"}, {"group_id", "groups"}, {"req_id", "groups"}} {
		parent := ref[1]
		id, ok := of[ref[0]]
		if ok && len(m.all(parent, kojidb.Values{"id": id})) == 0 {
			return false
		}
		if ok && parent == "tag" && table != "tag_config" && !m.isActive("tag_config", kojidb.Values{"tag_id": id}) {
			return false
		}
	}
	switch table {
	case "tag_listing":
		return isComplete(m.all("build", kojidb.Values{"id": of["build_id"]})[0])
	case "tag_inheritance":
		return !slices.Contains(m.ancestors(of["parent_id"].(int64)), of["tag_id"].(int64))
	case "tag_external_repos":
		return m.isActive("external_repo_config", kojidb.Values{"external_repo_id": of["external_repo_id"]})
	case "external_repo_config":
		return of["external_repo_id"] != int64(0)
	case "group_req_listing", "group_package_listing":
		return m.isActive("group_config", kojidb.Values{"group_id": of["group_id"], "tag_id": of["tag_id"]})
	case "tag_packages", "tag_package_owners":
		return of["package_id"] != nil
	}
	return true
}

// drop revokes the row with a key, and everything that Koji removes with it.
func (m *Mutator) drop(table string, of kojidb.Values) {
	switch table {
	case "tag_config":
		m.refuseUnless(!m.keep[of["tag_id"]])
		dropTag(m, of["tag_id"])
	case "external_repo_config":
		m.revoke("tag_external_repos", without(of))
		m.revoke(table, without(of))
	case "tag_inheritance":
		m.refuseUnless(!m.keep[of["tag_id"]] || m.rnd.IntN(3) == 0)
		m.revoke(table, without(of))
	default:
		m.revoke(table, without(of))
	}
}

// edited returns a row with other values, or a first row with this key.
func (m *Mutator) edited(table string, row kojidb.Values) kojidb.Values {
	fresh := row["create_event"] == nil
	set := func(columns ...any) kojidb.Values {
		for i := 0; i < len(columns); i += 2 {
			if name := columns[i].(string); fresh || row[name] == nil || m.rnd.IntN(2) == 0 {
				row[name] = columns[i+1]
			}
		}
		return row
	}
	one := func(of ...any) any { return of[m.rnd.IntN(len(of))] }
	maybe := func() bool { return m.rnd.IntN(2) == 0 }
	switch table {
	case "tag_config":
		set("locked", maybe(), "maven_support", maybe(), "maven_include_all", maybe())
		row["arches"] = one(nil, "x86_64", "x86_64 aarch64", "s390x x86_64")
	case "tag_extra":
		row["value"] = one(nil, `"dnf5"`, "true", "17", `{"a": [1, 2.5, null]}`) // NULL blocks it
	case "tag_inheritance":
		set("maxdepth", one(nil, int64(2), int64(9)), "intransitive", m.rnd.IntN(4) == 0, "noconfig", m.rnd.IntN(4) == 0, "pkg_filter", one("", "^[a-p]", "^lib"))
		if fresh || maybe() {
			row["priority"] = m.freePriority(table, row["tag_id"])
		}
	case "tag_packages":
		set("blocked", row["blocked"] != true && !fresh, "extra_arches", one(nil, "", "s390x"))
	case "tag_package_owners":
		row["owner"] = m.editor()
	case "build_target_config":
		set("build_tag", m.tag(), "dest_tag", m.tag())
	case "external_repo_config":
		row["url"] = "https://dl.example.org/" + m.newName() + "/$arch/"
	case "tag_external_repos":
		set("merge_mode", one("koji", "simple", "bare"), "arches", one(nil, "x86_64", "x86_64 aarch64"))
		if fresh || maybe() {
			row["priority"] = m.freePriority(table, row["tag_id"])
		}
	case "group_config":
		set("blocked", m.rnd.IntN(4) == 0, "exported", maybe(), "display_name", m.newName(), "is_default", maybe(), "uservisible", maybe(), "biarchonly", false)
	case "group_req_listing":
		set("blocked", m.rnd.IntN(3) == 0, "type", one("mandatory", "optional"), "is_metapkg", maybe())
	case "group_package_listing":
		set("blocked", m.rnd.IntN(3) == 0, "type", one("mandatory", "default", "optional"), "requires", one(nil, "", "bash"), "basearchonly", one(nil, true, false))
	}
	return row
}

// swapPriorities swaps the priorities of two of a tag's parents or external repos.
func swapPriorities(m *Mutator) string {
	table, other := "tag_inheritance", "parent_id"
	if m.rnd.IntN(2) == 0 {
		table, other = "tag_external_repos", "external_repo_id"
	}
	a := m.need(table, nil, isActive)
	b := m.need(table, kojidb.Values{"tag_id": a["tag_id"]}, func(l kojidb.Values) bool { return isActive(l) && l[other] != a[other] })
	for _, l := range []kojidb.Values{a, b} {
		m.revoke(table, kojidb.Values{"tag_id": l["tag_id"], other: l[other]})
	}
	a["priority"], b["priority"] = b["priority"], a["priority"]
	m.create(table, a)
	m.create(table, b)
	return fmt.Sprintf("swapped the priorities of %v and %v in tag %v", a[other], b[other], a["tag_id"])
}

// replaceParent gives a parent's priority to another parent.
func replaceParent(m *Mutator) string {
	link := m.need("tag_inheritance", nil, isActive)
	child := link["tag_id"].(int64)
	parent := m.need("tag_config", nil, func(c kojidb.Values) bool {
		return isActive(c) && !m.isActive("tag_inheritance", kojidb.Values{"tag_id": child, "parent_id": c["tag_id"]}) && !slices.Contains(m.ancestors(c["tag_id"].(int64)), child)
	})
	m.revoke("tag_inheritance", kojidb.Values{"tag_id": child, "parent_id": link["parent_id"]})
	was := link["parent_id"]
	link["parent_id"] = parent["tag_id"]
	m.create("tag_inheritance", link)
	return fmt.Sprintf("tag %d inherits from %v, no longer from %v", child, link["parent_id"], was)
}

// newGroup makes a group, or adds one to another tag.
func newGroup(m *Mutator) string {
	tag, name := m.tag(), m.newName()
	id := m.id("groups")
	m.insert("groups", kojidb.Values{"id": id, "name": name})
	m.create("group_config", m.edited("group_config", kojidb.Values{"group_id": id, "tag_id": tag}))
	return "new group " + name
}

// sideTag makes a side tag as the plugin sidetag does, with its target.
func sideTag(m *Mutator) string {
	base, user := m.tag(), m.editor()
	id, target := m.id("tag"), m.id("build_target")
	name := fmt.Sprintf("%s-side-%d", m.nameOf("tag", base), id)
	m.insert("tag", kojidb.Values{"id": id, "name": name})
	m.create("tag_config", kojidb.Values{"tag_id": id, "arches": "x86_64", "locked": false, "maven_support": false, "maven_include_all": false})
	for _, extra := range [][2]string{{"sidetag", "true"}, {"sidetag_user_id", fmt.Sprint(user)}} {
		m.create("tag_extra", kojidb.Values{"tag_id": id, "key": extra[0], "value": extra[1]})
	}
	m.create("tag_inheritance", kojidb.Values{"tag_id": id, "parent_id": base, "priority": int64(0), "intransitive": false, "noconfig": false, "pkg_filter": ""})
	m.insert("build_target", kojidb.Values{"id": target, "name": name})
	m.create("build_target_config", kojidb.Values{"build_target_id": target, "build_tag": id, "dest_tag": id})
	return "new side tag " + name
}

// again makes a deleted tag, target or external repo again. Koji reuses the id of its name.
func again(m *Mutator) string {
	table := []string{"tag_config", "build_target_config", "external_repo_config"}[m.rnd.IntN(3)]
	column := keyColumns[table][0]
	gone := m.need(table, nil, func(c kojidb.Values) bool {
		return !isActive(c) && !m.isActive(table, kojidb.Values{column: c[column]})
	})
	of := kojidb.Values{column: gone[column]}
	m.create(table, m.edited(table, of))
	return fmt.Sprintf("made %s %v again, which was deleted", column[:len(column)-3], gone[column])
}
