package hubtest

import (
	"regexp"

	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

// search finds objects by name. Each kind of object has its own name column.
func search(c *call) any {
	if !c.flag("terms") {
		python.Generic("empty search terms")
	}
	kind := c.arg("type")
	if kind == "file" {
		return query.ApplyOptions(nil, c.arg("queryOpts"))
	}
	table, ok := map[string]string{"package": "package", "build": "build", "tag": "tag_config", "target": "build_target_config",
		"user": "users", "host": "host", "rpm": "rpminfo", "maven": "maven_archives", "win": "win_archives"}[python.AsString(kind)]
	if !ok {
		python.Generic("No such search type: %s", python.Str(kind))
	}
	match := matcher(python.Str(c.arg("terms")), c.arg("matchType"))
	q := c.from(table)
	var name func(query.Tuple) any
	switch kind {
	case "build":
		q.Join("package", "id", "build.pkg_id")
		q.FieldList("id build.id")
		name = q.Concat("-", "package.name", "build.version", "build.release")
	case "rpm":
		nvr, arch := q.Concat("-", "rpminfo.name", "rpminfo.version", "rpminfo.release"), q.Ref("rpminfo.arch")
		q.FieldList("id")
		name = func(t query.Tuple) any { return python.AsString(nvr(t)) + "." + python.AsString(arch(t)) + ".rpm" }
	case "tag":
		q.Join("tag", "id", "tag_config.tag_id").Is("tag_config.active").FieldList("id tag.id")
		name = q.Ref("tag.name")
	case "target":
		q.Join("build_target", "id", "build_target_config.build_target_id").Is("build_target_config.active").FieldList("id build_target.id")
		name = q.Ref("build_target.name")
	case "maven", "win":
		return searchArchives(c, q, kind, match)
	default:
		q.FieldList("id")
		name = q.Ref(table + ".name")
	}
	q.Field("name", name).Where(func(t query.Tuple) bool { return match(python.AsString(name(t))) })
	return q.Iterate(c.arg("queryOpts"))
}

// searchArchives looks at file names and at what the archive's type calls it.
func searchArchives(c *call, q *query.Query, kind any, match func(string) bool) any {
	q.Join("archiveinfo", "id", q.First()+".archive_id").FieldList("id archiveinfo.id")
	file := q.Ref("archiveinfo.filename")
	var other, name func(query.Tuple) any
	if kind == "maven" {
		other, name = q.Concat("-", "maven_archives.group_id", "maven_archives.artifact_id", "maven_archives.version"), file
	} else {
		other = q.Concat("/", "win_archives.relpath", "archiveinfo.filename")
		name = func(t query.Tuple) any { return leadingSlashes.ReplaceAllString(python.AsString(other(t)), "") }
	}
	q.Field("name", name).Where(func(t query.Tuple) bool { return match(python.AsString(file(t))) || match(python.AsString(other(t))) })
	return q.Iterate(c.arg("queryOpts"))
}

var leadingSlashes = regexp.MustCompile(`^/+`)

// matcher compiles terms: glob and regexp ignore case, else the name is equal.
func matcher(terms string, kind any) func(string) bool {
	switch kind {
	case "glob":
		return query.Glob(terms).MatchString
	case "regexp":
		return query.Regex("(?i)" + terms).MatchString
	}
	return func(s string) bool { return s == terms }
}
