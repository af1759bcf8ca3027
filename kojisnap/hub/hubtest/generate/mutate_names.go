package generate

import (
	"fmt"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
)

// renameRow changes a name in place, as Koji does: without an event.
func renameRow(m *Mutator, table string, wanted func(kojidb.Values) bool) string {
	row := m.need(table, nil, wanted)
	name := m.newName()
	m.update(table, kojidb.Values{"id": row["id"]}, kojidb.Values{"name": name})
	return fmt.Sprintf("%s %s is renamed to %s", table, row["name"], name)
}

func renameTag(m *Mutator) string {
	return renameRow(m, "tag", func(t kojidb.Values) bool { return !m.keep[t["id"]] })
}

func renameUser(m *Mutator) string {
	return renameRow(m, "users", func(u kojidb.Values) bool { return u["usertype"] == userNormal })
}

func renameTarget(m *Mutator) string { return renameRow(m, "build_target", nil) }

func renameExternalRepo(m *Mutator) string {
	return renameRow(m, "external_repo", func(r kojidb.Values) bool { return r["id"] != int64(0) })
}

func renameChannel(m *Mutator) string { return renameRow(m, "channels", nil) }

func newUser(m *Mutator) string {
	id, name := m.id("users"), m.newName()
	m.insert("users", kojidb.Values{"id": id, "name": name, "status": int64(0), "usertype": userNormal})
	m.insert("user_krb_principals", kojidb.Values{"user_id": id, "krb_principal": fmt.Sprintf("%s-%d@EXAMPLE.ORG", name, id)})
	return "new user " + name
}

func blockUser(m *Mutator) string {
	u := m.need("users", nil, nil)
	m.update("users", kojidb.Values{"id": u["id"]}, kojidb.Values{"status": 1 - u["status"].(int64)})
	return fmt.Sprintf("user %s has the status %d", u["name"], 1-u["status"].(int64))
}

func grant(m *Mutator) string {
	user, perm := m.editor(), m.need("permissions", nil, nil)
	of := kojidb.Values{"user_id": user, "perm_id": perm["id"]}
	if m.revoke("user_perms", without(of)) > 0 {
		return fmt.Sprintf("user %d lost the permission %s", user, perm["name"])
	}
	m.create("user_perms", of)
	return fmt.Sprintf("user %d has the permission %s", user, perm["name"])
}

func groupPackage(m *Mutator) string {
	group := m.need("group_config", nil, isActive)
	of := kojidb.Values{"group_id": group["group_id"], "tag_id": group["tag_id"]}
	if row := m.pick("group_package_listing", of, isActive); row != nil && m.rnd.IntN(2) == 0 {
		of["package"] = row["package"]
		m.revoke("group_package_listing", of)
		if m.rnd.IntN(2) == 0 {
			return fmt.Sprintf("removed %s from group %d", row["package"], row["group_id"])
		}
		row["blocked"] = row["blocked"] != true
		m.create("group_package_listing", row)
		return fmt.Sprintf("%s in group %d: blocked is %v", row["package"], row["group_id"], row["blocked"])
	}
	of["package"], of["blocked"], of["type"], of["requires"] = m.newName(), false, "mandatory", ""
	m.create("group_package_listing", of)
	return fmt.Sprintf("added %s to group %d", of["package"], of["group_id"])
}

// groupNeeds changes which other group a group requires.
func groupNeeds(m *Mutator) string {
	group := m.need("group_config", nil, isActive)
	other := m.need("group_config", kojidb.Values{"tag_id": group["tag_id"]}, func(g kojidb.Values) bool { return isActive(g) && g["group_id"] != group["group_id"] })
	of := kojidb.Values{"group_id": group["group_id"], "tag_id": group["tag_id"], "req_id": other["group_id"]}
	if m.revoke("group_req_listing", without(of)) > 0 {
		return fmt.Sprintf("group %d no longer needs group %d", of["group_id"], of["req_id"])
	}
	of["blocked"], of["type"], of["is_metapkg"] = false, "mandatory", false
	m.create("group_req_listing", of)
	return fmt.Sprintf("group %d needs group %d", of["group_id"], of["req_id"])
}

func groupConfig(m *Mutator) string {
	row := m.need("group_config", nil, isActive)
	m.revoke("group_config", kojidb.Values{"group_id": row["group_id"], "tag_id": row["tag_id"]})
	row["display_name"], row["uservisible"] = m.newName(), row["uservisible"] != true
	m.create("group_config", row)
	return fmt.Sprintf("edited group %d in %s", row["group_id"], m.nameOf("tag", row["tag_id"]))
}

func editExternalRepo(m *Mutator) string {
	row := m.need("external_repo_config", nil, isActive)
	m.revoke("external_repo_config", kojidb.Values{"external_repo_id": row["external_repo_id"]})
	row["url"] = "https://dl.example.org/" + m.newName() + "/$arch/"
	m.create("external_repo_config", row)
	return fmt.Sprintf("external repo %s is at %s", m.nameOf("external_repo", row["external_repo_id"]), row["url"])
}

func useExternalRepo(m *Mutator) string {
	tag, repo := m.tag(), m.need("external_repo_config", nil, isActive)["external_repo_id"]
	of := kojidb.Values{"tag_id": tag, "external_repo_id": repo}
	if m.revoke("tag_external_repos", without(of)) > 0 {
		return fmt.Sprintf("%s no longer uses external repo %d", m.nameOf("tag", tag), repo)
	}
	of["priority"], of["merge_mode"] = m.freePriority("tag_external_repos", tag), "koji"
	m.create("tag_external_repos", of)
	return fmt.Sprintf("%s uses external repo %d", m.nameOf("tag", tag), repo)
}

func editTarget(m *Mutator) string {
	row := m.need("build_target_config", nil, isActive)
	m.revoke("build_target_config", kojidb.Values{"build_target_id": row["build_target_id"]})
	row["dest_tag"] = m.tag()
	m.create("build_target_config", row)
	return fmt.Sprintf("target %s leads to %s", m.nameOf("build_target", row["build_target_id"]), m.nameOf("tag", row["dest_tag"]))
}
