// Package overlay reads and checks the file in which an operator says what staging has beyond or
// instead of production's. It knows no database: package apply below it applies an overlay.
package overlay

import (
	"slices"
	"strings"
)

// Overlay is what an operator wants in staging beyond or instead of production's. Each load
// brings the database to it, in the same transaction; what an earlier overlay put there and
// this one does not name goes again, and what that had taken the place of comes back. Rows that
// staging's admins made stay. scripts/overlay.example.toml explains all of it.
//
// Names that refer to nothing cannot be deleted, as history refers to them: a user or a host
// that goes is blocked, a channel disabled; permissions, content generators and targets stay as
// names that mean nothing.
type Overlay struct {
	Everyone          Everyone           `toml:"everyone" json:"everyone"`
	Users             []User             `toml:"user" json:"user,omitempty"`
	Hosts             []Host             `toml:"host" json:"host,omitempty"`
	Channels          []Name             `toml:"channel" json:"channel,omitempty"`
	Permissions       []Name             `toml:"permission" json:"permission,omitempty"`
	ContentGenerators []ContentGenerator `toml:"content_generator" json:"content_generator,omitempty"`
	ExternalRepoURL   []URL              `toml:"external_repo_url" json:"external_repo_url,omitempty"`
	Targets           []Target           `toml:"target" json:"target,omitempty"`
	TagExtras         []Extra            `toml:"tag_extra" json:"tag_extra,omitempty"`
	BlockUsers        []string           `toml:"block_users" json:"block_users,omitempty"`

	Place `toml:"-" json:"-"`
}

// Everyone is for all people of production's who are not blocked.
type Everyone struct {
	// Principals are patterns with {name}. Users to whom an entry gives principals get those instead.
	Principals []string `toml:"principals" json:"principals,omitempty"`

	Place `toml:"-" json:"-"`
}

// User is a person or a program, or several, who are made if need be, with what is
// granted to each.
type User struct {
	Name              string   `toml:"name" json:"name,omitempty"`
	Names             []string `toml:"names" json:"names,omitempty"`
	Principals        []string `toml:"principals" json:"principals,omitempty"` // {name} is the user's
	Permissions       []string `toml:"permissions" json:"permissions,omitempty"`
	ContentGenerators []string `toml:"content_generators" json:"content_generators,omitempty"`
	Groups            []string `toml:"groups" json:"groups,omitempty"` // made if need be

	Place `toml:"-" json:"-"`
}

// Host is a builder, or a group of builders that are alike. They are made enabled; what
// becomes of that afterwards is left to staging's admins, and so are comments.
type Host struct {
	Name        string   `toml:"name" json:"name,omitempty"`
	Names       []string `toml:"names" json:"names,omitempty"`
	Principals  []string `toml:"principals" json:"principals,omitempty"` // {name} is the host's
	Arches      []string `toml:"arches" json:"arches"`
	Channels    []string `toml:"channels" json:"channels"`
	Capacity    float64  `toml:"capacity" json:"capacity,omitempty"` // above 1; 0 is 2
	Description string   `toml:"description" json:"description,omitempty"`

	Place `toml:"-" json:"-"`
}

// Name is a channel or a permission, which is made if there is none of that name.
type Name struct {
	Name        string `toml:"name" json:"name"`
	Description string `toml:"description" json:"description,omitempty"` // where it is made

	Place `toml:"-" json:"-"`
}

// ContentGenerator is one that is made if there is none of that name.
type ContentGenerator struct {
	Name string `toml:"name" json:"name"`

	Place `toml:"-" json:"-"`
}

// URL rewrites the beginning of the URLs of production's external repositories; the
// first that fits counts.
type URL struct {
	From string `toml:"from" json:"from"`
	To   string `toml:"to" json:"to"`

	Place `toml:"-" json:"-"`
}

// Target is a build target, staging's own or with other tags than production's.
type Target struct {
	Name     string `toml:"name" json:"name"`
	BuildTag string `toml:"build_tag" json:"build_tag"`
	DestTag  string `toml:"dest_tag" json:"dest_tag"`

	Place `toml:"-" json:"-"`
}

// Extra is a tag's extra setting, as JSON text.
type Extra struct {
	Tag   string `toml:"tag" json:"tag"`
	Key   string `toml:"key" json:"key"`
	Value string `toml:"value" json:"value"`

	Place `toml:"-" json:"-"`
}

// All are the names that the entry is for.
func (u *User) All() []string { return oneOrMore(u.Name, u.Names) }

// All are the names that the entry is for.
func (h *Host) All() []string { return oneOrMore(h.Name, h.Names) }

func oneOrMore(name string, more []string) []string {
	if name == "" {
		return more
	}
	return append([]string{name}, more...)
}

// KeyOf is the key at which one of the entry's names stands.
func (h *Host) KeyOf(name string) string { return keyOf(name, h.Name) }

func keyOf(name, first string) string {
	if name == first {
		return "name"
	}
	return "names"
}

// Placeholder stands in patterns for the name of the user or host.
const Placeholder = "{name}"

func forName(pattern, name string) string { return strings.ReplaceAll(pattern, Placeholder, name) }

// Rules are the entries that change production's rows on their way in, as lines for people.
func (o *Overlay) Rules() (out []string) {
	for _, p := range o.Everyone.Principals {
		out = append(out, "everyone: principal "+p)
	}
	for _, u := range o.ExternalRepoURL {
		out = append(out, "external repo URLs: "+u.From+" becomes "+u.To)
	}
	for _, t := range o.Targets {
		out = append(out, "target "+t.Name+": from "+t.BuildTag+" to "+t.DestTag)
	}
	for _, x := range o.TagExtras {
		out = append(out, "tag "+x.Tag+": extra "+x.Key+" = "+x.Value)
	}
	for _, b := range o.BlockUsers {
		out = append(out, "user "+b+": blocked")
	}
	slices.Sort(out)
	return out
}
