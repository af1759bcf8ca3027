package hubtest

func listBuildroots(c *call) any {
	q := selectBuildroots(c)
	for arg, ref := range map[string]string{"hostID": "standard_buildroot.host_id", "tagID": "repo.tag_id", "taskID": "standard_buildroot.task_id"} {
		if v := c.arg(arg); v != nil {
			q.eq(ref, v)
		}
	}
	if state := c.arg("state"); state != nil {
		q.in("standard_buildroot.state", state)
	}
	if id := c.arg("buildrootID"); id != nil {
		q.in("buildroot.id", id)
	}
	if repo := c.arg("repoID"); truth(repo) {
		q.eq("standard_buildroot.repo_id", repo)
	}
	for arg, in := range map[string][2]string{"rpmID": {"buildroot_listing", "rpm_id"}, "archiveID": {"buildroot_archives", "archive_id"}} {
		v := c.arg(arg)
		if v == nil {
			continue
		}
		having := map[any]bool{}
		for _, row := range c.from(in[0]).eq(in[0]+"."+in[1], v).fieldList("buildroot_id").rows() {
			having[row.Val("buildroot_id")] = true
		}
		id := q.ref("buildroot.id")
		q.where(func(t tuple) bool { return having[id(t)] })
	}
	return q.execute(c.arg("queryOpts"))
}

func selectBuildroots(c *call) *query {
	q := c.from("buildroot").left("standard_buildroot", "buildroot_id", "buildroot.id").
		left("content_generator", "id", "buildroot.cg_id").left("host", "id", "standard_buildroot.host_id").
		left("repo", "id", "standard_buildroot.repo_id").left("tag", "id", "repo.tag_id").
		left("events AS create_events", "id", "standard_buildroot.create_event").
		left("events AS retire_events", "id", "standard_buildroot.retire_event").
		left("events AS repo_create", "id", "repo.create_event").fieldList(`id, br_type, cg_id
			cg_name content_generator.name, cg_version, container_arch, arch buildroot.container_arch, container_type
			host_os, host_arch, extra, state standard_buildroot.state, task_id standard_buildroot.task_id
			host_id host.id, host_name host.name, repo_id repo.id, repo_state repo.state, tag_id tag.id
			tag_name tag.name, create_event_id create_events.id, create_event_time create_events.time
			retire_event_id retire_events.id, retire_event_time retire_events.time
			repo_create_event_id repo_create.id, repo_create_event_time repo_create.time`)
	return q.epoch("create_ts", "create_events.time").epoch("retire_ts", "retire_events.time").extraJSON("Invalid extra data")
}

func getBuildroot(c *call) any {
	id, _ := toInt(c.arg("buildrootID"), false)
	found := selectBuildroots(c).eq("buildroot.id", id).one()
	if found == nil && c.flag("strict") {
		generic("No such buildroot: %d", id)
	}
	return orNil(found)
}

// getBuildrootListing is the rpms that were installed in a buildroot.
func getBuildrootListing(c *call) any {
	id := c.arg("id")
	if c.from("buildroot").eq("buildroot.id", id).fieldList("id").one() == nil {
		generic("no buildroot with ID: %s", str(id))
	}
	return c.from("buildroot_listing").eq("buildroot_listing.buildroot_id", id).join("rpminfo", "id", "buildroot_listing.rpm_id").
		join("external_repo", "id", "rpminfo.external_repo_id").fieldList(`rpm_id, is_update, name rpminfo.name
			version rpminfo.version, release rpminfo.release, epoch rpminfo.epoch, arch rpminfo.arch
			build_id rpminfo.build_id, draft rpminfo.draft, external_repo_id rpminfo.external_repo_id
			external_repo_name external_repo.name`).execute(nil)
}
