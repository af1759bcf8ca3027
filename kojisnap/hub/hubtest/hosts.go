package hubtest

import (
	"slices"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

func (c *call) hosts() *query.Query {
	q := c.from("host_config").Join("host", "id", "host_config.host_id").FieldList(`id host.id, user_id host.user_id
		name host.name, ready host.ready, task_load host.task_load, arches host_config.arches
		capacity host_config.capacity, description host_config.description, comment host_config.comment
		enabled host_config.enabled`)
	return q.Epoch("update_ts", "host.update_time")
}

func getHost(c *call) any {
	host := c.host(c.arg("hostInfo"), c.arg("event"))
	if host == nil && c.flag("strict") {
		python.Generic("Invalid hostInfo: %s", python.Str(c.arg("hostInfo")))
	}
	return orNil(host)
}

func (c *call) host(info, event any) *python.Struct {
	return whereNameOrID(c.hosts().At("host_config", event), "host", info).One()
}

// listHosts takes queryOpts and ignores them, as Koji does.
func listHosts(c *call) any {
	q := c.hosts().Is("host_config.active")
	if arches := c.arg("arches"); arches != nil {
		if !python.Truth(arches) {
			python.Generic("arches option cannot be empty")
		}
		whereAnyWord(q, "host_config.arches", arches)
	}
	if channel := c.arg("channelID"); channel != nil {
		q.Join("host_channels", "host_id", "host.id").Is("host_channels.active").
			Eq("host_channels.channel_id", c.getID("channels", channel, true))
	}
	for _, name := range []string{"ready", "enabled"} {
		want := c.arg(name)
		if want == nil {
			continue
		}
		ref := map[string]string{"ready": "host.ready", "enabled": "host_config.enabled"}[name]
		q.Eq(ref, python.Truth(want))
	}
	if user := c.arg("userID"); user != nil {
		q.Eq("host.user_id", c.user(user, true).Val("id"))
	}
	return q.Execute(nil)
}

// whereAnyWord requires that a text has one of the words.
func whereAnyWord(q *query.Query, ref string, words any) {
	list, ok := words.([]any)
	if !ok {
		list = []any{words}
	}
	var patterns []string
	for _, w := range list {
		patterns = append(patterns, python.Str(w))
	}
	re, value := query.Regex(`\m(`+strings.Join(patterns, "|")+`)\M`), q.Ref(ref)
	q.Where(func(t query.Tuple) bool { s, ok := value(t).(string); return ok && re.MatchString(s) })
}

func (c *call) channels(table string) *query.Query {
	q := c.from(table)
	if table != "channels" {
		q.Join("channels", "id", table+".channel_id")
	}
	return q.FieldList(`id channels.id, name channels.name, description channels.description
		enabled channels.enabled, comment channels.comment`)
}

func getChannel(c *call) any {
	channel := whereNameOrID(c.channels("channels"), "channels", c.arg("channelInfo")).One()
	if channel == nil && c.flag("strict") {
		python.Generic("query returned no rows")
	}
	return orNil(channel)
}

func listChannels(c *call) any {
	q := c.channels("channels")
	if host := c.arg("hostID"); python.Truth(host) {
		if _, ok := host.(string); ok {
			found := c.host(host, nil)
			if found == nil {
				python.Generic("Invalid hostInfo: %s", python.Str(host))
			}
			host = found.Val("id")
		}
		q = c.channels("host_channels").At("host_channels", c.arg("event")).Eq("host_channels.host_id", host)
	} else if c.flag("event") {
		python.Generic("list_channels with event and not host is not allowed.")
	}
	if enabled := c.arg("enabled"); enabled != nil {
		q.Eq("channels.enabled", python.Truth(enabled))
	}
	return q.Execute(nil)
}

func getAllArches(c *call) any {
	list := []any{}
	for _, row := range c.from("host_config").Is("host_config.active").FieldList("arches").Rows() {
		for _, arch := range strings.Fields(python.AsString(row.Val("arches"))) {
			if !slices.Contains(list, any(arch)) {
				list = append(list, arch)
			}
		}
	}
	return list
}

func listBuildroots(c *call) any {
	q := selectBuildroots(c)
	for arg, ref := range map[string]string{"hostID": "standard_buildroot.host_id", "tagID": "repo.tag_id", "taskID": "standard_buildroot.task_id"} {
		if v := c.arg(arg); v != nil {
			q.Eq(ref, v)
		}
	}
	if state := c.arg("state"); state != nil {
		q.In("standard_buildroot.state", state)
	}
	if id := c.arg("buildrootID"); id != nil {
		q.In("buildroot.id", id)
	}
	if repo := c.arg("repoID"); python.Truth(repo) {
		q.Eq("standard_buildroot.repo_id", repo)
	}
	for arg, in := range map[string][2]string{"rpmID": {"buildroot_listing", "rpm_id"}, "archiveID": {"buildroot_archives", "archive_id"}} {
		v := c.arg(arg)
		if v == nil {
			continue
		}
		having := map[any]bool{}
		for _, row := range c.from(in[0]).Eq(in[0]+"."+in[1], v).FieldList("buildroot_id").Rows() {
			having[row.Val("buildroot_id")] = true
		}
		id := q.Ref("buildroot.id")
		q.Where(func(t query.Tuple) bool { return having[id(t)] })
	}
	return q.Execute(c.arg("queryOpts"))
}

func selectBuildroots(c *call) *query.Query {
	q := c.from("buildroot").Left("standard_buildroot", "buildroot_id", "buildroot.id").
		Left("content_generator", "id", "buildroot.cg_id").Left("host", "id", "standard_buildroot.host_id").
		Left("repo", "id", "standard_buildroot.repo_id").Left("tag", "id", "repo.tag_id").
		Left("events AS create_events", "id", "standard_buildroot.create_event").
		Left("events AS retire_events", "id", "standard_buildroot.retire_event").
		Left("events AS repo_create", "id", "repo.create_event").FieldList(`id, br_type, cg_id
			cg_name content_generator.name, cg_version, container_arch, arch buildroot.container_arch, container_type
			host_os, host_arch, extra, state standard_buildroot.state, task_id standard_buildroot.task_id
			host_id host.id, host_name host.name, repo_id repo.id, repo_state repo.state, tag_id tag.id
			tag_name tag.name, create_event_id create_events.id, create_event_time create_events.time
			retire_event_id retire_events.id, retire_event_time retire_events.time
			repo_create_event_id repo_create.id, repo_create_event_time repo_create.time`)
	return q.Epoch("create_ts", "create_events.time").Epoch("retire_ts", "retire_events.time").ExtraJSON("Invalid extra data")
}

func getBuildroot(c *call) any {
	id, _ := python.ToInt(c.arg("buildrootID"), false)
	found := selectBuildroots(c).Eq("buildroot.id", id).One()
	if found == nil && c.flag("strict") {
		python.Generic("No such buildroot: %d", id)
	}
	return orNil(found)
}

// getBuildrootListing returns the rpms that were installed in a buildroot.
func getBuildrootListing(c *call) any {
	id := c.arg("id")
	if c.from("buildroot").Eq("buildroot.id", id).FieldList("id").One() == nil {
		python.Generic("no buildroot with ID: %s", python.Str(id))
	}
	return c.from("buildroot_listing").Eq("buildroot_listing.buildroot_id", id).Join("rpminfo", "id", "buildroot_listing.rpm_id").
		Join("external_repo", "id", "rpminfo.external_repo_id").FieldList(`rpm_id, is_update, name rpminfo.name
			version rpminfo.version, release rpminfo.release, epoch rpminfo.epoch, arch rpminfo.arch
			build_id rpminfo.build_id, draft rpminfo.draft, external_repo_id rpminfo.external_repo_id
			external_repo_name external_repo.name`).Execute(nil)
}
