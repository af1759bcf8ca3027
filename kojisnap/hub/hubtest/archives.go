package hubtest

import (
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

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
			q.Eq("archiveinfo."+column, v)
		}
	}
	if br := c.arg("componentBuildrootID"); br != nil {
		q.Join("buildroot_archives", "archive_id", "archiveinfo.id").Eq("buildroot_archives.buildroot_id", br).
			FieldList("component_buildroot_id buildroot_archives.buildroot_id, project buildroot_archives.project_dep")
	}
	if image := c.arg("imageID"); image != nil {
		q.Join("archive_components", "component_id", "archiveinfo.id").Eq("archive_components.archive_id", image)
	}
	if host := c.arg("hostID"); host != nil {
		q.Join("standard_buildroot", "buildroot_id", "archiveinfo.buildroot_id").Eq("standard_buildroot.host_id", host).
			FieldList("host_id standard_buildroot.host_id")
	}
	info, _ := c.arg("typeInfo").(*python.Struct)
	joinArchiveType(c, q, c.arg("type"), info)
	rows := q.Execute(c.arg("queryOpts"))
	if c.flag("strict") && !python.Truth(rows) {
		python.Generic("No archives found.")
	}
	return rows
}

func selectArchives(c *call, id any) *query.Query {
	q := c.from("archiveinfo").Join("archivetypes", "id", "archiveinfo.type_id").Join("btype", "id", "archiveinfo.btype_id").
		FieldList(archiveFields + `, extra archiveinfo.extra, type_name archivetypes.name
			type_description archivetypes.description, type_extensions archivetypes.extensions
			compression_type archivetypes.compression_type`).ExtraJSON("Invalid json data")
	if id != nil {
		q.Eq("archiveinfo.id", id)
	}
	return q
}

func joinArchiveType(c *call, q *query.Query, kind any, info *python.Struct) {
	if info == nil {
		info = &python.Struct{}
	}
	equals := func(table string, keys ...string) {
		for _, key := range keys {
			if v, ok := info.Get(key); ok {
				q.Eq(table+"."+key, v)
			}
		}
	}
	switch kind {
	case nil:
	case "maven":
		q.Join("maven_archives", "archive_id", "archiveinfo.id").
			FieldList("group_id maven_archives.group_id, artifact_id maven_archives.artifact_id, version maven_archives.version")
		equals("maven_archives", "group_id", "artifact_id", "version")
	case "win":
		q.Join("win_archives", "archive_id", "archiveinfo.id").
			FieldList("relpath win_archives.relpath, platforms win_archives.platforms, flags win_archives.flags")
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
		q.Join("image_archives", "archive_id", "archiveinfo.id").FieldList("arch image_archives.arch")
		if python.Truth(info.Val("arch")) {
			equals("image_archives", "arch")
		}
	default:
		btype := c.lookupName("btype", kind, false)
		if btype == nil {
			python.Generic("unsupported archive type: %s", python.Str(kind))
		}
		if python.Truth(info) {
			python.Generic("typeInfo queries not supported for type %s", python.Str(btype.Val("name")))
		}
		q.Eq("archiveinfo.btype_id", btype.Val("id"))
	}
}

func getMavenArchive(c *call) any { return oldArchive(c, "maven_archives") }
func getWinArchive(c *call) any   { return oldArchive(c, "win_archives") }
func getImageArchive(c *call) any { return oldArchive(c, "image_archives") }

// oldArchiveFields are the columns that the old types (maven, win, image) add to an archive.
var oldArchiveFields = map[string]string{
	"maven_archives": "group_id, artifact_id, version",
	"win_archives":   "relpath, platforms, flags",
	"image_archives": "arch",
}

func oldArchive(c *call, table string) any {
	row := archiveRow(c, table, c.arg("archive_id"))
	if row == nil {
		if c.flag("strict") {
			python.Generic("query returned no rows")
		}
		return nil
	}
	row.Set("archive_id", c.arg("archive_id"))
	return row
}

func archiveRow(c *call, table string, id any) *python.Struct {
	row := c.from(table).Eq(table+".archive_id", id).FieldList(oldArchiveFields[table]).One()
	if row != nil && table == "image_archives" {
		components := c.from("archive_rpm_components").Eq("archive_rpm_components.archive_id", id).FieldList("rpm_id")
		row.Set("rootid", components.One() != nil)
	}
	return row
}

// getArchive adds what the old types know about the archive.
func getArchive(c *call) any {
	id := c.arg("archive_id")
	archive := selectArchives(c, id).One()
	if archive == nil {
		if c.flag("strict") {
			python.Generic("No such archive: %s", python.Str(id))
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
