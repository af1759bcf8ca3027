package hubtest

import "regexp"

// search finds objects by name; each kind has its own idea of a name.
func search(c *call) any {
	if !c.flag("terms") {
		generic("empty search terms")
	}
	kind := c.arg("type")
	if kind == "file" {
		return applyOptions(nil, c.arg("queryOpts"))
	}
	table, ok := map[string]string{"package": "package", "build": "build", "tag": "tag_config", "target": "build_target_config",
		"user": "users", "host": "host", "rpm": "rpminfo", "maven": "maven_archives", "win": "win_archives"}[asString(kind)]
	if !ok {
		generic("No such search type: %s", str(kind))
	}
	match := matcher(str(c.arg("terms")), c.arg("matchType"))
	q := c.from(table)
	var name func(tuple) any
	switch kind {
	case "build":
		q.join("package", "id", "build.pkg_id")
		q.fieldList("id build.id")
		name = q.concat("-", "package.name", "build.version", "build.release")
	case "rpm":
		nvr, arch := q.concat("-", "rpminfo.name", "rpminfo.version", "rpminfo.release"), q.ref("rpminfo.arch")
		q.fieldList("id")
		name = func(t tuple) any { return asString(nvr(t)) + "." + asString(arch(t)) + ".rpm" }
	case "tag":
		q.join("tag", "id", "tag_config.tag_id").is("tag_config.active").fieldList("id tag.id")
		name = q.ref("tag.name")
	case "target":
		q.join("build_target", "id", "build_target_config.build_target_id").is("build_target_config.active").fieldList("id build_target.id")
		name = q.ref("build_target.name")
	case "maven", "win":
		return searchArchives(c, q, kind, match)
	default:
		q.fieldList("id")
		name = q.ref(table + ".name")
	}
	q.field("name", name).where(func(t tuple) bool { return match(asString(name(t))) })
	return q.iterate(c.arg("queryOpts"))
}

// searchArchives looks at the file's name and at what the type calls it.
func searchArchives(c *call, q *query, kind any, match func(string) bool) any {
	q.join("archiveinfo", "id", q.first()+".archive_id").fieldList("id archiveinfo.id")
	file := q.ref("archiveinfo.filename")
	var other, name func(tuple) any
	if kind == "maven" {
		other, name = q.concat("-", "maven_archives.group_id", "maven_archives.artifact_id", "maven_archives.version"), file
	} else {
		other = q.concat("/", "win_archives.relpath", "archiveinfo.filename")
		name = func(t tuple) any { return leadingSlashes.ReplaceAllString(asString(other(t)), "") }
	}
	q.field("name", name).where(func(t tuple) bool { return match(asString(file(t))) || match(asString(other(t))) })
	return q.iterate(c.arg("queryOpts"))
}

var leadingSlashes = regexp.MustCompile(`^/+`)

// matcher compiles terms: glob and regexp ignore case, else the name is equal.
func matcher(terms string, kind any) func(string) bool {
	switch kind {
	case "glob":
		return glob(terms).MatchString
	case "regexp":
		return regex("(?i)" + terms).MatchString
	}
	return func(s string) bool { return s == terms }
}
