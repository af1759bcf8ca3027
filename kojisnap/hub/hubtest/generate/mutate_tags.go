package generate

import (
	"fmt"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
)

// putInto tags a build. If no package list of the tag, or of what it inherits from, has the package, it adds
// the package.
func (m *Mutator) putInto(b kojidb.Values, tag int64) {
	if !m.listed(b["pkg_id"], tag) {
		m.create("tag_packages", kojidb.Values{"package_id": b["pkg_id"], "tag_id": tag, "blocked": false})
		m.create("tag_package_owners", kojidb.Values{"package_id": b["pkg_id"], "tag_id": tag, "owner": b["owner"]})
	}
	m.create("tag_listing", kojidb.Values{"build_id": b["id"], "tag_id": tag})
}

func (m *Mutator) listed(pkg any, tag int64) bool {
	for _, t := range m.ancestors(tag) {
		if len(m.all("tag_packages", kojidb.Values{"package_id": pkg, "tag_id": t, "active": true})) > 0 ||
			t == tag && len(m.all("tag_package_owners", kojidb.Values{"package_id": pkg, "tag_id": t, "active": true})) > 0 {
			return true
		}
	}
	return false
}

// ancestors returns a tag and all tags that it inherits from.
func (m *Mutator) ancestors(tag int64) []int64 {
	tags := []int64{tag}
	seen := map[int64]bool{tag: true}
	for i := 0; i < len(tags); i++ {
		for _, link := range m.all("tag_inheritance", kojidb.Values{"tag_id": tags[i], "active": true}) {
			if p := link["parent_id"].(int64); !seen[p] {
				seen[p] = true
				tags = append(tags, p)
			}
		}
	}
	return tags
}

func (m *Mutator) isIn(build any, tag int64) bool {
	return len(m.all("tag_listing", kojidb.Values{"build_id": build, "tag_id": tag, "active": true})) > 0
}

func tagBuild(m *Mutator) string {
	tag := m.tag()
	b := m.need("build", nil, func(b kojidb.Values) bool { return isComplete(b) && !m.isIn(b["id"], tag) })
	m.putInto(b, tag)
	return fmt.Sprintf("tagged %s into %s", m.nvr(b), m.nameOf("tag", tag))
}

// listing picks an active row of tag_listing and its build.
func (m *Mutator) listing() (row, build kojidb.Values) {
	row = m.need("tag_listing", kojidb.Values{"tag_id": m.tag()}, isActive)
	return row, m.all("build", kojidb.Values{"id": row["build_id"]})[0]
}

func untagBuild(m *Mutator) string {
	row, b := m.listing()
	m.revoke("tag_listing", kojidb.Values{"build_id": b["id"], "tag_id": row["tag_id"]})
	return fmt.Sprintf("untagged %s from %s", m.nvr(b), m.nameOf("tag", row["tag_id"]))
}

func moveBuild(m *Mutator) string {
	row, b := m.listing()
	to := m.tag()
	if m.isIn(b["id"], to) {
		panic(stepFault{errNothing})
	}
	m.revoke("tag_listing", kojidb.Values{"build_id": b["id"], "tag_id": row["tag_id"]})
	m.putInto(b, to)
	return fmt.Sprintf("moved %s from %s to %s", m.nvr(b), m.nameOf("tag", row["tag_id"]), m.nameOf("tag", to))
}

// retagBuild makes a build the latest of its tag.
func retagBuild(m *Mutator) string {
	row, b := m.listing()
	m.revoke("tag_listing", kojidb.Values{"build_id": b["id"], "tag_id": row["tag_id"]})
	m.event = 0
	m.create("tag_listing", kojidb.Values{"build_id": b["id"], "tag_id": row["tag_id"]})
	return fmt.Sprintf("retagged %s in %s", m.nvr(b), m.nameOf("tag", row["tag_id"]))
}

func blockPackage(m *Mutator) string {
	row := m.need("tag_packages", kojidb.Values{"tag_id": m.tag()}, isActive)
	m.revoke("tag_packages", kojidb.Values{"package_id": row["package_id"], "tag_id": row["tag_id"]})
	row["blocked"] = row["blocked"] != true
	m.create("tag_packages", row)
	return fmt.Sprintf("package %s in %s: blocked is %v", m.nameOf("package", row["package_id"]), m.nameOf("tag", row["tag_id"]), row["blocked"])
}

func addPackage(m *Mutator) string {
	tag := m.tag()
	pkg := m.need("package", nil, func(p kojidb.Values) bool {
		return len(m.all("tag_packages", kojidb.Values{"package_id": p["id"], "tag_id": tag, "active": true})) == 0 &&
			len(m.all("tag_package_owners", kojidb.Values{"package_id": p["id"], "tag_id": tag, "active": true})) == 0
	})
	m.create("tag_packages", kojidb.Values{"package_id": pkg["id"], "tag_id": tag, "blocked": false, "extra_arches": ""})
	m.create("tag_package_owners", kojidb.Values{"package_id": pkg["id"], "tag_id": tag, "owner": m.editor()})
	return fmt.Sprintf("added package %s to %s", pkg["name"], m.nameOf("tag", tag))
}

func removePackage(m *Mutator) string {
	row := m.need("tag_packages", kojidb.Values{"tag_id": m.tag()}, isActive)
	of := func() kojidb.Values { return kojidb.Values{"package_id": row["package_id"], "tag_id": row["tag_id"]} }
	m.revoke("tag_packages", of())
	m.revoke("tag_package_owners", of())
	return fmt.Sprintf("removed package %s from %s", m.nameOf("package", row["package_id"]), m.nameOf("tag", row["tag_id"]))
}

func ownPackage(m *Mutator) string {
	row := m.need("tag_package_owners", kojidb.Values{"tag_id": m.tag()}, isActive)
	owner := m.need("users", nil, func(u kojidb.Values) bool { return u["usertype"] == userNormal && u["id"] != row["owner"] })
	m.revoke("tag_package_owners", kojidb.Values{"package_id": row["package_id"], "tag_id": row["tag_id"]})
	row["owner"] = owner["id"]
	m.create("tag_package_owners", row)
	return fmt.Sprintf("package %s in %s is %s's", m.nameOf("package", row["package_id"]), m.nameOf("tag", row["tag_id"]), owner["name"])
}

func editTag(m *Mutator) string {
	config := m.need("tag_config", kojidb.Values{"tag_id": m.tag()}, isActive)
	m.revoke("tag_config", kojidb.Values{"tag_id": config["tag_id"]})
	if m.rnd.IntN(2) == 0 {
		config["locked"] = config["locked"] != true
	} else {
		config["arches"] = []any{nil, "x86_64", "x86_64 aarch64", "x86_64 aarch64 ppc64le s390x"}[m.rnd.IntN(4)]
	}
	m.create("tag_config", config)
	return "edited tag " + m.nameOf("tag", config["tag_id"])
}

func editExtra(m *Mutator) string {
	tag := m.tag()
	key := []string{"mock.package_manager", "rpm.macro.dist", "repo.auto"}[m.rnd.IntN(3)]
	of := kojidb.Values{"tag_id": tag, "key": key}
	if len(m.all("tag_extra", kojidb.Values{"tag_id": tag, "key": key, "active": true})) > 0 {
		m.revoke("tag_extra", without(of))
		if m.rnd.IntN(3) == 0 {
			return fmt.Sprintf("removed extra %s of %s", key, m.nameOf("tag", tag))
		}
	}
	of["value"] = []any{nil, `"dnf5"`, "true", `{"a": [1, 2.5, null]}`}[m.rnd.IntN(4)]
	m.create("tag_extra", of)
	return fmt.Sprintf("extra %s of %s is %v", key, m.nameOf("tag", tag), of["value"])
}

func editInheritance(m *Mutator) string {
	link := m.need("tag_inheritance", nil, isActive)
	m.revoke("tag_inheritance", kojidb.Values{"tag_id": link["tag_id"], "parent_id": link["parent_id"]})
	switch m.rnd.IntN(3) {
	case 0:
		link["priority"] = m.freePriority("tag_inheritance", link["tag_id"])
	case 1:
		link["maxdepth"] = []any{nil, int64(3), int64(9)}[m.rnd.IntN(3)]
	default:
		link["pkg_filter"] = []any{"", "^[a-p]", "^lib"}[m.rnd.IntN(3)]
	}
	m.create("tag_inheritance", link)
	return fmt.Sprintf("edited how %s inherits from %s", m.nameOf("tag", link["tag_id"]), m.nameOf("tag", link["parent_id"]))
}

// freePriority returns a priority that no active row of the tag has; with Options.Meet often the first one.
func (m *Mutator) freePriority(table string, tag any) int64 {
	random := !m.opts.Meet || m.rnd.IntN(2) == 0
	for p := int64(0); ; p++ {
		if random {
			p = m.rnd.Int64N(100)
		}
		if len(m.all(table, kojidb.Values{"tag_id": tag, "priority": p, "active": true})) == 0 {
			return p
		}
	}
}

func addInheritance(m *Mutator) string {
	child := m.tag()
	parent := m.need("tag_config", nil, func(v kojidb.Values) bool {
		if !isActive(v) || len(m.all("tag_inheritance", kojidb.Values{"tag_id": child, "parent_id": v["tag_id"], "active": true})) > 0 {
			return false
		}
		for _, t := range m.ancestors(v["tag_id"].(int64)) {
			if t == child {
				return false
			}
		}
		return true
	})["tag_id"]
	m.create("tag_inheritance", kojidb.Values{"tag_id": child, "parent_id": parent, "priority": m.freePriority("tag_inheritance", child),
		"intransitive": m.rnd.IntN(4) == 0, "noconfig": m.rnd.IntN(4) == 0, "pkg_filter": ""})
	return fmt.Sprintf("%s inherits from %s", m.nameOf("tag", child), m.nameOf("tag", parent))
}

func removeInheritance(m *Mutator) string {
	link := m.need("tag_inheritance", nil, func(l kojidb.Values) bool { return isActive(l) && !m.keep[l["tag_id"]] })
	m.revoke("tag_inheritance", kojidb.Values{"tag_id": link["tag_id"], "parent_id": link["parent_id"]})
	return fmt.Sprintf("%s no longer inherits from %s", m.nameOf("tag", link["tag_id"]), m.nameOf("tag", link["parent_id"]))
}

func newTag(m *Mutator) string {
	id, name := m.id("tag"), m.newName()
	parent := m.tag()
	m.insert("tag", kojidb.Values{"id": id, "name": name})
	m.create("tag_config", kojidb.Values{"tag_id": id, "locked": false, "maven_support": false, "maven_include_all": false})
	m.create("tag_inheritance", kojidb.Values{"tag_id": id, "parent_id": parent, "priority": int64(0), "intransitive": false, "noconfig": false, "pkg_filter": ""})
	return "new tag " + name
}

func deleteTag(m *Mutator) string {
	if len(m.all("tag_config", kojidb.Values{"active": true})) < 4 {
		panic(stepFault{errNothing}) // leave some for other changes
	}
	id := m.need("tag_config", nil, func(c kojidb.Values) bool {
		// Nobody deletes a release, and all of its rows would have to be kept twice.
		return isActive(c) && !m.keep[c["tag_id"]] && m.tx.Find("tag_packages").Where("tag_id", c["tag_id"]).Len() < 1000
	})["tag_id"]
	dropTag(m, id)
	return "deleted tag " + m.nameOf("tag", id)
}

// dropTag revokes everything that a tag has, and everything that refers to it.
func dropTag(m *Mutator, id any) {
	for _, table := range []string{"tag_config", "tag_extra", "tag_inheritance", "tag_listing", "tag_packages", "tag_package_owners",
		"tag_external_repos", "group_config", "group_req_listing", "group_package_listing"} {
		m.revoke(table, kojidb.Values{"tag_id": id})
	}
	m.revoke("tag_inheritance", kojidb.Values{"parent_id": id})
	m.revoke("build_target_config", kojidb.Values{"build_tag": id})
	m.revoke("build_target_config", kojidb.Values{"dest_tag": id})
}
