package generate

import "kojisnap/kojisnap/hub/hubtest/kojidb"

// bigTables are the columns of the tables that grow with a hub.
type bigTables struct {
	pkg struct {
		id   kojidb.IntColumn
		name kojidb.TextColumn
	}
	build struct {
		id, volume, pkg, epoch, event, state, task, owner kojidb.IntColumn
		version, release                                  kojidb.TextColumn
		start, completion                                 kojidb.TimeColumn
		source, extra                                     kojidb.HexColumn
	}
	types   struct{ build kojidb.IntColumn }
	task    struct{ id, owner, host kojidb.IntColumn }
	root    struct{ id, host, task, create, retire kojidb.IntColumn }
	created kojidb.TimeColumn // of tasks
	rpm     struct {
		id, build, root, epoch       kojidb.IntColumn
		name, version, release, arch kojidb.TextColumn
		payload                      kojidb.HexColumn
		size, time                   kojidb.LongColumn
	}
	sig struct {
		rpm  kojidb.IntColumn
		key  kojidb.TextColumn
		hash kojidb.HexColumn
	}
	listing struct {
		build, tag kojidb.IntColumn
		versionedColumns
	}
	listed struct {
		pkg, tag kojidb.IntColumn
		blocked  kojidb.BoolColumn
		versionedColumns
	}
	owned struct {
		pkg, tag, owner kojidb.IntColumn
		versionedColumns
	}
}

// versionedColumns are those that all versioned tables have.
type versionedColumns struct {
	create, revoke, creator, revoker kojidb.IntColumn
	active                           kojidb.BoolColumn
}

// row adds a row that a user made at an event and revoked at another one; null: it is active.
func (v *versionedColumns) row(create, revoke, user int32) {
	v.create.Add(create)
	v.creator.Add(user)
	v.revoke.Add(revoke)
	v.active.Add(revoke == kojidb.Null)
	if revoke == kojidb.Null {
		user = kojidb.Null
	}
	v.revoker.Add(user)
}

func (v *versionedColumns) with(c map[string]kojidb.Column) map[string]kojidb.Column {
	c["create_event"], c["revoke_event"] = &v.create, &v.revoke
	c["creator_id"], c["revoker_id"], c["active"] = &v.creator, &v.revoker, &v.active
	return c
}

func (b *bigTables) init() {
	versions, releases := kojidb.NewTexts(), kojidb.NewTexts()
	b.listed.blocked.Not = false
	b.pkg.name.Texts = kojidb.NewTexts()
	b.build.version.Texts, b.build.release.Texts = versions, releases
	b.rpm.version.Texts, b.rpm.release.Texts = versions, releases
	b.rpm.name.Texts, b.rpm.arch.Texts, b.sig.key.Texts = kojidb.NewTexts(), kojidb.NewTexts(), kojidb.NewTexts()
	b.rpm.payload.Width, b.sig.hash.Width = 16, 16
	b.build.source = kojidb.HexColumn{Width: 20, Prefix: &kojidb.TextColumn{Texts: kojidb.NewTexts()}}
	b.build.extra = kojidb.HexColumn{Width: 20, Prefix: &kojidb.TextColumn{Texts: kojidb.NewTexts()}, Suffix: `"}}`}
}

// grow makes room for builds, their rpms, and the rpms' signatures.
func (b *bigTables) grow(builds, rpms int) {
	kojidb.Grow(builds, &b.build.id, &b.build.volume, &b.build.pkg, &b.build.epoch, &b.build.event, &b.build.state, &b.build.task,
		&b.build.owner, &b.build.version, &b.build.release, &b.build.start, &b.build.completion, &b.build.source, &b.build.extra,
		&b.types.build, &b.task.id, &b.task.owner, &b.task.host, &b.created,
		&b.root.id, &b.root.host, &b.root.task, &b.root.create, &b.root.retire)
	kojidb.Grow(rpms, &b.rpm.id, &b.rpm.build, &b.rpm.root, &b.rpm.epoch, &b.rpm.name, &b.rpm.version, &b.rpm.release, &b.rpm.arch,
		&b.rpm.payload, &b.rpm.size, &b.rpm.time)
	kojidb.Grow(rpms*9/4, &b.sig.rpm, &b.sig.key, &b.sig.hash)
	v := &b.listing.versionedColumns
	kojidb.Grow(builds*2, &b.listing.build, &b.listing.tag, &v.create, &v.revoke, &v.creator, &v.revoker, &v.active)
}

// columns are the tables' columns by table and name.
func (b *bigTables) columns() map[string]map[string]kojidb.Column {
	zero, no := kojidb.Same(int64(0)), kojidb.Same(false)
	return map[string]map[string]kojidb.Column{
		"package": {"id": &b.pkg.id, "name": &b.pkg.name},
		"build": {"id": &b.build.id, "volume_id": &b.build.volume, "pkg_id": &b.build.pkg, "version": &b.build.version,
			"release": &b.build.release, "epoch": &b.build.epoch, "draft": no, "source": &b.build.source,
			"create_event": &b.build.event, "start_time": &b.build.start, "completion_time": &b.build.completion,
			"state": &b.build.state, "task_id": &b.build.task, "owner": &b.build.owner, "extra": &b.build.extra},
		"build_types": {"build_id": &b.types.build, "btype_id": kojidb.Same(int64(1))},
		"task": {"id": &b.task.id, "state": kojidb.Same(int64(2)), "create_time": &b.created, "start_time": &b.created,
			"completion_time": &b.created, "channel_id": kojidb.Same(int64(1)), "host_id": &b.task.host, "owner": &b.task.owner,
			"method": kojidb.Same("build"), "request": kojidb.Same(taskRequest), "result": kojidb.Same(taskResult), "arch": kojidb.Same("noarch"),
			"priority": kojidb.Same(int64(20)), "weight": kojidb.Same(0.2), "waiting": no, "awaited": no},
		"buildroot": {"id": &b.root.id, "br_type": zero},
		"standard_buildroot": {"buildroot_id": &b.root.id, "host_id": &b.root.host, "repo_id": kojidb.Same(int64(1)),
			"task_id": &b.root.task, "create_event": &b.root.create, "retire_event": &b.root.retire, "state": kojidb.Same(int64(3))},
		"rpminfo": {"id": &b.rpm.id, "build_id": &b.rpm.build, "buildroot_id": &b.rpm.root, "name": &b.rpm.name,
			"version": &b.rpm.version, "release": &b.rpm.release, "epoch": &b.rpm.epoch, "arch": &b.rpm.arch, "draft": no,
			"external_repo_id": zero, "payloadhash": &b.rpm.payload, "size": &b.rpm.size, "buildtime": &b.rpm.time,
			"metadata_only": no},
		"rpmsigs":     {"rpm_id": &b.sig.rpm, "sigkey": &b.sig.key, "sighash": &b.sig.hash},
		"tag_listing": b.listing.with(map[string]kojidb.Column{"build_id": &b.listing.build, "tag_id": &b.listing.tag}),
		"tag_packages": b.listed.with(map[string]kojidb.Column{"package_id": &b.listed.pkg, "tag_id": &b.listed.tag,
			"blocked": &b.listed.blocked}),
		"tag_package_owners": b.owned.with(map[string]kojidb.Column{"package_id": &b.owned.pkg, "tag_id": &b.owned.tag,
			"owner": &b.owned.owner}),
	}
}

const (
	taskRequest = "<?xml version='1.0'?>\n<methodCall>\n<methodName>build</methodName>\n<params>\n</params>\n</methodCall>\n"
	taskResult  = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n</params>\n</methodResponse>\n"
)
