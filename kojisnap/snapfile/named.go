package snapfile

import (
	"cmp"
	"fmt"
	"slices"
)

// NamedBuild is a build that was asked for by name, beside the tags. A snapshot has all rows of it, as of
// a build that is tagged in the scope, whatever became of it in production.
type NamedBuild struct {
	ID int64 `json:"id"`
	// NVR is its name when the hub was asked; empty if the hub could not tell it.
	NVR string `json:"nvr,omitempty"`
	// Asked is what it was asked for by: the same name, the id, or the name that a draft had before
	// production promoted it.
	Asked string `json:"asked"`
}

// Name is the build for people: its NVR, or what it was asked for by.
func (b NamedBuild) Name() string {
	if b.NVR == "" {
		return b.Asked
	}
	return b.NVR
}

// validate refuses what no pull writes.
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
