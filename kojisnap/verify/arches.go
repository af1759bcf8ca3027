package verify

import (
	"slices"

	"kojisnap/volumes"
)

// treeArches returns the arches of the repositories of a tag: the wanted ones, or else those of its
// configuration, or else those of its rpms; and "source".
func (v linkChecks) treeArches(tag string, l *listing) []string {
	arches := slices.Clone(v.Arches)
	if len(arches) == 0 {
		arches = slices.Clone(v.arches[tag])
	}
	if len(arches) == 0 {
		for i := range l.rpms {
			if r := &l.rpms[i]; r.arch != "noarch" && !r.source() {
				arches = append(arches, r.arch)
			}
		}
	}
	arches = append(arches, "source")
	slices.Sort(arches)
	return slices.Compact(arches)
}

// composeOf returns a function that reports whether rpms of an arch belong into the repository of arch. It does
// not tell sources from others.
func composeOf(arch string) func(arch string) bool {
	if arch == "source" {
		return func(arch string) bool { return true }
	}
	return volumes.Want{Arches: []string{arch}}.TakesArch()
}

// canonical returns the arch for which a builder takes tasks of an rpm arch (koji.canonArch).
func canonical(arch string) string {
	for canon, arches := range map[string][]string{
		"i386":   {"i386", "i486", "i586", "i686", "athlon", "geode"},
		"ppc64":  {"ppc64", "ppc64p7", "ppc64pseries", "ppc64iseries"},
		"armhfp": {"armhfp", "armv7hl", "armv7hnl"},
		"arm":    {"arm", "armv3l", "armv4b", "armv4l", "armv4tl", "armv5tel", "armv5tejl", "armv6l", "armv7l"},
		"sparc":  {"sparc", "sparcv8", "sparcv9", "sparcv9v", "sparcv9v2", "sparcv9m"},
		"sh4":    {"sh4", "sh4a"},
	} {
		if slices.Contains(arches, arch) {
			return canon
		}
	}
	return arch
}
