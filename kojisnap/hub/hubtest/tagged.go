package hubtest

import "strings"

// Koji's BUILD_STATES.
const stateComplete = int64(1)

// taggedWish is what the calls about tagged builds ask for.
type taggedWish struct {
	tag, event        any
	inherit           bool
	latest            any // true, or how many a package
	pkg, owner, btype any
	arch, draft       any
	extra, rpmsigs    bool
	buildExtra        bool
}

func (c *call) taggedWish(tag any) taggedWish {
	return taggedWish{tag: tag, event: c.arg("event"), inherit: c.flag("inherit"), latest: c.arg("latest"),
		pkg: c.arg("package"), owner: c.arg("owner"), btype: c.arg("type"), arch: c.arg("arch"), draft: c.arg("draft"),
		extra: c.flag("extra"), rpmsigs: c.flag("rpmsigs")}
}

func listTagged(c *call) any {
	tag := c.tag(c.arg("tag"), c.flag("strict"), c.arg("event"), false)
	if tag == nil {
		return []any{}
	}
	w := c.taggedWish(tag.Val("id"))
	w.buildExtra = w.extra
	builds := c.taggedBuilds(w)
	prefix := strings.ToLower(str(orEmpty(c.arg("prefix"))))
	out := []any{}
	for _, b := range builds {
		if strings.HasPrefix(strings.ToLower(asString(b.Val("package_name"))), prefix) {
			out = append(out, b)
		}
	}
	return out
}

func getLatestBuilds(c *call) any {
	w := c.taggedWish(c.tagOrID())
	w.inherit, w.latest = true, true
	return anyList(c.taggedBuilds(w))
}

func listTaggedRPMS(c *call) any {
	tag := c.tag(c.arg("tag"), c.flag("strict"), c.arg("event"), false)
	if tag == nil {
		return []any{}
	}
	return c.taggedRPMs(c.taggedWish(tag.Val("id")))
}

func getLatestRPMS(c *call) any {
	w := c.taggedWish(c.tagOrID())
	w.inherit, w.latest, w.extra = true, true, true
	return c.taggedRPMs(w)
}

func listTaggedArchives(c *call) any {
	tag := c.tag(c.arg("tag"), c.flag("strict"), c.arg("event"), false)
	if tag == nil {
		return []any{}
	}
	return c.taggedArchives(c.taggedWish(tag.Val("id")))
}

// tagOrID takes an id as it is, whether there is such a tag or not.
func (c *call) tagOrID() any {
	if n, ok := integer(c.arg("tag")); ok {
		return n
	}
	return c.getID("tag", c.arg("tag"), true)
}

// taggedBuilds is Koji's readTaggedBuilds: complete builds of packages that
// the tag's package list has and does not block, most recently tagged first
// in each tag of the inheritance.
func (c *call) taggedBuilds(w taggedWish) []*Struct {
	tags := c.lineage(w.tag, w.event, w.inherit)
	list := packagesOf(c, packageWish{tag: w.tag, pkg: w.pkg, event: w.event, inherit: true, blocked: true})
	builds := []*Struct{}
	seen := map[any]int64{}
	for _, tag := range tags {
		for _, build := range c.buildsIn(tag, w) {
			id := build.Val("package_id")
			entry := list.get(id)
			if entry == nil || truth(entry.Val("blocked")) {
				continue
			}
			if truth(w.latest) {
				if seen[id] >= asInt(w.latest) {
					continue
				}
				seen[id]++
			}
			builds = append(builds, build)
		}
	}
	return builds
}

func (c *call) buildsIn(tag any, w taggedWish) []*Struct {
	q := c.from("tag_listing").join("tag", "id", "tag_listing.tag_id").join("build", "id", "tag_listing.build_id").
		join("events", "id", "build.create_event").join("package", "id", "build.pkg_id").
		join("volume", "id", "build.volume_id").join("users", "id", "build.owner").
		left("users AS promoter", "id", "build.promoter").fieldList(`tag_id tag.id, tag_name tag.name
			id build.id, build_id build.id, version build.version, release build.release, epoch build.epoch
			state build.state, completion_time build.completion_time, promotion_time build.promotion_time
			start_time build.start_time, task_id build.task_id, draft build.draft, owner_id users.id
			owner_name users.name, promoter_id promoter.id, promoter_name promoter.name
			creation_event_id events.id, creation_time events.time, volume_id volume.id, volume_name volume.name
			package_id package.id, package_name package.name, name package.name
			create_event tag_listing.create_event`).
		joined("nvr", "package.name", "build.version", "build.release").
		at("tag_listing", w.event).eq("tag_listing.tag_id", tag).eq("build.state", stateComplete).
		draft("build", w.draft)
	c.buildType(q, w.btype)
	if truth(w.pkg) {
		q.eq("package.name", w.pkg)
	}
	if truth(w.owner) {
		q.eq("users.name", w.owner)
	}
	if w.buildExtra {
		q.fieldList("extra build.extra").extraJSON("Invalid extra data")
	}
	return rowsInOrder(q, "-create_event,-id")
}

// buildType restricts a query over build to a type, and adds what the old
// types know about a build.
func (c *call) buildType(q *query, btype any) {
	switch btype {
	case nil:
	case "maven":
		q.join("maven_builds", "build_id", "build.id").fieldList(`maven_group_id maven_builds.group_id
			maven_artifact_id maven_builds.artifact_id, maven_version maven_builds.version`)
	case "win":
		q.join("win_builds", "build_id", "build.id").fieldList("platform win_builds.platform")
	case "image":
		q.join("image_builds", "build_id", "build.id")
	default:
		found := c.lookupName("btype", btype, false)
		if found == nil {
			generic("unsupported build type: %s", str(btype))
		}
		q.join("build_types", "build_id", "build.id").eq("build_types.btype_id", found.Val("id"))
	}
}

// taggedRPMs is [generator of rpms, builds].
func (c *call) taggedRPMs(w taggedWish) any {
	switch w.arch.(type) {
	case nil, string, []any:
	default:
		if truth(w.arch) {
			generic("Invalid type for arch option: %s", typeName(w.arch))
		}
	}
	builds := c.taggedBuilds(w)
	tags := c.lineage(w.tag, w.event, w.inherit)
	c.table("rpminfo") // the rows are those of now, though they are sent later
	rpms := &generator{func(f func(any)) { c.fromBuilds(tags, builds, w.rpmsIn(c), f) }}
	return []any{rpms, anyList(builds)}
}

// fromBuilds collects what the tags' rows hold, if its build was listed for
// that same tag.
func (c *call) fromBuilds(tags []any, builds []*Struct, in func(tag any) *query, f func(any)) {
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
		build := q.ref("tag_listing.build_id")
		q.whereOf("tag_listing", func(t tuple) bool { in, ok := taggedIn[build(t)]; return ok && in == tag })
		q.generate(options{}, nil).each(f)
	}
}

func (w taggedWish) rpmsIn(c *call) func(tag any) *query {
	return func(tag any) *query {
		q := c.from("tag_listing").join("rpminfo", "build_id", "tag_listing.build_id").fieldList(`name rpminfo.name
			version rpminfo.version, release rpminfo.release, arch rpminfo.arch, id rpminfo.id, epoch rpminfo.epoch
			draft rpminfo.draft, payloadhash rpminfo.payloadhash, size rpminfo.size, buildtime rpminfo.buildtime
			buildroot_id rpminfo.buildroot_id, build_id rpminfo.build_id, metadata_only rpminfo.metadata_only`).
			at("tag_listing", w.event).eq("tag_listing.tag_id", tag).draft("rpminfo", w.draft)
		if truth(w.pkg) {
			q.join("build", "id", "rpminfo.build_id").join("package", "id", "build.pkg_id").eq("package.name", w.pkg)
		}
		if w.rpmsigs {
			q.left("rpmsigs", "rpm_id", "rpminfo.id").fieldList("sigkey rpmsigs.sigkey")
		}
		if truth(w.arch) {
			q.in("rpminfo.arch", w.arch)
		}
		if w.extra {
			q.fieldList("extra rpminfo.extra").extraJSON("Invalid json data")
		}
		return q
	}
}

// taggedArchives is [archives, builds].
func (c *call) taggedArchives(w taggedWish) any {
	builds := c.taggedBuilds(taggedWish{tag: w.tag, event: w.event, inherit: w.inherit, latest: w.latest, pkg: w.pkg, btype: w.btype})
	tags := c.lineage(w.tag, w.event, w.inherit)
	if w.event != nil && truth(w.pkg) {
		// Koji joins a second table with a create_event then.
		exception("psycopg2.errors.AmbiguousColumn", "column reference \"create_event\" is ambiguous")
	}
	archives := &generator{func(f func(any)) { c.fromBuilds(tags, builds, w.archivesIn(c), f) }}
	return []any{archives.run(), anyList(builds)}
}

func (w taggedWish) archivesIn(c *call) func(tag any) *query {
	return func(tag any) *query {
		q := c.from("tag_listing").join("archiveinfo", "build_id", "tag_listing.build_id").
			join("btype", "id", "archiveinfo.btype_id").fieldList(archiveFields).
			at("tag_listing", w.event).eq("tag_listing.tag_id", tag)
		if truth(w.pkg) {
			q.join("build", "id", "archiveinfo.build_id").join("package", "id", "build.pkg_id").eq("package.name", w.pkg)
		}
		switch w.btype {
		case nil:
		case "maven":
			q.join("maven_archives", "archive_id", "archiveinfo.id").fieldList(`maven_group_id maven_archives.group_id
				maven_artifact_id maven_archives.artifact_id, maven_version maven_archives.version`)
		case "win":
			q.join("win_archives", "archive_id", "archiveinfo.id").
				fieldList("relpath win_archives.relpath, platforms win_archives.platforms, flags win_archives.flags")
		default:
			generic("unsupported archive type: %s", str(w.btype))
		}
		if w.extra {
			q.fieldList("extra archiveinfo.extra").extraJSON("Invalid json data")
		}
		return q
	}
}
