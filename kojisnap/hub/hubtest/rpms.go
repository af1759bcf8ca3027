package hubtest

import (
	"slices"
	"strconv"
	"strings"
)

func hasTaskID(extra any) bool { return strings.Contains(asString(extra), "koji_task_id") }

const rpmFields = `id rpminfo.id, name rpminfo.name, version rpminfo.version, release rpminfo.release, arch rpminfo.arch
	epoch rpminfo.epoch, draft rpminfo.draft, payloadhash rpminfo.payloadhash, size rpminfo.size
	buildtime rpminfo.buildtime, build_id rpminfo.build_id, buildroot_id rpminfo.buildroot_id
	external_repo_id rpminfo.external_repo_id, external_repo_name external_repo.name
	metadata_only rpminfo.metadata_only, extra rpminfo.extra`

func listRPMs(c *call) any {
	w := rpmWish{build: c.arg("buildID"), buildroot: c.arg("buildrootID"), component: c.arg("componentBuildrootID"),
		image: c.arg("imageID"), host: c.arg("hostID"), arches: c.arg("arches"), draft: c.arg("draft")}
	return c.rpms(w).reply(c.arg("queryOpts"))
}

func listBuildRPMs(c *call) any {
	build := c.arg("build")
	if _, ok := integer(build); !ok {
		build = c.buildID(build, true)
	}
	return c.rpms(rpmWish{build: build}).execute(nil)
}

// rpmWish restricts a list of rpms by what is not nil.
type rpmWish struct{ build, buildroot, component, image, host, arches, draft any }

func (c *call) rpms(w rpmWish) *query {
	// The relation with the fewest rows comes first: an inner join has no order.
	q := c.from("rpminfo")
	switch {
	case w.component != nil:
		q = c.from("buildroot_listing").eq("buildroot_listing.buildroot_id", w.component).
			join("rpminfo", "id", "buildroot_listing.rpm_id").
			fieldList("component_buildroot_id buildroot_listing.buildroot_id, is_update buildroot_listing.is_update")
		if w.image != nil {
			q.join("archive_rpm_components", "rpm_id", "rpminfo.id").eq("archive_rpm_components.archive_id", w.image)
		}
	case w.image != nil:
		q = c.from("archive_rpm_components").eq("archive_rpm_components.archive_id", w.image).
			join("rpminfo", "id", "archive_rpm_components.rpm_id")
	}
	q.left("external_repo", "id", "rpminfo.external_repo_id").fieldList(rpmFields).
		joined("nvr", "rpminfo.name", "rpminfo.version", "rpminfo.release").extraJSON("Invalid json data").
		draft("rpminfo", w.draft)
	if w.build != nil {
		q.eq("rpminfo.build_id", w.build)
	}
	if w.buildroot != nil {
		q.eq("rpminfo.buildroot_id", w.buildroot)
	}
	if w.host != nil {
		q.join("standard_buildroot", "buildroot_id", "rpminfo.buildroot_id").eq("standard_buildroot.host_id", w.host)
	}
	switch w.arches.(type) {
	case nil:
	case []any, string:
		q.in("rpminfo.arch", w.arches)
	default:
		generic("Invalid type for \"arches\" parameter: %s", typeName(w.arches))
	}
	return q
}

func getRPM(c *call) any {
	if c.flag("multi") {
		_, rpms := c.findRPMs(c.arg("rpminfo"))
		return anyList(rpms)
	}
	return orNil(c.rpm(c.arg("rpminfo"), c.flag("strict")))
}

// rpm is one rpm: internal ones come before external ones, drafts after
// others, of several the newest.
func (c *call) rpm(info any, strict bool) *Struct {
	data, rpms := c.findRPMs(info)
	if len(rpms) == 0 && strict {
		generic("No such rpm: %s", repr(data))
	}
	var best *Struct
	rank := func(s *Struct) int {
		switch {
		case truth(s.Val("external_repo_id")):
			return 0
		case truth(s.Val("draft")):
			return 1
		}
		return 2
	}
	for _, r := range rpms {
		if best == nil || rank(r) > rank(best) || rank(r) == rank(best) && asInt(r.Val("id")) > asInt(best.Val("id")) {
			best = r
		}
	}
	return best
}

func (c *call) findRPMs(info any) (data *Struct, rpms []*Struct) {
	switch v := info.(type) {
	case string:
		if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil {
			data = NewStruct("id", n)
		} else {
			data = parseNVRA(v)
		}
	case *Struct:
		data = v.clone()
	default:
		n, ok := integer(info)
		if !ok {
			generic("Invalid type for rpminfo: %s", typeName(info))
		}
		data = NewStruct("id", n)
	}
	q := c.from("rpminfo").join("external_repo", "id", "rpminfo.external_repo_id").fieldList(rpmFields).extraJSON("Invalid json data")
	if id, ok := data.Get("id"); ok {
		q.eq("rpminfo.id", id)
	} else {
		for _, key := range []string{"name", "version", "release", "arch"} {
			v, ok := data.Get(key)
			if !ok {
				exception("KeyError", "%s", key)
			}
			q.eq("rpminfo."+key, v)
		}
	}
	if location, ok := data.Get("location"); ok {
		id := c.getID("external_repo", location, true)
		data.Set("external_repo_id", id)
		q.eq("rpminfo.external_repo_id", id)
	}
	return data, q.rows()
}

func queryRPMSigs(c *call) any {
	q := c.from("rpmsigs").fieldList("rpm_id, sigkey, sighash")
	rpm := c.arg("rpm_id")
	if _, ok := integer(rpm); rpm != nil && !ok {
		found := c.rpm(rpm, false)
		if found == nil {
			return []any{}
		}
		rpm = found.Val("id")
	}
	if rpm != nil {
		q.eq("rpmsigs.rpm_id", rpm)
	}
	if key := c.arg("sigkey"); key != nil {
		s, ok := key.(string)
		if !ok {
			exception("AttributeError", "object has no attribute 'lower'")
		}
		q.eq("rpmsigs.sigkey", strings.ToLower(s))
	}
	return q.reply(c.arg("queryOpts"))
}

// Koji's CHECKSUM_TYPES.
var checksumTypes = []string{"md5", "sha1", "sha256"}

// getRPMChecksums answers from the table rpm_checksum only. A real hub asked
// without cacheonly computes what is missing there from its files, and keeps it.
func getRPMChecksums(c *call) any {
	id, ok := c.arg("rpm_id").(int64)
	if !ok {
		generic("rpm_id must be an integer")
	}
	c.rpm(id, true)
	types := []any{"md5", "sha256"}
	if wish := c.arg("checksum_types"); truth(wish) {
		if types, ok = wish.([]any); !ok {
			generic("checksum_type must be a list")
		}
	}
	for _, t := range types {
		if checksumType(t) < 0 {
			generic("Checksum_type %s isn't supported", str(t))
		}
	}
	sums := &Struct{}
	for _, row := range c.from("rpmsigs").eq("rpmsigs.rpm_id", id).fieldList("sigkey").rows() {
		byType := &Struct{}
		for _, t := range types {
			byType.Set(asString(t), nil)
		}
		sums.Set(asString(row.Val("sigkey")), byType)
	}
	found := 0
	for _, row := range c.from("rpm_checksum").eq("rpm_checksum.rpm_id", id).fieldList("sigkey, checksum, checksum_type").rows() {
		byType, ok := sums.Val(asString(row.Val("sigkey"))).(*Struct)
		name := checksumTypes[asInt(row.Val("checksum_type"))]
		if ok && slices.Contains(types, any(name)) {
			byType.Set(name, row.Val("checksum"))
			found++
		}
	}
	if found < len(sums.Keys)*len(types) && !c.flag("cacheonly") {
		exception("FileNotFoundError", "hubtest computes no checksums: call with cacheonly=True")
	}
	return sums
}

func checksumType(name any) int {
	for i, t := range checksumTypes {
		if name == t {
			return i
		}
	}
	return -1
}
