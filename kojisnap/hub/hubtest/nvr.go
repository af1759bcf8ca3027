package hubtest

import "strings"

// parseNVR is Koji's parse_NVR.
func parseNVR(nvr string) *Struct {
	head, release, ok := cutLast(nvr, "-")
	if !ok || release == "" {
		generic("invalid format: %s", nvr)
	}
	name, version, ok := cutLast(head, "-")
	if !ok || version == "" {
		generic("invalid format: %s", nvr)
	}
	epoch := ""
	if e, rest, ok := strings.Cut(name, ":"); ok {
		epoch, name = e, rest
	}
	return NewStruct("release", release, "version", version, "name", name, "epoch", epoch)
}

// parseNVRA is Koji's parse_NVRA: the suffix .rpm and @location may be there.
func parseNVRA(text string) *Struct {
	nvra, location, _ := strings.Cut(text, "@")
	nvra = strings.TrimSuffix(nvra, ".rpm")
	nvr, arch, ok := cutLast(nvra, ".")
	if !ok || arch == "" {
		generic("invalid format: %s", nvra)
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
