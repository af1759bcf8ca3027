package hubtest

import (
	"math"
	"time"
)

func getBuild(c *call) any { return orNil(c.build(c.arg("buildInfo"), c.flag("strict"))) }

func findBuildID(c *call) any { return c.buildID(c.arg("X"), c.flag("strict")) }

// buildID finds a build by id (taken as it is), NVR or struct; nil if there is
// none.
func (c *call) buildID(info any, strict bool) any {
	var data *Struct
	switch v := info.(type) {
	case string:
		data = parseNVR(v)
	case *Struct:
		data = v
	default:
		if n, ok := integer(info); ok {
			return n
		}
		generic("Invalid type for argument: %s", typeName(info))
	}
	for _, key := range []string{"name", "version", "release"} {
		if _, ok := data.Get(key); !ok {
			generic("did not provide name, version, and release")
		}
	}
	found := c.from("package").eq("package.name", data.Val("name")).join("build", "pkg_id", "package.id").
		eq("build.version", data.Val("version")).eq("build.release", data.Val("release")).fieldList("id build.id").one()
	if found == nil {
		if strict {
			generic("No such build: %s", repr(info))
		}
		return nil
	}
	return found.Val("id")
}

func (c *call) build(info any, strict bool) *Struct {
	id := c.buildID(info, strict)
	if id == nil {
		return nil
	}
	q := c.from("build").join("events", "id", "build.create_event").join("package", "id", "build.pkg_id").
		join("volume", "id", "build.volume_id").join("users", "id", "build.owner").
		left("users AS promoter", "id", "build.promoter").eq("build.id", id).
		fieldList("id, cg_id")
	build := withBuildFields(q).one()
	if build == nil {
		if strict {
			generic("No such build: %s", str(info))
		}
		return nil
	}
	build.Set("cg_name", nil)
	if cg := build.Val("cg_id"); truth(cg) {
		build.Set("cg_name", c.lookupName("content_generator", cg, true).Val("name"))
	}
	return build
}

// withBuildFields are those that getBuild and listBuilds share.
func withBuildFields(q *query) *query {
	q.fieldList(`build_id build.id, version build.version, release build.release, epoch build.epoch
		draft build.draft, state build.state, completion_time build.completion_time
		promotion_time build.promotion_time, start_time build.start_time, source build.source, extra build.extra
		creation_event_id events.id, creation_time events.time, task_id build.task_id, package_id package.id
		package_name package.name, name package.name, volume_id volume.id, volume_name volume.name
		owner_id users.id, owner_name users.name, promoter_id promoter.id, promoter_name promoter.name`)
	return q.joined("nvr", "package.name", "build.version", "build.release").epoch("creation_ts", "events.time").
		epoch("start_ts", "build.start_time").epoch("completion_ts", "build.completion_time").
		epoch("promotion_ts", "build.promotion_time").extraJSON("Invalid extra data")
}

func listBuilds(c *call) any {
	q := withBuildFields(c.from("build").left("events", "id", "build.create_event").left("package", "id", "build.pkg_id").
		left("volume", "id", "build.volume_id").left("users", "id", "build.owner").
		left("users AS promoter", "id", "build.promoter"))
	if pkg := c.arg("packageID"); pkg != nil {
		id := c.getID("package", pkg, false)
		if id == nil {
			return []any{}
		}
		q.eq("build.pkg_id", id)
	}
	for arg, column := range map[string]string{"userID": "build.owner", "promoter": "build.promoter"} {
		if who := c.arg(arg); who != nil {
			user := c.user(who, false)
			if user == nil {
				return []any{}
			}
			q.eq(column, user.Val("id"))
		}
	}
	for arg, column := range map[string]string{"volumeID": "build.volume_id", "state": "build.state"} {
		if v := c.arg(arg); v != nil {
			q.eq(column, v)
		}
	}
	if task := c.arg("taskID"); task == int64(-1) {
		id := q.ref("build.task_id")
		q.where(func(t tuple) bool { return id(t) != nil })
	} else if task != nil {
		q.eq("build.task_id", task)
	}
	whereBuildTexts(c, q)
	whereTimes(c, q, "created", "events.time")
	whereTimes(c, q, "complete", "build.completion_time")
	whereTimes(c, q, "promoted", "build.promotion_time")
	if cg := c.arg("cgID"); truth(cg) {
		found := c.lookupName("content_generator", cg, false)
		if found == nil {
			return []any{}
		}
		q.eq("build.cg_id", found.Val("id"))
	}
	c.buildType(q, c.arg("type"))
	if info, ok := c.arg("typeInfo").(*Struct); ok && truth(info) {
		switch c.arg("type") {
		case "maven":
			for _, key := range []string{"group_id", "artifact_id", "version"} {
				if v, ok := info.Get(key); ok {
					q.eq("maven_builds."+key, v)
				}
			}
		case "win":
			q.eq("win_builds.platform", info.Val("platform"))
		}
	}
	return q.draft("build", c.arg("draft")).iterate(c.arg("queryOpts"))
}

func whereBuildTexts(c *call, q *query) {
	if source := c.arg("source"); source != nil {
		like, value := glob(str(source)), q.ref("build.source")
		q.where(func(t tuple) bool { s, ok := value(t).(string); return ok && like.MatchString(s) })
	}
	if prefix := c.arg("prefix"); truth(prefix) {
		like, name := ilike(str(prefix)+"%"), q.ref("package.name")
		q.where(func(t tuple) bool { return like.MatchString(asString(name(t))) })
	}
	if pattern := c.arg("pattern"); truth(pattern) {
		like, nvr := glob(str(pattern)), q.concat("-", "package.name", "build.version", "build.release")
		q.where(func(t tuple) bool { return like.MatchString(asString(nvr(t))) })
	}
}

// whereTimes adds the conditions of the arguments NAMEBefore and NAMEAfter.
func whereTimes(c *call, q *query, name, ref string) {
	value := q.ref(ref)
	if limit := c.arg(name + "Before"); truth(limit) {
		at := moment(limit)
		q.where(func(t tuple) bool { v, ok := value(t).(Time); return ok && v < sqlValue(at).(Time) })
	}
	if limit := c.arg(name + "After"); truth(limit) {
		at := moment(limit)
		q.where(func(t tuple) bool { v, ok := value(t).(Time); return ok && v > sqlValue(at).(Time) })
	}
}

// moment reads a time that a caller gives as seconds or as text; text that
// PostgreSQL refuses is a *Fault for when the query runs.
func moment(v any) any {
	switch v := v.(type) {
	case string:
		for _, layout := range []string{"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02T15:04:05Z07:00", "2006-01-02"} {
			if t, err := time.Parse(layout, v); err == nil {
				return Time(t.UnixMicro())
			}
		}
		if t, err := parseTime(v); err == nil {
			return t
		}
		return &Fault{Code: 1, Class: "psycopg2.errors.InvalidDatetimeFormat",
			Text: "invalid input syntax for type timestamp with time zone: \"" + v + "\""}
	case float64:
		return Time(math.RoundToEven(v * 1e6))
	}
	n, ok := integer(v)
	if !ok {
		exception("TypeError", "a number is required")
	}
	return Time(n * 1e6)
}

func getBuildType(c *call) any {
	build := c.build(c.arg("buildInfo"), c.flag("strict"))
	if build == nil {
		return nil
	}
	types := &Struct{}
	info := &Struct{}
	if extra, ok := build.Val("extra").(*Struct); ok {
		if typeinfo, ok := extra.Val("typeinfo").(*Struct); ok {
			info = typeinfo
		}
	}
	for _, row := range c.from("build_types").join("btype", "id", "build_types.btype_id").
		eq("build_types.build_id", build.Val("id")).fieldList("name btype.name").rows() {
		name := asString(row.Val("name"))
		types.Set(name, info.Val(name))
	}
	for _, old := range []struct {
		name string
		info *Struct
	}{
		{"maven", buildRow(c, "maven_builds", build.Val("id"), "build_id, group_id, artifact_id, version")},
		{"win", buildRow(c, "win_builds", build.Val("id"), "build_id, platform")},
		{"image", buildRow(c, "image_builds", build.Val("id"), "build_id")},
	} {
		if old.info != nil {
			types.Set(old.name, old.info)
		}
	}
	return types
}

func buildRow(c *call, table string, build any, fields string) *Struct {
	return c.from(table).eq(table+".build_id", build).fieldList(fields).one()
}

func getMavenBuild(c *call) any {
	return oldBuildType(c, "maven_builds", "build_id, group_id, artifact_id, version", "maven")
}
func getWinBuild(c *call) any   { return oldBuildType(c, "win_builds", "build_id, platform", "Windows") }
func getImageBuild(c *call) any { return oldBuildType(c, "image_builds", "build_id", "image") }

func oldBuildType(c *call, table, fields, kind string) any {
	id := c.buildID(c.arg("buildInfo"), c.flag("strict"))
	if !truth(id) {
		return nil
	}
	row := buildRow(c, table, id, fields)
	if row == nil && c.flag("strict") {
		generic("no such %s build: %s", kind, str(c.arg("buildInfo")))
	}
	return orNil(row)
}

func untaggedBuilds(c *call) any {
	q := c.from("build").join("package", "id", "build.pkg_id").eq("build.state", stateComplete).
		fieldList("id build.id, name package.name, version build.version, release build.release").draft("build", c.arg("draft"))
	if name := c.arg("name"); name != nil {
		q.eq("package.name", name)
	}
	id, listing := q.ref("build.id"), c.table("tag_listing")
	at := listing.at("active")
	if at < 0 {
		return q.iterate(c.arg("queryOpts"))
	}
	active := listing.get(at)
	q.where(func(t tuple) bool {
		of := listing.where("build_id", id(t))
		for k := range of.len() {
			if active(of.at(k)) == true {
				return false
			}
		}
		return true
	})
	return q.iterate(c.arg("queryOpts"))
}

func getAverageBuildDuration(c *call) any {
	pkg := c.getID("package", c.arg("package"), false)
	if !truth(pkg) {
		return nil
	}
	if c.arg("age") != nil {
		exception("NotImplementedError", "hubtest has no clock for the argument age")
	}
	q := c.from("build").join("events", "id", "build.create_event").eq("build.pkg_id", pkg).eq("build.state", stateComplete)
	q.fieldList("task_id, extra build.extra, start events.time, end build.completion_time")
	sum, n := 0.0, 0
	for _, row := range q.rows() {
		start, ok1 := row.Val("start").(Time)
		end, ok2 := row.Val("end").(Time)
		if ok1 && ok2 && (row.Val("task_id") != nil || hasTaskID(row.Val("extra"))) {
			sum += (end - start).Epoch()
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return sum / float64(n)
}
