package kojisnap

// Conflicts name what staging could not take from production, because something of its own
// holds the place. Differences that they explain are counted, but not held against staging.
type Conflicts struct {
	Builds   []string    // names-version-release of production's builds
	RPMs     []int64     // ids of production's rpms
	Taggings []TagMember // of production's builds, by name-version-release
	Packages []TagMember // entries of production's package lists, by the package's name
}

// TagMember is something in a tag.
type TagMember struct{ Tag, Name string }

// known is Conflicts as it applies to one tag and what that inherits.
type known struct {
	builds   map[string]bool // NVRs
	rpms     map[int64]bool
	packages map[string]bool // names
}

func (c Conflicts) in(tags map[string]bool) known {
	k := known{builds: map[string]bool{}, rpms: map[int64]bool{}, packages: map[string]bool{}}
	for _, nvr := range c.Builds {
		k.builds[nvr] = true
	}
	for _, id := range c.RPMs {
		k.rpms[id] = true
	}
	for _, m := range c.Taggings {
		if tags[m.Tag] {
			k.builds[m.Name] = true
		}
	}
	for _, m := range c.Packages {
		if tags[m.Tag] {
			k.packages[m.Name] = true
		}
	}
	return k
}

// explains reports whether a difference at an rpm of production is on record. Then another
// build of the package may be staging's latest.
func (k known) explains(r *taggedRPM) bool {
	return k.rpms[r.id] || k.builds[r.build.nvr()] || k.packages[r.build.name]
}
