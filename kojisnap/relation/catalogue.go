package relation

// all is in the order of loading: a relation stands behind those that it refers to.
var all = []*Relation{
	{Name: "events", Key: id, Columns: []Column{key("id"), {Name: "time", Type: Time}}},

	// Names.
	{Name: "users", Key: id, Unique: uniqueName, InPlace: true, Columns: []Column{
		key("id"), text("name"), num("status"), num("usertype")}},
	{Name: "permissions", Key: id, Unique: uniqueName, InPlace: true, Columns: []Column{
		key("id"), text("name"), null(text("description")).since(28, `\N`)}},
	{Name: "channels", Key: id, Unique: uniqueName, InPlace: true, Columns: []Column{
		key("id"), text("name"), null(text("description")).since(26, `\N`),
		flag("enabled").since(26, "t"), null(text("comment")).since(26, `\N`)}},
	{Name: "volume", Key: id, Unique: uniqueName, Columns: []Column{key("id"), part("name")}},
	{Name: "content_generator", Key: id, Unique: uniqueName, Columns: []Column{key("id"), text("name")}},
	{Name: "btype", Key: id, Unique: uniqueName, Columns: []Column{key("id"), part("name")}},
	{Name: "archivetypes", Key: id, Unique: uniqueName, InPlace: true, Columns: []Column{
		key("id"), text("name"), text("description"), text("extensions"),
		null(text("compression_type")).since(30, `\N`).of(compressionTypes)}},
	{Name: "package", Key: id, Unique: uniqueName, Columns: []Column{key("id"), part("name")}},
	{Name: "tag", Key: id, Unique: uniqueName, InPlace: true, Columns: []Column{key("id"), text("name")}},
	{Name: "build_target", Key: id, Unique: uniqueName, InPlace: true, Columns: []Column{key("id"), text("name")}},
	{Name: "external_repo", Key: id, Unique: uniqueName, InPlace: true, Columns: []Column{key("id"), text("name")}},
	{Name: "groups", Key: id, Unique: uniqueName, Columns: []Column{key("id"), text("name")}},

	// Tags.
	versioned("tag_config", []string{"tag_id"}, nil,
		ref("tag_id", "tag"), null(text("arches")), null(ref("perm_id", "permissions")),
		flag("locked"), flag("maven_support"), flag("maven_include_all")),
	versioned("tag_extra", []string{"tag_id", "key"}, nil,
		ref("tag_id", "tag"), text("key"), null(text("value"))),
	versioned("tag_inheritance", []string{"tag_id", "priority"}, [][]string{{"tag_id", "parent_id"}},
		ref("tag_id", "tag"), ref("parent_id", "tag"), num("priority"), null(num("maxdepth")),
		flag("intransitive"), flag("noconfig"), null(text("pkg_filter"))),
	versioned("tag_packages", []string{"package_id", "tag_id"}, nil,
		ref("package_id", "package"), ref("tag_id", "tag"), flag("blocked"), null(text("extra_arches"))),
	versioned("tag_package_owners", []string{"package_id", "tag_id"}, nil,
		ref("package_id", "package"), ref("tag_id", "tag"), ref("owner", "users")),
	versioned("build_target_config", []string{"build_target_id"}, nil,
		ref("build_target_id", "build_target"), ref("build_tag", "tag"), ref("dest_tag", "tag")),
	versioned("external_repo_config", []string{"external_repo_id"}, nil,
		ref("external_repo_id", "external_repo"), text("url")),
	versioned("tag_external_repos", []string{"tag_id", "priority"}, [][]string{{"tag_id", "external_repo_id"}},
		ref("tag_id", "tag"), ref("external_repo_id", "external_repo"), num("priority"),
		text("merge_mode"), null(text("arches")).since(24, `\N`)),
	versioned("group_config", []string{"group_id", "tag_id"}, nil,
		ref("group_id", "groups"), ref("tag_id", "tag"), flag("blocked"), null(flag("exported")),
		text("display_name"), null(flag("is_default")), null(flag("uservisible")),
		null(text("description")), null(text("langonly")), null(flag("biarchonly"))),
	versioned("group_req_listing", []string{"group_id", "tag_id", "req_id"}, nil,
		ref("group_id", "groups"), ref("tag_id", "tag"), ref("req_id", "groups"),
		flag("blocked"), null(text("type")), flag("is_metapkg")),
	versioned("group_package_listing", []string{"group_id", "tag_id", "package"}, nil,
		ref("group_id", "groups"), ref("tag_id", "tag"), text("package"), flag("blocked"),
		text("type"), null(flag("basearchonly")), null(text("requires"))),

	// Builds.
	{Name: "build", Key: id, Unique: [][]string{{"pkg_id", "version", "release"}}, InPlace: true, Columns: []Column{
		key("id"), ref("volume_id", "volume"), ref("pkg_id", "package"), part("version"), part("release"),
		null(num("epoch")), flag("draft").since(34, "f"), null(text("source")), ref("create_event", "events"),
		null(stamp("start_time")), null(stamp("completion_time")), null(stamp("promotion_time")).since(34, `\N`),
		num("state"), external("task_id"), ref("owner", "users"), null(ref("promoter", "users")).since(34, `\N`),
		null(ref("cg_id", "content_generator")), null(text("extra"))}},
	{Name: "build_types", Key: []string{"build_id", "btype_id"}, Columns: []Column{
		ref("build_id", "build"), ref("btype_id", "btype")}},
	{Name: "maven_builds", Key: []string{"build_id"}, InPlace: true, Columns: []Column{
		ref("build_id", "build"), text("group_id"), text("artifact_id"), text("version")}},
	{Name: "win_builds", Key: []string{"build_id"}, InPlace: true, Columns: []Column{
		ref("build_id", "build"), text("platform")}},
	{Name: "image_builds", Key: []string{"build_id"}, Columns: []Column{ref("build_id", "build")}},
	versioned("tag_listing", []string{"build_id", "tag_id"}, nil,
		ref("build_id", "build"), ref("tag_id", "tag")),
	{Name: "rpminfo", Key: id, Columns: []Column{
		key("id"), null(ref("build_id", "build")), external("buildroot_id"), part("name"), part("version"),
		part("release"), null(num("epoch")), part("arch"), null(flag("draft")).since(34, "f"),
		ref("external_repo_id", "external_repo"), text("payloadhash"), big("size"), big("buildtime"),
		flag("metadata_only"), null(text("extra"))}},
	{Name: "rpmsigs", Key: []string{"rpm_id", "sigkey"}, Columns: []Column{
		ref("rpm_id", "rpminfo"), part("sigkey"), text("sighash")}},

	// Archives.
	{Name: "archiveinfo", Key: id, Columns: []Column{
		key("id"), ref("type_id", "archivetypes"), null(ref("btype_id", "btype")), ref("build_id", "build"),
		external("buildroot_id"), part("filename"), big("size"), text("checksum"), num("checksum_type"),
		flag("metadata_only"), null(text("extra"))}},
	{Name: "maven_archives", Key: []string{"archive_id"}, Columns: []Column{
		ref("archive_id", "archiveinfo"), part("group_id"), part("artifact_id"), part("version")}},
	{Name: "win_archives", Key: []string{"archive_id"}, Columns: []Column{
		ref("archive_id", "archiveinfo"), part("relpath"), text("platforms"), null(text("flags"))}},
	{Name: "image_archives", Key: []string{"archive_id"}, Columns: []Column{
		ref("archive_id", "archiveinfo"), text("arch")}},
	{Name: "archive_rpm_components", Key: []string{"archive_id", "rpm_id"}, Columns: []Column{
		ref("archive_id", "archiveinfo"), ref("rpm_id", "rpminfo")}},
	{Name: "archive_components", Key: []string{"archive_id", "component_id"}, Columns: []Column{
		ref("archive_id", "archiveinfo"), ref("component_id", "archiveinfo")}},

	// What the hub found out about the files of rpms. Only production's database has it: the hub tells of it rpm by rpm.
	{Name: "rpm_checksum", Format: 4, Optional: true, Key: []string{"rpm_id", "sigkey", "checksum_type"}, Unique: [][]string{{"checksum"}}, Columns: []Column{
		ref("rpm_id", "rpminfo"), text("sigkey"), text("checksum"), small("checksum_type")}},
}

// compressionTypes are those that Koji 1.30 gave to the types of archives that there were.
var compressionTypes = map[string]string{"jar": "zip", "zip": "zip", "tar": "tar"}

var (
	id         = []string{"id"}
	uniqueName = [][]string{{"name"}}
)

// versioned adds the columns that every versioned relation of Koji has. subject is what a row
// is about: one active row for each; others are further such sets.
func versioned(name string, subject []string, others [][]string, cols ...Column) *Relation {
	r := &Relation{Name: name, Versioned: true, Key: append([]string{"create_event"}, subject...)}
	r.Columns = append(cols,
		ref("create_event", "events"), null(ref("revoke_event", "events")),
		ref("creator_id", "users"), null(ref("revoker_id", "users")), null(flag("active")))
	for _, u := range append([][]string{subject}, others...) {
		r.Unique = append(r.Unique, append(append([]string{}, u...), "active"))
	}
	return r
}

func key(name string) Column      { return Column{Name: name} }
func num(name string) Column      { return Column{Name: name} }
func small(name string) Column    { return Column{Name: name, Type: Int2} }
func big(name string) Column      { return Column{Name: name, Type: Int8} }
func flag(name string) Column     { return Column{Name: name, Type: Bool} }
func text(name string) Column     { return Column{Name: name, Type: Text} }
func part(name string) Column     { return Column{Name: name, Type: Text, Path: true} }
func stamp(name string) Column    { return Column{Name: name, Type: Time} }
func ref(name, to string) Column  { return Column{Name: name, Ref: to} }
func external(name string) Column { return Column{Name: name, Null: true, External: true} }
func null(c Column) Column        { c.Null = true; return c }
func (c Column) since(minor Release, missing string) Column {
	c.Since, c.Missing = minor, missing
	return c
}
func (c Column) of(names map[string]string) Column { c.MissingOf = names; return c }
