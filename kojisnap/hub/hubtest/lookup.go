package hubtest

import (
	"strings"

	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

// whereNameOrID adds Koji's condition for an object given by id, by name, or by a struct with one of them.
func whereNameOrID(q *query.Query, alias string, info any) *query.Query {
	given := info
	if s, ok := info.(*python.Struct); ok {
		if id, ok := s.Get("id"); ok {
			n, ok := python.Integer(id)
			if !ok {
				python.Parameter("Invalid name or id value: %s", python.Repr(given))
			}
			info = n
		} else if name, ok := s.Get("name"); ok {
			info = name
		} else {
			python.Parameter("Invalid name or id value: %s", python.Repr(given))
		}
	}
	if n, ok := python.Integer(info); ok {
		return q.Eq(alias+".id", n)
	}
	if name, ok := info.(string); ok {
		return q.Eq(alias+".name", name)
	}
	python.Parameter("Invalid name or id value: %s", python.Repr(given))
	return nil
}

// lookupName is Koji's lookup_name: a struct of id and name, or nil.
func (c *call) lookupName(table string, info any, strict bool) *python.Struct {
	found := whereNameOrID(c.from(table), table, info).FieldList("id, name").One()
	if found == nil && strict {
		python.Generic("No such entry in table %s: %s", table, python.Str(info))
	}
	return found
}

// getID is Koji's get_id: nil if there is no such object.
func (c *call) getID(table string, info any, strict bool) any {
	if s := c.lookupName(table, info, strict); s != nil {
		return s.Val("id")
	}
	return nil
}

// orNil keeps a nil *Struct from becoming a value that is not nil.
func orNil(s *python.Struct) any {
	if s == nil {
		return nil
	}
	return s
}

// parseNVR is Koji's parse_NVR.
func parseNVR(nvr string) *python.Struct {
	head, release, ok := cutLast(nvr, "-")
	if !ok || release == "" {
		python.Generic("invalid format: %s", nvr)
	}
	name, version, ok := cutLast(head, "-")
	if !ok || version == "" {
		python.Generic("invalid format: %s", nvr)
	}
	epoch := ""
	if e, rest, ok := strings.Cut(name, ":"); ok {
		epoch, name = e, rest
	}
	return python.NewStruct("release", release, "version", version, "name", name, "epoch", epoch)
}

// parseNVRA is Koji's parse_NVRA: the text may have the suffix .rpm and @location.
func parseNVRA(text string) *python.Struct {
	nvra, location, _ := strings.Cut(text, "@")
	nvra = strings.TrimSuffix(nvra, ".rpm")
	nvr, arch, ok := cutLast(nvra, ".")
	if !ok || arch == "" {
		python.Generic("invalid format: %s", nvra)
	}
	s := parseNVR(nvr)
	s.Set("arch", arch)
	s.Set("src", arch == "src")
	if location != "" {
		s.Set("location", location)
	}
	return s
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
