package hubtest

import (
	"strings"

	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

// Koji's BUILD_STATES.
const stateComplete = int64(1)

// taggedFilter is what the calls about tagged builds can ask for.
type taggedFilter struct {
	tag, event        any
	inherit           bool
	latest            any // true, or how many a package
	pkg, owner, btype any
	arch, draft       any
	extra, rpmsigs    bool
	buildExtra        bool
}

func (c *call) taggedFilter(tag any) taggedFilter {
	return taggedFilter{tag: tag, event: c.arg("event"), inherit: c.flag("inherit"), latest: c.arg("latest"),
		pkg: c.arg("package"), owner: c.arg("owner"), btype: c.arg("type"), arch: c.arg("arch"), draft: c.arg("draft"),
		extra: c.flag("extra"), rpmsigs: c.flag("rpmsigs")}
}

func listTagged(c *call) any {
	tag := c.tag(c.arg("tag"), c.flag("strict"), c.arg("event"), false)
	if tag == nil {
		return []any{}
	}
	w := c.taggedFilter(tag.Val("id"))
	w.buildExtra = w.extra
	builds := c.taggedBuilds(w)
	prefix := strings.ToLower(python.Str(orEmpty(c.arg("prefix"))))
	out := []any{}
	for _, b := range builds {
		if strings.HasPrefix(strings.ToLower(python.AsString(b.Val("package_name"))), prefix) {
			out = append(out, b)
		}
	}
	return out
}

func getLatestBuilds(c *call) any {
	w := c.taggedFilter(c.tagOrID())
	w.inherit, w.latest = true, true
	return query.AnyList(c.taggedBuilds(w))
}

func listTaggedRPMS(c *call) any {
	tag := c.tag(c.arg("tag"), c.flag("strict"), c.arg("event"), false)
	if tag == nil {
		return []any{}
	}
	return c.taggedRPMs(c.taggedFilter(tag.Val("id")))
}

func getLatestRPMS(c *call) any {
	w := c.taggedFilter(c.tagOrID())
	w.inherit, w.latest, w.extra = true, true, true
	return c.taggedRPMs(w)
}

func listTaggedArchives(c *call) any {
	tag := c.tag(c.arg("tag"), c.flag("strict"), c.arg("event"), false)
	if tag == nil {
		return []any{}
	}
	return c.taggedArchives(c.taggedFilter(tag.Val("id")))
}

// tagOrID accepts each id, even if there is no such tag.
func (c *call) tagOrID() any {
	if n, ok := python.Integer(c.arg("tag")); ok {
		return n
	}
	return c.getID("tag", c.arg("tag"), true)
}

// taggedBuilds is Koji's readTaggedBuilds: complete builds of packages that the tag's package list has and
// does not block. In each tag of the inheritance the most recently tagged builds come first.
func (c *call) taggedBuilds(w taggedFilter) []*python.Struct {
	tags := c.lineage(w.tag, w.event, w.inherit)
	list := packagesOf(c, packageFilter{tag: w.tag, pkg: w.pkg, event: w.event, inherit: true, blocked: true})
	builds := []*python.Struct{}
	seen := map[any]int64{}
	for _, tag := range tags {
		for _, build := range c.buildsIn(tag, w) {
			id := build.Val("package_id")
			entry := list.get(id)
			if entry == nil || python.Truth(entry.Val("blocked")) {
				continue
			}
			if python.Truth(w.latest) {
				if seen[id] >= python.AsInt(w.latest) {
					continue
				}
				seen[id]++
			}
			builds = append(builds, build)
		}
	}
	return builds
}

func (c *call) buildsIn(tag any, w taggedFilter) []*python.Struct {
	q := c.from("tag_listing").Join("tag", "id", "tag_listing.tag_id").Join("build", "id", "tag_listing.build_id").
		Join("events", "id", "build.create_event").Join("package", "id", "build.pkg_id").
		Join("volume", "id", "build.volume_id").Join("users", "id", "build.owner").
		Left("users AS promoter", "id", "build.promoter").FieldList(`tag_id tag.id, tag_name tag.name
			id build.id, build_id build.id, version build.version, release build.release, epoch build.epoch
			state build.state, completion_time build.completion_time, promotion_time build.promotion_time
			start_time build.start_time, task_id build.task_id, draft build.draft, owner_id users.id
			owner_name users.name, promoter_id promoter.id, promoter_name promoter.name
			creation_event_id events.id, creation_time events.time, volume_id volume.id, volume_name volume.name
			package_id package.id, package_name package.name, name package.name
			create_event tag_listing.create_event`).
		Joined("nvr", "package.name", "build.version", "build.release").
		At("tag_listing", w.event).Eq("tag_listing.tag_id", tag).Eq("build.state", stateComplete).
		Draft("build", w.draft)
	c.buildType(q, w.btype)
	if python.Truth(w.pkg) {
		q.Eq("package.name", w.pkg)
	}
	if python.Truth(w.owner) {
		q.Eq("users.name", w.owner)
	}
	if w.buildExtra {
		q.FieldList("extra build.extra").ExtraJSON("Invalid extra data")
	}
	return rowsInOrder(q, "-create_event,-id")
}

// buildType restricts a query over build to a type, and adds what the old types know about a build.
func (c *call) buildType(q *query.Query, btype any) {
	switch btype {
	case nil:
	case "maven":
		q.Join("maven_builds", "build_id", "build.id").FieldList(`maven_group_id maven_builds.group_id
			maven_artifact_id maven_builds.artifact_id, maven_version maven_builds.version`)
	case "win":
		q.Join("win_builds", "build_id", "build.id").FieldList("platform win_builds.platform")
	case "image":
		q.Join("image_builds", "build_id", "build.id")
	default:
		found := c.lookupName("btype", btype, false)
		if found == nil {
			python.Generic("unsupported build type: %s", python.Str(btype))
		}
		q.Join("build_types", "build_id", "build.id").Eq("build_types.btype_id", found.Val("id"))
	}
}

// taggedRPMs is [generator of rpms, builds].
func (c *call) taggedRPMs(w taggedFilter) any {
	switch w.arch.(type) {
	case nil, string, []any:
	default:
		if python.Truth(w.arch) {
			python.Generic("Invalid type for arch option: %s", python.TypeName(w.arch))
		}
	}
	builds := c.taggedBuilds(w)
	tags := c.lineage(w.tag, w.event, w.inherit)
	c.Table("rpminfo") // read now: the rows are those of now, although they are sent later
	rpms := &python.Generator{Each: func(f func(any)) { c.fromBuilds(tags, builds, w.rpmsIn(c), f) }}
	return []any{rpms, query.AnyList(builds)}
}

// fromBuilds collects the rows of the tags whose builds were listed for the same tag.
func (c *call) fromBuilds(tags []any, builds []*python.Struct, in func(tag any) *query.Query, f func(any)) {
	taggedIn := map[any]any{}
	for _, b := range builds {
		taggedIn[b.Val("build_id")] = b.Val("tag_id")
	}
	done := map[any]bool{}
	for _, tag := range tags {
		if done[tag] {
			continue
		}
		done[tag] = true
		q := in(tag)
		build := q.Ref("tag_listing.build_id")
		q.WhereOf("tag_listing", func(t query.Tuple) bool { in, ok := taggedIn[build(t)]; return ok && in == tag })
		q.Generate(query.Options{}, nil).Each(f)
	}
}

func (w taggedFilter) rpmsIn(c *call) func(tag any) *query.Query {
	return func(tag any) *query.Query {
		q := c.from("tag_listing").Join("rpminfo", "build_id", "tag_listing.build_id").FieldList(`name rpminfo.name
			version rpminfo.version, release rpminfo.release, arch rpminfo.arch, id rpminfo.id, epoch rpminfo.epoch
			draft rpminfo.draft, payloadhash rpminfo.payloadhash, size rpminfo.size, buildtime rpminfo.buildtime
			buildroot_id rpminfo.buildroot_id, build_id rpminfo.build_id, metadata_only rpminfo.metadata_only`).
			At("tag_listing", w.event).Eq("tag_listing.tag_id", tag).Draft("rpminfo", w.draft)
		if python.Truth(w.pkg) {
			q.Join("build", "id", "rpminfo.build_id").Join("package", "id", "build.pkg_id").Eq("package.name", w.pkg)
		}
		if w.rpmsigs {
			q.Left("rpmsigs", "rpm_id", "rpminfo.id").FieldList("sigkey rpmsigs.sigkey")
		}
		if python.Truth(w.arch) {
			q.In("rpminfo.arch", w.arch)
		}
		if w.extra {
			q.FieldList("extra rpminfo.extra").ExtraJSON("Invalid json data")
		}
		return q
	}
}

// taggedArchives is [archives, builds].
func (c *call) taggedArchives(w taggedFilter) any {
	builds := c.taggedBuilds(taggedFilter{tag: w.tag, event: w.event, inherit: w.inherit, latest: w.latest, pkg: w.pkg, btype: w.btype})
	tags := c.lineage(w.tag, w.event, w.inherit)
	if w.event != nil && python.Truth(w.pkg) {
		// In this case Koji joins a second table with a create_event.
		python.Exception("psycopg2.errors.AmbiguousColumn", "column reference \"create_event\" is ambiguous")
	}
	archives := &python.Generator{Each: func(f func(any)) { c.fromBuilds(tags, builds, w.archivesIn(c), f) }}
	return []any{archives.Run(), query.AnyList(builds)}
}

func (w taggedFilter) archivesIn(c *call) func(tag any) *query.Query {
	return func(tag any) *query.Query {
		q := c.from("tag_listing").Join("archiveinfo", "build_id", "tag_listing.build_id").
			Join("btype", "id", "archiveinfo.btype_id").FieldList(archiveFields).
			At("tag_listing", w.event).Eq("tag_listing.tag_id", tag)
		if python.Truth(w.pkg) {
			q.Join("build", "id", "archiveinfo.build_id").Join("package", "id", "build.pkg_id").Eq("package.name", w.pkg)
		}
		switch w.btype {
		case nil:
		case "maven":
			q.Join("maven_archives", "archive_id", "archiveinfo.id").FieldList(`maven_group_id maven_archives.group_id
				maven_artifact_id maven_archives.artifact_id, maven_version maven_archives.version`)
		case "win":
			q.Join("win_archives", "archive_id", "archiveinfo.id").
				FieldList("relpath win_archives.relpath, platforms win_archives.platforms, flags win_archives.flags")
		default:
			python.Generic("unsupported archive type: %s", python.Str(w.btype))
		}
		if w.extra {
			q.FieldList("extra archiveinfo.extra").ExtraJSON("Invalid json data")
		}
		return q
	}
}
