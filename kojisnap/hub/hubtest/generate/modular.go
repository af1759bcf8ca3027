package generate

import "kojisnap/kojisnap/hub/hubtest/kojidb"

// ContentTag is the name of the content tag of the recorded module build,
// postgresql-stream-16-4220250401.abcdef12. The recorded hub does not have that tag.
const ContentTag = "module-postgresql-16"

// AddContentTag adds ContentTag and the module's rpms in it to recorded rows, from event 378 on, before the
// module was tagged. With it, composes of the module can be made.
func AddContentTag(m *kojidb.Memory) error {
	const tag, pkg, build, event = 25, 35, 42, 378
	row := func(v kojidb.Values) kojidb.Values {
		v["create_event"], v["creator_id"], v["active"], v["tag_id"] = event, 1, true, tag
		return v
	}
	return m.Change(func(tx *kojidb.Tx) error {
		for _, r := range []struct {
			table string
			row   kojidb.Values
		}{
			{"tag", kojidb.Values{"id": tag, "name": ContentTag}},
			{"tag_config", row(kojidb.Values{"arches": "x86_64", "locked": false, "maven_support": false, "maven_include_all": false})},
			{"tag_packages", row(kojidb.Values{"package_id": pkg, "blocked": false})},
			{"tag_package_owners", row(kojidb.Values{"package_id": pkg, "owner": 1})},
			{"tag_listing", row(kojidb.Values{"build_id": build})},
		} {
			if err := tx.Insert(r.table, r.row); err != nil {
				return err
			}
		}
		return nil
	})
}
