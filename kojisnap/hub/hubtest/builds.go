package hubtest

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"time"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

func getBuild(c *call) any { return orNil(c.build(c.arg("buildInfo"), c.flag("strict"))) }

func findBuildID(c *call) any { return c.buildID(c.arg("X"), c.flag("strict")) }

// buildID finds a build by id (which it does not check), NVR or struct; nil if there is none.
func (c *call) buildID(info any, strict bool) any {
	var data *python.Struct
	switch v := info.(type) {
	case string:
		data = parseNVR(v)
	case *python.Struct:
		data = v
	default:
		if n, ok := python.Integer(info); ok {
			return n
		}
		python.Generic("Invalid type for argument: %s", python.TypeName(info))
	}
	for _, key := range []string{"name", "version", "release"} {
		if _, ok := data.Get(key); !ok {
			python.Generic("did not provide name, version, and release")
		}
	}
	found := c.from("package").Eq("package.name", data.Val("name")).Join("build", "pkg_id", "package.id").
		Eq("build.version", data.Val("version")).Eq("build.release", data.Val("release")).FieldList("id build.id").One()
	if found == nil {
		if strict {
			python.Generic("No such build: %s", python.Repr(info))
		}
		return nil
	}
	return found.Val("id")
}

func (c *call) build(info any, strict bool) *python.Struct {
	id := c.buildID(info, strict)
	if id == nil {
		return nil
	}
	q := c.from("build").Join("events", "id", "build.create_event").Join("package", "id", "build.pkg_id").
		Join("volume", "id", "build.volume_id").Join("users", "id", "build.owner").
		Left("users AS promoter", "id", "build.promoter").Eq("build.id", id).
		FieldList("id, cg_id")
	build := withBuildFields(q).One()
	if build == nil {
		if strict {
			python.Generic("No such build: %s", python.Str(info))
		}
		return nil
	}
	build.Set("cg_name", nil)
	if cg := build.Val("cg_id"); python.Truth(cg) {
		build.Set("cg_name", c.lookupName("content_generator", cg, true).Val("name"))
	}
	return build
}

// withBuildFields adds the fields that getBuild and listBuilds share.
func withBuildFields(q *query.Query) *query.Query {
	q.FieldList(`build_id build.id, version build.version, release build.release, epoch build.epoch
		draft build.draft, state build.state, completion_time build.completion_time
		promotion_time build.promotion_time, start_time build.start_time, source build.source, extra build.extra
		creation_event_id events.id, creation_time events.time, task_id build.task_id, package_id package.id
		package_name package.name, name package.name, volume_id volume.id, volume_name volume.name
		owner_id users.id, owner_name users.name, promoter_id promoter.id, promoter_name promoter.name`)
	return q.Joined("nvr", "package.name", "build.version", "build.release").Epoch("creation_ts", "events.time").
		Epoch("start_ts", "build.start_time").Epoch("completion_ts", "build.completion_time").
		Epoch("promotion_ts", "build.promotion_time").ExtraJSON("Invalid extra data")
}

func listBuilds(c *call) any {
	q := withBuildFields(c.from("build").Left("events", "id", "build.create_event").Left("package", "id", "build.pkg_id").
		Left("volume", "id", "build.volume_id").Left("users", "id", "build.owner").
		Left("users AS promoter", "id", "build.promoter"))
	if pkg := c.arg("packageID"); pkg != nil {
		id := c.getID("package", pkg, false)
		if id == nil {
			return []any{}
		}
		q.Eq("build.pkg_id", id)
	}
	for arg, column := range map[string]string{"userID": "build.owner", "promoter": "build.promoter"} {
		if who := c.arg(arg); who != nil {
			user := c.user(who, false)
			if user == nil {
				return []any{}
			}
			q.Eq(column, user.Val("id"))
		}
	}
	for arg, column := range map[string]string{"volumeID": "build.volume_id", "state": "build.state"} {
		if v := c.arg(arg); v != nil {
			q.Eq(column, v)
		}
	}
	if task := c.arg("taskID"); task == int64(-1) {
		id := q.Ref("build.task_id")
		q.Where(func(t query.Tuple) bool { return id(t) != nil })
	} else if task != nil {
		q.Eq("build.task_id", task)
	}
	whereBuildTexts(c, q)
	whereTimes(c, q, "created", "events.time")
	whereTimes(c, q, "complete", "build.completion_time")
	whereTimes(c, q, "promoted", "build.promotion_time")
	if cg := c.arg("cgID"); python.Truth(cg) {
		found := c.lookupName("content_generator", cg, false)
		if found == nil {
			return []any{}
		}
		q.Eq("build.cg_id", found.Val("id"))
	}
	c.buildType(q, c.arg("type"))
	if info, ok := c.arg("typeInfo").(*python.Struct); ok && python.Truth(info) {
		switch c.arg("type") {
		case "maven":
			for _, key := range []string{"group_id", "artifact_id", "version"} {
				if v, ok := info.Get(key); ok {
					q.Eq("maven_builds."+key, v)
				}
			}
		case "win":
			q.Eq("win_builds.platform", info.Val("platform"))
		}
	}
	return q.Draft("build", c.arg("draft")).Iterate(c.arg("queryOpts"))
}

func whereBuildTexts(c *call, q *query.Query) {
	if source := c.arg("source"); source != nil {
		like, value := query.Glob(python.Str(source)), q.Ref("build.source")
		q.Where(func(t query.Tuple) bool { s, ok := value(t).(string); return ok && like.MatchString(s) })
	}
	if prefix := c.arg("prefix"); python.Truth(prefix) {
		like, name := query.Ilike(python.Str(prefix)+"%"), q.Ref("package.name")
		q.Where(func(t query.Tuple) bool { return like.MatchString(python.AsString(name(t))) })
	}
	if pattern := c.arg("pattern"); python.Truth(pattern) {
		like, nvr := query.Glob(python.Str(pattern)), q.Concat("-", "package.name", "build.version", "build.release")
		q.Where(func(t query.Tuple) bool { return like.MatchString(python.AsString(nvr(t))) })
	}
}

// whereTimes adds the conditions of the arguments NAMEBefore and NAMEAfter.
func whereTimes(c *call, q *query.Query, name, ref string) {
	value := q.Ref(ref)
	if limit := c.arg(name + "Before"); python.Truth(limit) {
		at := c.moment(limit)
		q.Where(func(t query.Tuple) bool {
			v, ok := value(t).(python.Time)
			return ok && v < query.SqlValue(at).(python.Time)
		})
	}
	if limit := c.arg(name + "After"); python.Truth(limit) {
		at := c.moment(limit)
		q.Where(func(t query.Tuple) bool {
			v, ok := value(t).(python.Time)
			return ok && v > query.SqlValue(at).(python.Time)
		})
	}
}

func (c *call) ahead() python.Time {
	if c.srv.atLeast(1, 35) {
		return 0
	}
	return python.Time(c.srv.opts.Ahead.Microseconds())
}

// moment parses a time that a caller gives as seconds or as text. If PostgreSQL would refuse the text, it
// returns a *Fault, which is raised when the query runs. Before 1.35 Koji makes of seconds its own local time without
// an offset, which the database takes to be of its session's zone.
func (c *call) moment(v any) any {
	switch v := v.(type) {
	case string:
		for _, layout := range []string{"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02T15:04:05Z07:00", "2006-01-02"} {
			if t, err := time.Parse(layout, v); err == nil {
				return python.Time(t.UnixMicro())
			}
		}
		if t, err := kojidb.ParseTime(v); err == nil {
			return t
		}
		return &python.Fault{Code: 1, Class: "psycopg2.errors.InvalidDatetimeFormat",
			Text: "invalid input syntax for type timestamp with time zone: \"" + v + "\""}
	case float64:
		return python.Time(math.RoundToEven(v*1e6)) + c.ahead()
	}
	n, ok := python.Integer(v)
	if !ok {
		python.Exception("TypeError", "a number is required")
	}
	return python.Time(n*1e6) + c.ahead()
}

func getBuildType(c *call) any {
	build := c.build(c.arg("buildInfo"), c.flag("strict"))
	if build == nil {
		return nil
	}
	types := &python.Struct{}
	info := &python.Struct{}
	if extra, ok := build.Val("extra").(*python.Struct); ok {
		if typeinfo, ok := extra.Val("typeinfo").(*python.Struct); ok {
			info = typeinfo
		}
	}
	for _, row := range c.from("build_types").Join("btype", "id", "build_types.btype_id").
		Eq("build_types.build_id", build.Val("id")).FieldList("name btype.name").Rows() {
		name := python.AsString(row.Val("name"))
		types.Set(name, info.Val(name))
	}
	for _, old := range []struct {
		name string
		info *python.Struct
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

func buildRow(c *call, table string, build any, fields string) *python.Struct {
	return c.from(table).Eq(table+".build_id", build).FieldList(fields).One()
}

func getMavenBuild(c *call) any {
	return oldBuildType(c, "maven_builds", "build_id, group_id, artifact_id, version", "maven")
}
func getWinBuild(c *call) any   { return oldBuildType(c, "win_builds", "build_id, platform", "Windows") }
func getImageBuild(c *call) any { return oldBuildType(c, "image_builds", "build_id", "image") }

func oldBuildType(c *call, table, fields, kind string) any {
	id := c.buildID(c.arg("buildInfo"), c.flag("strict"))
	if !python.Truth(id) {
		return nil
	}
	row := buildRow(c, table, id, fields)
	if row == nil && c.flag("strict") {
		python.Generic("no such %s build: %s", kind, python.Str(c.arg("buildInfo")))
	}
	return orNil(row)
}

func untaggedBuilds(c *call) any {
	q := c.from("build").Join("package", "id", "build.pkg_id").Eq("build.state", stateComplete).
		FieldList("id build.id, name package.name, version build.version, release build.release").Draft("build", c.arg("draft"))
	if name := c.arg("name"); name != nil {
		q.Eq("package.name", name)
	}
	id, listing := q.Ref("build.id"), c.Table("tag_listing")
	at := listing.At("active")
	if at < 0 {
		return q.Iterate(c.arg("queryOpts"))
	}
	active := listing.Get(at)
	q.Where(func(t query.Tuple) bool {
		of := listing.Where("build_id", id(t))
		for k := range of.Len() {
			if active(of.At(k)) == true {
				return false
			}
		}
		return true
	})
	return q.Iterate(c.arg("queryOpts"))
}

func getAverageBuildDuration(c *call) any {
	pkg := c.getID("package", c.arg("package"), false)
	if !python.Truth(pkg) {
		return nil
	}
	if c.arg("age") != nil {
		python.Exception("NotImplementedError", "hubtest has no clock for the argument age")
	}
	q := c.from("build").Join("events", "id", "build.create_event").Eq("build.pkg_id", pkg).Eq("build.state", stateComplete)
	q.FieldList("task_id, extra build.extra, start events.time, end build.completion_time")
	sum, n := 0.0, 0
	for _, row := range q.Rows() {
		start, ok1 := row.Val("start").(python.Time)
		end, ok2 := row.Val("end").(python.Time)
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

// buildDir is a build's directory below topdir.
func buildDir(build *python.Struct) string {
	dir := path.Join("packages", python.AsString(build.Val("name")), python.AsString(build.Val("version")), python.AsString(build.Val("release")))
	if volume := python.AsString(build.Val("volume_name")); volume != "" && volume != "DEFAULT" {
		dir = path.Join("vol", volume, dir)
	}
	return dir
}

// getBuildLogs lists the regular files below a build's data/logs in Options.Topdir, each directory's
// sorted; without a topdir it lists nothing. data/logs may be a symlink to a directory; as with Koji's
// os.walk, no other symlink is followed or listed.
func getBuildLogs(c *call) any {
	build := c.build(c.arg("build"), true)
	logs := []any{}
	if c.srv.opts.Topdir == "" {
		return logs
	}
	rel := path.Join(buildDir(build), "data/logs")
	top := filepath.Join(c.srv.opts.Topdir, rel)
	switch info, err := os.Stat(top); {
	case errors.Is(err, fs.ErrNotExist):
		return logs
	case err == nil && !info.IsDir():
		python.Generic("Not a directory: %s", top)
	}
	var walk func(dir string)
	walk = func(dir string) {
		entries, _ := os.ReadDir(filepath.Join(top, dir)) // skip what cannot be read
		for _, e := range entries {
			if e.Type().IsRegular() {
				// Koji joins the paths like this: for files directly in data/logs the path has a
				// component ".".
				logs = append(logs, python.NewStruct("name", e.Name(), "dir", dir, "path", rel+"/"+dir+"/"+e.Name()))
			}
		}
		for _, e := range entries {
			if e.IsDir() {
				walk(path.Join(dir, e.Name()))
			}
		}
	}
	walk(".")
	return logs
}
