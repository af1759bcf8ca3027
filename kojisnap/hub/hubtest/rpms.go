package hubtest

import (
	"slices"
	"strconv"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

func hasTaskID(extra any) bool { return strings.Contains(python.AsString(extra), "koji_task_id") }

const rpmFields = `id rpminfo.id, name rpminfo.name, version rpminfo.version, release rpminfo.release, arch rpminfo.arch
	epoch rpminfo.epoch, draft rpminfo.draft, payloadhash rpminfo.payloadhash, size rpminfo.size
	buildtime rpminfo.buildtime, build_id rpminfo.build_id, buildroot_id rpminfo.buildroot_id
	external_repo_id rpminfo.external_repo_id, external_repo_name external_repo.name
	metadata_only rpminfo.metadata_only, extra rpminfo.extra`

func listRPMs(c *call) any {
	w := rpmFilter{build: c.arg("buildID"), buildroot: c.arg("buildrootID"), component: c.arg("componentBuildrootID"),
		image: c.arg("imageID"), host: c.arg("hostID"), arches: c.arg("arches"), draft: c.arg("draft")}
	return c.rpms(w).Reply(c.arg("queryOpts"))
}

func listBuildRPMs(c *call) any {
	build := c.arg("build")
	if _, ok := python.Integer(build); !ok {
		build = c.buildID(build, true)
	}
	return c.rpms(rpmFilter{build: build}).Execute(nil)
}

// rpmFilter selects rpms by each field that is not nil.
type rpmFilter struct{ build, buildroot, component, image, host, arches, draft any }

func (c *call) rpms(w rpmFilter) *query.Query {
	// Start with the relation that has the fewest rows: the order of inner joins does not matter.
	q := c.from("rpminfo")
	switch {
	case w.component != nil:
		q = c.from("buildroot_listing").Eq("buildroot_listing.buildroot_id", w.component).
			Join("rpminfo", "id", "buildroot_listing.rpm_id").
			FieldList("component_buildroot_id buildroot_listing.buildroot_id, is_update buildroot_listing.is_update")
		if w.image != nil {
			q.Join("archive_rpm_components", "rpm_id", "rpminfo.id").Eq("archive_rpm_components.archive_id", w.image)
		}
	case w.image != nil:
		q = c.from("archive_rpm_components").Eq("archive_rpm_components.archive_id", w.image).
			Join("rpminfo", "id", "archive_rpm_components.rpm_id")
	}
	q.Left("external_repo", "id", "rpminfo.external_repo_id").FieldList(rpmFields).
		Joined("nvr", "rpminfo.name", "rpminfo.version", "rpminfo.release").ExtraJSON("Invalid json data").
		Draft("rpminfo", w.draft)
	if w.build != nil {
		q.Eq("rpminfo.build_id", w.build)
	}
	if w.buildroot != nil {
		q.Eq("rpminfo.buildroot_id", w.buildroot)
	}
	if w.host != nil {
		q.Join("standard_buildroot", "buildroot_id", "rpminfo.buildroot_id").Eq("standard_buildroot.host_id", w.host)
	}
	switch w.arches.(type) {
	case nil:
	case []any, string:
		q.In("rpminfo.arch", w.arches)
	default:
		python.Generic("Invalid type for \"arches\" parameter: %s", python.TypeName(w.arches))
	}
	return q
}

func getRPM(c *call) any {
	if c.flag("multi") {
		_, rpms := c.findRPMs(c.arg("rpminfo"))
		return query.AnyList(rpms)
	}
	return orNil(c.rpm(c.arg("rpminfo"), c.flag("strict")))
}

// rpm returns one rpm. Internal rpms come before external ones, drafts after others; among equals it takes
// the newest.
func (c *call) rpm(info any, strict bool) *python.Struct {
	data, rpms := c.findRPMs(info)
	if len(rpms) == 0 && strict {
		python.Generic("No such rpm: %s", python.Repr(data))
	}
	var best *python.Struct
	rank := func(s *python.Struct) int {
		switch {
		case python.Truth(s.Val("external_repo_id")):
			return 0
		case python.Truth(s.Val("draft")):
			return 1
		}
		return 2
	}
	for _, r := range rpms {
		if best == nil || rank(r) > rank(best) || rank(r) == rank(best) && python.AsInt(r.Val("id")) > python.AsInt(best.Val("id")) {
			best = r
		}
	}
	return best
}

func (c *call) findRPMs(info any) (data *python.Struct, rpms []*python.Struct) {
	switch v := info.(type) {
	case string:
		if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil {
			data = python.NewStruct("id", n)
		} else {
			data = parseNVRA(v)
		}
	case *python.Struct:
		data = v.Clone()
	default:
		n, ok := python.Integer(info)
		if !ok {
			python.Generic("Invalid type for rpminfo: %s", python.TypeName(info))
		}
		data = python.NewStruct("id", n)
	}
	q := c.from("rpminfo").Join("external_repo", "id", "rpminfo.external_repo_id").FieldList(rpmFields).ExtraJSON("Invalid json data")
	if id, ok := data.Get("id"); ok {
		q.Eq("rpminfo.id", id)
	} else {
		for _, key := range []string{"name", "version", "release", "arch"} {
			v, ok := data.Get(key)
			if !ok {
				python.Exception("KeyError", "%s", key)
			}
			q.Eq("rpminfo."+key, v)
		}
	}
	if location, ok := data.Get("location"); ok {
		id := c.getID("external_repo", location, true)
		data.Set("external_repo_id", id)
		q.Eq("rpminfo.external_repo_id", id)
	}
	return data, q.Rows()
}

func queryRPMSigs(c *call) any {
	q := c.from("rpmsigs").FieldList("rpm_id, sigkey, sighash")
	rpm := c.arg("rpm_id")
	if _, ok := python.Integer(rpm); rpm != nil && !ok {
		found := c.rpm(rpm, false)
		if found == nil {
			return []any{}
		}
		rpm = found.Val("id")
	}
	if rpm != nil {
		q.Eq("rpmsigs.rpm_id", rpm)
	}
	if key := c.arg("sigkey"); key != nil {
		s, ok := key.(string)
		if !ok {
			python.Exception("AttributeError", "object has no attribute 'lower'")
		}
		q.Eq("rpmsigs.sigkey", strings.ToLower(s))
	}
	return q.Reply(c.arg("queryOpts"))
}

// Koji's CHECKSUM_TYPES.
var checksumTypes = []string{"md5", "sha1", "sha256"}

// getRPMChecksums answers only from the table rpm_checksum. A real hub without cacheonly computes missing
// checksums from its files, and stores them.
func getRPMChecksums(c *call) any {
	id, ok := c.arg("rpm_id").(int64)
	if !ok {
		python.Generic("rpm_id must be an integer")
	}
	c.rpm(id, true)
	types := []any{"md5", "sha256"}
	if requested := c.arg("checksum_types"); python.Truth(requested) {
		if types, ok = requested.([]any); !ok {
			python.Generic("checksum_type must be a list")
		}
	}
	for _, t := range types {
		if checksumType(t) < 0 {
			python.Generic("Checksum_type %s isn't supported", python.Str(t))
		}
	}
	sums := &python.Struct{}
	for _, row := range c.from("rpmsigs").Eq("rpmsigs.rpm_id", id).FieldList("sigkey").Rows() {
		byType := &python.Struct{}
		for _, t := range types {
			byType.Set(python.AsString(t), nil)
		}
		sums.Set(python.AsString(row.Val("sigkey")), byType)
	}
	found := 0
	for _, row := range c.from("rpm_checksum").Eq("rpm_checksum.rpm_id", id).FieldList("sigkey, checksum, checksum_type").Rows() {
		byType, ok := sums.Val(python.AsString(row.Val("sigkey"))).(*python.Struct)
		name := checksumTypes[python.AsInt(row.Val("checksum_type"))]
		if ok && slices.Contains(types, any(name)) {
			byType.Set(name, row.Val("checksum"))
			found++
		}
	}
	if found < len(sums.Keys)*len(types) && !c.flag("cacheonly") {
		python.Exception("FileNotFoundError", "hubtest computes no checksums: call with cacheonly=True")
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
