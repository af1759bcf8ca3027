package hubtest

// bigTables are the columns of the tables that grow with a hub.
type bigTables struct {
	pkg struct {
		id   intColumn
		name textColumn
	}
	build struct {
		id, volume, pkg, epoch, event, state, task, owner intColumn
		version, release                                  textColumn
		start, completion                                 timeColumn
		source, extra                                     hexColumn
	}
	types   struct{ build intColumn }
	task    struct{ id, owner, host intColumn }
	root    struct{ id, host, task, create, retire intColumn }
	created timeColumn // of tasks
	rpm     struct {
		id, build, root, epoch       intColumn
		name, version, release, arch textColumn
		payload                      hexColumn
		size, time                   longColumn
	}
	sig struct {
		rpm  intColumn
		key  textColumn
		hash hexColumn
	}
	listing struct {
		build, tag intColumn
		versionedColumns
	}
	listed struct {
		pkg, tag intColumn
		blocked  boolColumn
		versionedColumns
	}
	owned struct {
		pkg, tag, owner intColumn
		versionedColumns
	}
}

// versionedColumns are those that all versioned tables have.
type versionedColumns struct {
	create, revoke, creator, revoker intColumn
	active                           boolColumn
}

// row adds a row that was made at an event, and revoked at another one, by the
// same user, unless that is null.
func (v *versionedColumns) row(create, revoke, user int32) {
	v.create.add(create)
	v.creator.add(user)
	v.revoke.add(revoke)
	v.active.add(revoke == null)
	if revoke == null {
		user = null
	}
	v.revoker.add(user)
}

func (v *versionedColumns) with(c map[string]column) map[string]column {
	c["create_event"], c["revoke_event"] = &v.create, &v.revoke
	c["creator_id"], c["revoker_id"], c["active"] = &v.creator, &v.revoker, &v.active
	return c
}

func (b *bigTables) init() {
	versions, releases := newTexts(), newTexts()
	b.listed.blocked.not = false
	b.pkg.name.texts = newTexts()
	b.build.version.texts, b.build.release.texts = versions, releases
	b.rpm.version.texts, b.rpm.release.texts = versions, releases
	b.rpm.name.texts, b.rpm.arch.texts, b.sig.key.texts = newTexts(), newTexts(), newTexts()
	b.rpm.payload.width, b.sig.hash.width = 16, 16
	b.build.source = hexColumn{width: 20, prefix: &textColumn{texts: newTexts()}}
	b.build.extra = hexColumn{width: 20, prefix: &textColumn{texts: newTexts()}, suffix: `"}}`}
}

// grow makes room for the builds, for their rpms and the signatures of these.
func (b *bigTables) grow(builds, rpms int) {
	grow(builds, &b.build.id, &b.build.volume, &b.build.pkg, &b.build.epoch, &b.build.event, &b.build.state, &b.build.task,
		&b.build.owner, &b.build.version, &b.build.release, &b.build.start, &b.build.completion, &b.build.source, &b.build.extra,
		&b.types.build, &b.task.id, &b.task.owner, &b.task.host, &b.created,
		&b.root.id, &b.root.host, &b.root.task, &b.root.create, &b.root.retire)
	grow(rpms, &b.rpm.id, &b.rpm.build, &b.rpm.root, &b.rpm.epoch, &b.rpm.name, &b.rpm.version, &b.rpm.release, &b.rpm.arch,
		&b.rpm.payload, &b.rpm.size, &b.rpm.time)
	grow(rpms*9/4, &b.sig.rpm, &b.sig.key, &b.sig.hash)
	v := &b.listing.versionedColumns
	grow(builds*2, &b.listing.build, &b.listing.tag, &v.create, &v.revoke, &v.creator, &v.revoker, &v.active)
}

// columns are the tables' columns by table and name.
func (b *bigTables) columns() map[string]map[string]column {
	zero, no := same{int64(0)}, same{false}
	return map[string]map[string]column{
		"package": {"id": &b.pkg.id, "name": &b.pkg.name},
		"build": {"id": &b.build.id, "volume_id": &b.build.volume, "pkg_id": &b.build.pkg, "version": &b.build.version,
			"release": &b.build.release, "epoch": &b.build.epoch, "draft": no, "source": &b.build.source,
			"create_event": &b.build.event, "start_time": &b.build.start, "completion_time": &b.build.completion,
			"state": &b.build.state, "task_id": &b.build.task, "owner": &b.build.owner, "extra": &b.build.extra},
		"build_types": {"build_id": &b.types.build, "btype_id": same{int64(1)}},
		"task": {"id": &b.task.id, "state": same{int64(2)}, "create_time": &b.created, "start_time": &b.created,
			"completion_time": &b.created, "channel_id": same{int64(1)}, "host_id": &b.task.host, "owner": &b.task.owner,
			"method": same{"build"}, "request": same{taskRequest}, "result": same{taskResult}, "arch": same{"noarch"},
			"priority": same{int64(20)}, "weight": same{0.2}, "waiting": no, "awaited": no},
		"buildroot": {"id": &b.root.id, "br_type": zero},
		"standard_buildroot": {"buildroot_id": &b.root.id, "host_id": &b.root.host, "repo_id": same{int64(1)},
			"task_id": &b.root.task, "create_event": &b.root.create, "retire_event": &b.root.retire, "state": same{int64(3)}},
		"rpminfo": {"id": &b.rpm.id, "build_id": &b.rpm.build, "buildroot_id": &b.rpm.root, "name": &b.rpm.name,
			"version": &b.rpm.version, "release": &b.rpm.release, "epoch": &b.rpm.epoch, "arch": &b.rpm.arch, "draft": no,
			"external_repo_id": zero, "payloadhash": &b.rpm.payload, "size": &b.rpm.size, "buildtime": &b.rpm.time,
			"metadata_only": no},
		"rpmsigs":     {"rpm_id": &b.sig.rpm, "sigkey": &b.sig.key, "sighash": &b.sig.hash},
		"tag_listing": b.listing.with(map[string]column{"build_id": &b.listing.build, "tag_id": &b.listing.tag}),
		"tag_packages": b.listed.with(map[string]column{"package_id": &b.listed.pkg, "tag_id": &b.listed.tag,
			"blocked": &b.listed.blocked}),
		"tag_package_owners": b.owned.with(map[string]column{"package_id": &b.owned.pkg, "tag_id": &b.owned.tag,
			"owner": &b.owned.owner}),
	}
}

const (
	taskRequest = "<?xml version='1.0'?>\n<methodCall>\n<methodName>build</methodName>\n<params>\n</params>\n</methodCall>\n"
	taskResult  = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n</params>\n</methodResponse>\n"
)
