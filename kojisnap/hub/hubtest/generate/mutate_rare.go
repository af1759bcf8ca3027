package generate

import (
	"fmt"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
)

// rare are the changes that a Mutator makes only with Options.Rare.
var rare = []mutation{
	{3, swapNames}, {3, handName}, {5, rebuild}, {2, newTarget},
	{2, newExternalRepo}, {1, newChannel}, {1, newPermission}, {2, mavenInfo},
	{3, swapPriorities}, {2, replaceParent}, {2, newGroup}, {1, sideTag}, {2, again},
}

// two picks two rows of a table whose names may change.
func (m *Mutator) two() (table string, a, b kojidb.Values) {
	table = []string{"tag", "users", "build_target", "external_repo", "channels"}[m.rnd.IntN(5)]
	free := func(v kojidb.Values) bool {
		return !(table == "tag" && m.keep[v["id"]] || table == "users" && v["usertype"] != userNormal || table == "external_repo" && v["id"] == int64(0))
	}
	a = m.need(table, nil, free)
	return table, a, m.need(table, nil, func(v kojidb.Values) bool { return free(v) && v["id"] != a["id"] })
}

// swapNames swaps the names of two rows, through a third name.
func swapNames(m *Mutator) string {
	table, a, b := m.two()
	m.update(table, kojidb.Values{"id": a["id"]}, kojidb.Values{"name": m.newName()})
	m.update(table, kojidb.Values{"id": b["id"]}, kojidb.Values{"name": a["name"]})
	m.update(table, kojidb.Values{"id": a["id"]}, kojidb.Values{"name": b["name"]})
	return fmt.Sprintf("%s %s and %s swap names", table, a["name"], b["name"])
}

// handName renames a row, and gives its old name to another row.
func handName(m *Mutator) string {
	table, a, b := m.two()
	name := m.newName()
	m.update(table, kojidb.Values{"id": a["id"]}, kojidb.Values{"name": name})
	m.update(table, kojidb.Values{"id": b["id"]}, kojidb.Values{"name": a["name"]})
	return fmt.Sprintf("%s %s is renamed to %s, and %s takes its name", table, a["name"], name, b["name"])
}

// rebuild builds a reset build again: the same rpms under new ids.
func rebuild(m *Mutator) string {
	b := m.build(func(b kojidb.Values) bool {
		return isRegular(b) && len(m.all("rpminfo", kojidb.Values{"build_id": b["id"]})) > 0 && len(m.all("archiveinfo", kojidb.Values{"build_id": b["id"]})) == 0
	})
	rpms := m.all("rpminfo", kojidb.Values{"build_id": b["id"]})
	m.reset(b)
	m.update("build", kojidb.Values{"id": b["id"]}, kojidb.Values{"state": stateComplete, "create_event": m.newEvent(), "start_time": m.now, "completion_time": m.now + 1})
	m.insert("build_types", kojidb.Values{"build_id": b["id"], "btype_id": m.need("btype", kojidb.Values{"name": "rpm"}, nil)["id"]})
	for _, rpm := range rpms {
		rpm["id"], rpm["payloadhash"], rpm["buildroot_id"] = m.id("rpminfo"), m.digest(), nil
		m.insert("rpminfo", rpm)
		m.insert("rpmsigs", kojidb.Values{"rpm_id": rpm["id"], "sigkey": "", "sighash": m.digest()})
	}
	m.event = 0
	m.putInto(b, m.tag())
	return "rebuilt " + m.nvr(b)
}

func newTarget(m *Mutator) string {
	id, name := m.id("build_target"), m.newName()
	m.insert("build_target", kojidb.Values{"id": id, "name": name})
	m.create("build_target_config", kojidb.Values{"build_target_id": id, "build_tag": m.tag(), "dest_tag": m.tag()})
	return "new target " + name
}

func newExternalRepo(m *Mutator) string {
	id, name, tag := m.id("external_repo"), m.newName(), m.tag()
	m.insert("external_repo", kojidb.Values{"id": id, "name": name})
	m.create("external_repo_config", kojidb.Values{"external_repo_id": id, "url": "https://dl.example.org/" + name + "/$arch/"})
	m.create("tag_external_repos", kojidb.Values{"tag_id": tag, "external_repo_id": id, "priority": m.freePriority("tag_external_repos", tag), "merge_mode": "koji"})
	return "new external repo " + name
}

func newChannel(m *Mutator) string {
	name := m.newName()
	m.insert("channels", kojidb.Values{"id": m.id("channels"), "name": name, "enabled": true})
	return "new channel " + name
}

// newPermission makes a permission that a tag requires.
func newPermission(m *Mutator) string {
	id, name := m.id("permissions"), m.newName()
	for len(m.all("permissions", kojidb.Values{"name": name})) > 0 { // Koji does not check for it
		name = m.newName()
	}
	m.insert("permissions", kojidb.Values{"id": id, "name": name})
	config := m.need("tag_config", kojidb.Values{"tag_id": m.tag()}, isActive)
	m.revoke("tag_config", kojidb.Values{"tag_id": config["tag_id"]})
	config["perm_id"] = id
	m.create("tag_config", config)
	return fmt.Sprintf("new permission %s, which tag %s asks for", name, m.nameOf("tag", config["tag_id"]))
}

// mavenInfo makes a build a maven build, or edits its maven info.
func mavenInfo(m *Mutator) string {
	b := m.build(isRegular)
	of := kojidb.Values{"build_id": b["id"]}
	info := kojidb.Values{"group_id": "org." + m.names.word(), "artifact_id": m.names.word(), "version": "1"}
	if m.update("maven_builds", of, info) == 0 {
		info["build_id"] = b["id"]
		m.insert("maven_builds", info)
		btype := m.need("btype", kojidb.Values{"name": "maven"}, nil)["id"]
		m.insert("build_types", kojidb.Values{"build_id": b["id"], "btype_id": btype})
	}
	return "maven info of " + m.nvr(b)
}
