package integration_test

import (
	"fmt"

	"kojisnap/kojisnap/hub/hubtest"
)

func (w *worker) tagBuild() string {
	build, tag := w.pick("SELECT id FROM build WHERE state = 1 ORDER BY id"), w.tag()
	w.putInto(build[0], tag)
	return fmt.Sprintf("tagged build %s into %s", build[0], tag)
}

// tagLikeThem tags a build as production has done by now.
func (w *worker) tagLikeThem() string {
	all, err := w.prod.Select("tag_listing", hubtest.Values{"active": true})
	must(w.t, err)
	for range 30 {
		l := all[w.rnd.IntN(len(all))]
		if w.get(`SELECT (SELECT count(*) FROM build WHERE id = $1) + (SELECT count(*) FROM tag WHERE id = $2) - (SELECT count(*) FROM tag_listing WHERE build_id = $1 AND tag_id = $2 AND active)`,
			l["build_id"], l["tag_id"]) == "2" {
			w.putInto(fmt.Sprint(l["build_id"]), fmt.Sprint(l["tag_id"]))
			return fmt.Sprintf("tagged build %v into %v, as production did", l["build_id"], l["tag_id"])
		}
	}
	return ""
}

func (w *worker) untag() string {
	l := w.pick("SELECT build_id, tag_id FROM tag_listing WHERE active ORDER BY 1, 2")
	w.revoke("tag_listing", "build_id = $1 AND tag_id = $2", l[0], l[1])
	return fmt.Sprintf("untagged build %s from %s", l[0], l[1])
}

func (w *worker) newTag() string {
	parent, name := w.tag(), w.freshName("tag")
	id := w.get("INSERT INTO tag (name) VALUES ($1) RETURNING id", name)
	w.create("tag_config", "tag_id, arches", id, "x86_64")
	w.create("tag_inheritance", "tag_id, parent_id, priority, intransitive, noconfig, pkg_filter", id, parent, 0, false, false, "")
	return "new tag " + name
}

func (w *worker) deleteTag() string {
	tag := w.tag()
	w.dropTag(tag)
	return "deleted tag " + tag
}

// dropTag revokes all that a tag has, and what leads to it.
func (w *worker) dropTag(tag string) {
	for _, table := range []string{"tag_config", "tag_extra", "tag_inheritance", "tag_listing", "tag_packages", "tag_package_owners", "tag_external_repos",
		"group_config", "group_req_listing", "group_package_listing"} {
		w.revoke(table, "tag_id = $1", tag)
	}
	w.revoke("tag_inheritance", "parent_id = $1", tag)
	w.revoke("build_target_config", "build_tag = $1", tag)
	w.revoke("build_target_config", "dest_tag = $1", tag)
}

func (w *worker) target() string {
	build, dest := w.tag(), w.tag()
	if t := w.pick("SELECT build_target_id FROM build_target_config WHERE active ORDER BY 1"); t != nil && w.rnd.IntN(2) == 0 {
		w.revoke("build_target_config", "build_target_id = $1", t[0])
		w.create("build_target_config", "build_target_id, build_tag, dest_tag", t[0], build, dest)
		return "edited target " + t[0]
	}
	name := w.freshName("build_target")
	id := w.get("INSERT INTO build_target (name) VALUES ($1) RETURNING id", name)
	w.create("build_target_config", "build_target_id, build_tag, dest_tag", id, build, dest)
	return "new target " + name
}

func (w *worker) editConfig() string {
	tag := w.tag()
	w.revoke("tag_config", "tag_id = $1", tag)
	w.create("tag_config", "tag_id, arches, locked", tag, []string{"x86_64", "s390x", "aarch64"}[w.rnd.IntN(3)], w.rnd.IntN(2) == 0)
	return "edited the config of tag " + tag
}

func (w *worker) editExtra() string {
	tag, key := w.tag(), []string{"mock.package_manager", "rpm.macro.dist", "repo.auto"}[w.rnd.IntN(3)]
	w.revoke("tag_extra", "tag_id = $1 AND key = $2", tag, key)
	if w.rnd.IntN(3) > 0 {
		w.create("tag_extra", "tag_id, key, value", tag, key, `"stg"`)
	}
	return fmt.Sprintf("edited extra %s of tag %s", key, tag)
}

func (w *worker) editInheritance() string {
	if l := w.pick("SELECT tag_id, parent_id, priority FROM tag_inheritance WHERE active ORDER BY 1, 2"); l != nil && w.rnd.IntN(2) == 0 {
		w.revoke("tag_inheritance", "tag_id = $1 AND parent_id = $2", l[0], l[1])
		if w.rnd.IntN(2) == 0 {
			w.create("tag_inheritance", "tag_id, parent_id, priority, intransitive, noconfig, pkg_filter", l[0], l[1], w.priority("tag_inheritance", l[0]), false, false, "^stg")
		}
		return fmt.Sprintf("edited how tag %s inherits from %s", l[0], l[1])
	}
	child, parent := w.tag(), w.tag()
	if child == parent {
		return ""
	}
	w.create("tag_inheritance", "tag_id, parent_id, priority, intransitive, noconfig, pkg_filter", child, parent, w.priority("tag_inheritance", child), false, false, "")
	return fmt.Sprintf("tag %s inherits from %s", child, parent)
}

func (w *worker) editPackage() string {
	tag, pkg := w.tag(), w.pick("SELECT id FROM package ORDER BY id")[0]
	if w.rnd.IntN(2) == 0 {
		w.revoke("tag_packages", "tag_id = $1 AND package_id = $2", tag, pkg)
	}
	w.create("tag_packages", "package_id, tag_id, blocked", pkg, tag, w.rnd.IntN(2) == 0)
	return fmt.Sprintf("listed package %s in tag %s", pkg, tag)
}

func (w *worker) ownPackage() string {
	l, owner := w.pick("SELECT package_id, tag_id FROM tag_package_owners WHERE active ORDER BY 1, 2"), w.someNamed("users")
	w.revoke("tag_package_owners", "package_id = $1 AND tag_id = $2", l[0], l[1])
	w.create("tag_package_owners", "package_id, tag_id, owner", l[0], l[1], owner[0])
	return fmt.Sprintf("package %s in tag %s is user %s's", l[0], l[1], owner[1])
}

func (w *worker) editGroup() string {
	group, tag := w.pick("SELECT id FROM groups ORDER BY id"), w.tag()
	if group == nil {
		return ""
	}
	w.revoke("group_config", "group_id = $1 AND tag_id = $2", group[0], tag)
	w.create("group_config", "group_id, tag_id, display_name", group[0], tag, w.word())
	w.revoke("group_package_listing", "group_id = $1 AND tag_id = $2 AND package = 'bash'", group[0], tag)
	w.create("group_package_listing", "group_id, tag_id, package, type", group[0], tag, "bash", "mandatory")
	return fmt.Sprintf("edited group %s in tag %s", group[0], tag)
}

func (w *worker) externalRepo() string {
	repo, tag := w.pick("SELECT external_repo_id FROM external_repo_config WHERE active ORDER BY 1"), w.tag()
	if repo == nil {
		return ""
	}
	if w.rnd.IntN(2) == 0 {
		w.revoke("external_repo_config", "external_repo_id = $1", repo[0])
		w.create("external_repo_config", "external_repo_id, url", repo[0], "https://stg.example.com/"+w.word())
		return "edited the url of external repo " + repo[0]
	}
	w.revoke("tag_external_repos", "external_repo_id = $1 AND tag_id = $2", repo[0], tag)
	w.create("tag_external_repos", "external_repo_id, tag_id, priority, merge_mode", repo[0], tag, w.priority("tag_external_repos", tag), "koji")
	return fmt.Sprintf("tag %s uses external repo %s", tag, repo[0])
}

// priority is any of a tag, or the first that is free, which production is likely to take next.
func (w *worker) priority(table, tag string) string {
	if w.rnd.IntN(2) == 0 {
		return fmt.Sprint(w.rnd.IntN(100))
	}
	return w.get("SELECT min(p) FROM generate_series(0, 100) p WHERE NOT EXISTS (SELECT FROM "+table+" t WHERE t.active AND t.tag_id = $1 AND t.priority = p)", tag)
}
