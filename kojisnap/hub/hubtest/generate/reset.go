package generate

import "kojisnap/kojisnap/hub/hubtest/kojidb"

// ResetBuild does what Koji's resetBuild does: it deletes what hangs on a build, its taggings too, and cancels it. No event
// tells of that.
func ResetBuild(tx *kojidb.Tx, id any) error {
	of := kojidb.Values{"build_id": id}
	rpms, err := tx.Select("rpminfo", of)
	if err != nil {
		return err
	}
	archives, err := tx.Select("archiveinfo", of)
	if err != nil {
		return err
	}
	type rows struct {
		of     kojidb.Values
		tables []string
	}
	var hanging []rows
	for _, rpm := range rpms {
		hanging = append(hanging, rows{kojidb.Values{"rpm_id": rpm["id"]}, []string{"rpm_checksum", "rpmsigs", "buildroot_listing", "archive_rpm_components"}})
	}
	for _, archive := range archives {
		hanging = append(hanging, rows{kojidb.Values{"archive_id": archive["id"]}, []string{"maven_archives", "win_archives", "image_archives", "buildroot_archives", "archive_rpm_components", "archive_components"}},
			rows{kojidb.Values{"component_id": archive["id"]}, []string{"archive_components"}})
	}
	hanging = append(hanging, rows{of, []string{"rpminfo", "archiveinfo", "maven_builds", "win_builds", "image_builds", "build_types", "tag_listing"}})
	for _, h := range hanging {
		for _, table := range h.tables {
			if _, err := tx.Delete(table, h.of); err != nil {
				return err
			}
		}
	}
	_, err = tx.Update("build", kojidb.Values{"id": id}, kojidb.Values{"state": stateCanceled, "task_id": nil, "volume_id": int64(0)})
	return err
}
