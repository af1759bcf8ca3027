package snapfile

import (
	"cmp"
	"fmt"
	"slices"
)

// NamedBuild is a build that was asked for by name besides the tags. The snapshot has all of its rows, as for
// a build that is tagged in the scope, whatever happened to it in production.
type NamedBuild struct {
	ID int64 `json:"id"`
	// NVR is the name that the hub gave; empty if it gave none.
	NVR string `json:"nvr,omitempty"`
	// Asked is what the request said: the same name, the id, or the name that a draft had before production
	// promoted it.
	Asked string `json:"asked"`
}

// Name returns the build's name for people: its NVR, or what the request said.
func (b NamedBuild) Name() string {
	if b.NVR == "" {
		return b.Asked
	}
	return b.NVR
}

// validate refuses entries that no pull writes.
func (b NamedBuild) validate() error {
	if b.ID <= 0 || b.ID != int64(int32(b.ID)) || b.Asked == "" {
		return fmt.Errorf("scope: %d, asked for as %q, is no build", b.ID, b.Asked)
	}
	return nil
}

// NamedBuild reports whether a build was asked for by name.
func (m *Manifest) NamedBuild(id int64) bool {
	_, named := slices.BinarySearchFunc(m.Scope.Builds, id, func(b NamedBuild, id int64) int { return cmp.Compare(b.ID, id) })
	return named
}
