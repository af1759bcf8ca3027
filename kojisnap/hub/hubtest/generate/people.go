package generate

import (
	"fmt"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
)

// Koji's user types.
const (
	userNormal = int64(0)
	userHost   = int64(1)
	userGroup  = int64(2)
)

const scaleHosts = 12

// people makes users, groups of them, permissions and build hosts.
func (g *generation) people() {
	names := &nameMaker{rnd: g.rnd, used: map[string]bool{"kojiadmin": true}}
	user := func(name string, kind int64) int64 {
		id := int64(len(g.rows["users"]) + 1)
		g.add("users", kojidb.Values{"id": id, "name": name, "status": int64(0), "usertype": kind})
		return id
	}
	g.since(kojidb.Values{}) // the events begin with 1
	user("kojiadmin", userNormal)
	perms := g.rows["permissions"]
	g.add("user_perms", g.since(kojidb.Values{"user_id": int64(1), "perm_id": perms[0]["id"]}))
	for range min(2000, 20+g.builds/40) {
		name := names.word()
		for !names.take(name) {
			name += names.word()
		}
		id := user(name, userNormal)
		g.owners = append(g.owners, int32(id))
		g.add("user_krb_principals", kojidb.Values{"user_id": id, "krb_principal": name + "@EXAMPLE.ORG"})
	}
	for i := range 6 {
		g.add("user_perms", g.since(kojidb.Values{"user_id": int64(g.owners[i]), "perm_id": perms[1+i]["id"]}))
	}
	revoked := g.since(kojidb.Values{"user_id": int64(g.owners[7]), "perm_id": perms[0]["id"]})
	g.until(revoked)
	g.add("user_perms", revoked)
	for _, group := range []string{"releng", "provenpackagers", "infra"} {
		id := user(group, userGroup)
		for i := range 5 {
			g.add("user_groups", g.since(kojidb.Values{"user_id": int64(g.owners[(int(id)+i)%len(g.owners)]), "group_id": id}))
		}
	}
	for i := range int64(scaleHosts) {
		name := fmt.Sprintf("buildvm-x86-%02d.example.org", i+1)
		id := i + 1
		g.add("host", kojidb.Values{"id": id, "user_id": user(name, userHost), "name": name, "task_load": 0.0, "ready": true})
		g.add("host_config", g.since(kojidb.Values{"host_id": id, "arches": "x86_64 i386 noarch", "capacity": 2.0 + float64(i), "enabled": true}))
		g.add("host_channels", g.since(kojidb.Values{"host_id": id, "channel_id": g.rows["channels"][0]["id"]}))
	}
	for i, name := range []string{"osbs", "mbs"} {
		g.add("content_generator", kojidb.Values{"id": int64(i + 1), "name": name})
		g.add("cg_users", g.since(kojidb.Values{"cg_id": int64(i + 1), "user_id": int64(g.owners[i])}))
	}
	for i := range int64(7) {
		g.add("volume", kojidb.Values{"id": i + 1, "name": fmt.Sprintf("archive%02d", i)})
	}
}

// outsideNames are the releases that are not in the scope, and the suffixes of
// their packages' releases.
var outsideNames = strings.Fields("f43=fc43 f40=fc40 f39=fc39 epel9=el9 f38=fc38 eln=eln143 epel10.1=el10_1 epel8=el8 f37=fc37 f36=fc36")

// tags makes the tags, their inheritance, targets, groups and external repos.
func (g *generation) tags() {
	g.release("f41", "fc41", "e99d6ad1", max(1, g.builds/100))
	g.release(Tag, "fc42", Key, g.builds)
	for i := range max(g.opts.Outside, 0) {
		name, dist := fmt.Sprintf("old%d", i), fmt.Sprintf("old%d", i)
		if i < len(outsideNames) {
			name, dist, _ = strings.Cut(outsideNames[i], "=")
		}
		g.release(name, dist, fmt.Sprintf("%x", g.digest(4)), g.builds)
	}
	g.release("f42-updates", "fc42", Key, max(1, g.builds/30))
	g.tag("f42-compose", "x86_64 aarch64")
	g.inherit("f42", "f41", 10, "")
	g.inherit("f42-updates", "f42", 0, "")
	g.inherit("f42-compose", "f42-updates", 0, "")
	g.inherit("f42-build", "f42-updates", 5, "")
	for i := range 3 {
		name := fmt.Sprintf("f42-build-side-%d", 1000+i)
		tag := g.tag(name, "x86_64 aarch64")
		g.inherit(name, "f42-build", 0, "")
		g.add("tag_extra", g.since(kojidb.Values{"tag_id": tag, "key": "sidetag", "value": "true"}),
			g.since(kojidb.Values{"tag_id": tag, "key": "sidetag_user", "value": fmt.Sprintf("%q", g.rows["users"][1+i]["name"])}),
			g.since(kojidb.Values{"tag_id": tag, "key": "sidetag_user_id", "value": fmt.Sprint(g.owners[i])}))
	}
	gone := len(g.rows["tag_config"])
	g.tag("f42-rebuild", "")
	g.until(g.rows["tag_config"][gone])
	for i, name := range []string{"fedora-releases", "copr-toolchain"} {
		id := int64(i + 1)
		g.add("external_repo", kojidb.Values{"id": id, "name": name})
		g.add("external_repo_config", g.since(kojidb.Values{"external_repo_id": id, "url": "https://dl.example.org/" + name + "/$arch/"}))
		g.add("tag_external_repos", g.since(kojidb.Values{"tag_id": int64(g.tagIDs["f42-build"]), "external_repo_id": id,
			"priority": id * 5, "merge_mode": "koji"}))
	}
	g.add("repo", kojidb.Values{"id": int64(1), "create_event": int64(g.newEvent()), "creation_time": g.now, "state_time": g.now,
		"tag_id": int64(g.tagIDs["f42-build"]), "state": int64(1), "dist": false})
}

// release makes a tag for builds, and around it the tags that Fedora has.
func (g *generation) release(name, dist, key string, builds int) {
	r := release{name: name, dist: dist, key: key, builds: builds}
	r.tag = int32(g.tag(name, "x86_64 aarch64"))
	r.candidate = int32(g.tag(name+"-candidate", ""))
	g.inherit(name+"-candidate", name, 0, "")
	if name != "f42-updates" {
		build := g.tag(name+"-build", "x86_64 aarch64")
		g.add("tag_extra", g.since(kojidb.Values{"tag_id": build, "key": "mock.package_manager", "value": `"dnf5"`}))
		if name != Tag {
			g.inherit(name+"-build", name, 0, "")
		}
		target := int64(len(g.rows["build_target"]) + 1)
		g.add("build_target", kojidb.Values{"id": target, "name": name})
		g.add("build_target_config", g.since(kojidb.Values{"build_target_id": target, "build_tag": build, "dest_tag": int64(r.candidate)}))
		g.groups(build)
	}
	g.releases = append(g.releases, r)
}

func (g *generation) tag(name, arches string) int64 {
	id := int64(len(g.rows["tag"]) + 1)
	g.tagIDs[name] = int32(id)
	g.add("tag", kojidb.Values{"id": id, "name": name})
	config := kojidb.Values{"tag_id": id, "locked": false, "maven_support": false, "maven_include_all": false}
	if arches != "" {
		config["arches"] = arches
	}
	g.add("tag_config", g.since(config))
	return id
}

func (g *generation) inherit(child, parent string, priority int, filter string) {
	g.add("tag_inheritance", g.since(kojidb.Values{"tag_id": int64(g.tagIDs[child]), "parent_id": int64(g.tagIDs[parent]),
		"priority": priority, "intransitive": false, "noconfig": false, "pkg_filter": filter}))
}

// groups makes the groups that mock installs.
func (g *generation) groups(tag int64) {
	if len(g.rows["groups"]) == 0 {
		g.add("groups", kojidb.Values{"id": int64(1), "name": "build"}, kojidb.Values{"id": int64(2), "name": "srpm-build"})
	}
	for id, name := range []string{"build", "srpm-build"} {
		g.add("group_config", g.since(kojidb.Values{"group_id": int64(id + 1), "tag_id": tag, "blocked": false, "exported": true,
			"display_name": name, "uservisible": true, "biarchonly": false, "description": name}))
		for _, pkg := range strings.Fields("bash bzip2 coreutils cpio diffutils fedora-release findutils gawk grep gzip info make patch redhat-rpm-config rpm-build sed shadow-utils tar unzip util-linux which xz") {
			g.add("group_package_listing", g.since(kojidb.Values{"group_id": int64(id + 1), "tag_id": tag, "package": pkg,
				"blocked": false, "type": "mandatory", "requires": "", "basearchonly": false}))
		}
	}
	g.add("group_req_listing", g.since(kojidb.Values{"group_id": int64(2), "tag_id": tag, "req_id": int64(1), "blocked": false,
		"type": "optional", "is_metapkg": false}))
}
