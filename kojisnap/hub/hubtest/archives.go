package hubtest

const archiveFields = `id archiveinfo.id, type_id archiveinfo.type_id, btype_id archiveinfo.btype_id, btype btype.name
	build_id archiveinfo.build_id, buildroot_id archiveinfo.buildroot_id, filename archiveinfo.filename
	size archiveinfo.size, checksum archiveinfo.checksum, checksum_type archiveinfo.checksum_type
	metadata_only archiveinfo.metadata_only`

// listArchives leaves out archives without a btype, as Koji's join does.
func listArchives(c *call) any {
	q := selectArchives(c, c.arg("archiveID"))
	for arg, column := range map[string]string{"buildID": "build_id", "buildrootID": "buildroot_id", "filename": "filename",
		"size": "size", "checksum": "checksum", "checksum_type": "checksum_type"} {
		if v := c.arg(arg); v != nil {
			q.eq("archiveinfo."+column, v)
		}
	}
	if br := c.arg("componentBuildrootID"); br != nil {
		q.join("buildroot_archives", "archive_id", "archiveinfo.id").eq("buildroot_archives.buildroot_id", br).
			fieldList("component_buildroot_id buildroot_archives.buildroot_id, project buildroot_archives.project_dep")
	}
	if image := c.arg("imageID"); image != nil {
		q.join("archive_components", "component_id", "archiveinfo.id").eq("archive_components.archive_id", image)
	}
	if host := c.arg("hostID"); host != nil {
		q.join("standard_buildroot", "buildroot_id", "archiveinfo.buildroot_id").eq("standard_buildroot.host_id", host).
			fieldList("host_id standard_buildroot.host_id")
	}
	info, _ := c.arg("typeInfo").(*Struct)
	joinArchiveType(c, q, c.arg("type"), info)
	rows := q.execute(c.arg("queryOpts"))
	if c.flag("strict") && !truth(rows) {
		generic("No archives found.")
	}
	return rows
}

func selectArchives(c *call, id any) *query {
	q := c.from("archiveinfo").join("archivetypes", "id", "archiveinfo.type_id").join("btype", "id", "archiveinfo.btype_id").
		fieldList(archiveFields + `, extra archiveinfo.extra, type_name archivetypes.name
			type_description archivetypes.description, type_extensions archivetypes.extensions
			compression_type archivetypes.compression_type`).extraJSON("Invalid json data")
	if id != nil {
		q.eq("archiveinfo.id", id)
	}
	return q
}

func joinArchiveType(c *call, q *query, kind any, info *Struct) {
	if info == nil {
		info = &Struct{}
	}
	equals := func(table string, keys ...string) {
		for _, key := range keys {
			if v, ok := info.Get(key); ok {
				q.eq(table+"."+key, v)
			}
		}
	}
	switch kind {
	case nil:
	case "maven":
		q.join("maven_archives", "archive_id", "archiveinfo.id").
			fieldList("group_id maven_archives.group_id, artifact_id maven_archives.artifact_id, version maven_archives.version")
		equals("maven_archives", "group_id", "artifact_id", "version")
	case "win":
		q.join("win_archives", "archive_id", "archiveinfo.id").
			fieldList("relpath win_archives.relpath, platforms win_archives.platforms, flags win_archives.flags")
		equals("win_archives", "relpath")
		for _, key := range []string{"platforms", "flags"} {
			if v, ok := info.Get(key); ok {
				list, isList := v.([]any)
				if !isList {
					list = []any{v}
				}
				for _, word := range list {
					whereAnyWord(q, "win_archives."+key, word)
				}
			}
		}
	case "image":
		q.join("image_archives", "archive_id", "archiveinfo.id").fieldList("arch image_archives.arch")
		if truth(info.Val("arch")) {
			equals("image_archives", "arch")
		}
	default:
		btype := c.lookupName("btype", kind, false)
		if btype == nil {
			generic("unsupported archive type: %s", str(kind))
		}
		if truth(info) {
			generic("typeInfo queries not supported for type %s", str(btype.Val("name")))
		}
		q.eq("archiveinfo.btype_id", btype.Val("id"))
	}
}

func getMavenArchive(c *call) any { return oldArchive(c, "maven_archives") }
func getWinArchive(c *call) any   { return oldArchive(c, "win_archives") }
func getImageArchive(c *call) any { return oldArchive(c, "image_archives") }

// oldArchiveFields are the columns that the old types add to an archive.
var oldArchiveFields = map[string]string{
	"maven_archives": "group_id, artifact_id, version",
	"win_archives":   "relpath, platforms, flags",
	"image_archives": "arch",
}

func oldArchive(c *call, table string) any {
	row := archiveRow(c, table, c.arg("archive_id"))
	if row == nil {
		if c.flag("strict") {
			generic("query returned no rows")
		}
		return nil
	}
	row.Set("archive_id", c.arg("archive_id"))
	return row
}

func archiveRow(c *call, table string, id any) *Struct {
	row := c.from(table).eq(table+".archive_id", id).fieldList(oldArchiveFields[table]).one()
	if row != nil && table == "image_archives" {
		components := c.from("archive_rpm_components").eq("archive_rpm_components.archive_id", id).fieldList("rpm_id")
		row.Set("rootid", components.one() != nil)
	}
	return row
}

// getArchive adds what the old types know about the archive.
func getArchive(c *call) any {
	id := c.arg("archive_id")
	archive := selectArchives(c, id).one()
	if archive == nil {
		if c.flag("strict") {
			generic("No such archive: %s", str(id))
		}
		return nil
	}
	for _, table := range []string{"maven_archives", "win_archives", "image_archives"} {
		if row := archiveRow(c, table, id); row != nil {
			for i, key := range row.Keys {
				archive.Set(key, row.Vals[i])
			}
		}
	}
	return archive
}
