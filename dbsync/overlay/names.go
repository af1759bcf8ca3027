package overlay

import (
	"fmt"
	"strconv"
	"strings"
)

// Ref is a name by which an entry refers to a row that must exist.
type Ref struct {
	Place
	key, entry string
	Name       string
}

// Missing is the fault that a table has no row of that name.
func (r Ref) Missing(table string) error {
	return fmt.Errorf("%s: %s: there is no %s %q", r.At(r.key), r.entry, strings.ReplaceAll(strings.TrimSuffix(table, "s"), "_", " "), r.Name)
}

// References are the names of a table's rows that entries refer to.
func (o *Overlay) References(table string) (out []Ref) {
	add := func(s Place, key, entry string, names ...string) {
		for _, n := range names {
			out = append(out, Ref{s, key, entry, n})
		}
	}
	switch table {
	case "permissions":
		for _, u := range o.Users {
			add(u.Place, "permissions", "user "+quoted(u.All()), u.Permissions...)
		}
	case "content_generator":
		for _, u := range o.Users {
			add(u.Place, "content_generators", "user "+quoted(u.All()), u.ContentGenerators...)
		}
	case "channels":
		for _, h := range o.Hosts {
			add(h.Place, "channels", "host "+quoted(h.All()), h.Channels...)
		}
	case "tag":
		for _, t := range o.Targets {
			add(t.Place, "build_tag", fmt.Sprintf("target %q", t.Name), t.BuildTag)
			add(t.Place, "dest_tag", fmt.Sprintf("target %q", t.Name), t.DestTag)
		}
		for _, x := range o.TagExtras {
			add(x.Place, "tag", fmt.Sprintf("tag_extra %q", x.Key), x.Tag)
		}
	}
	return out
}

// Makes returns the names in a table that the overlay itself makes.
func (o *Overlay) Makes(table string) map[string]bool {
	out := map[string]bool{}
	switch table {
	case "permissions":
		for _, n := range o.Permissions {
			out[n.Name] = true
		}
	case "channels":
		for _, n := range o.Channels {
			out[n.Name] = true
		}
	case "content_generator":
		for _, n := range o.ContentGenerators {
			out[n.Name] = true
		}
	}
	return out
}

// Person is a row of Koji's table users that an entry names: a user, a host or a group.
type Person struct {
	Place
	Key      string // the entry's key that has the name
	UserType int    // koji.USERTYPES
}

// OtherType says that the user of that name has another type.
func (p Person) OtherType(name string, usertype int) string {
	have := strconv.Itoa(usertype)
	if usertype >= 0 && usertype < len(UserTypes) {
		have = UserTypes[usertype]
	}
	return fmt.Sprintf("%s %q: there is a user of that name whose type is %s", UserTypes[p.UserType], name, have)
}

// UserTypes are the names of koji.USERTYPES.
var UserTypes = []string{"user", "host", "group"}

// People are, by name, the rows of Koji's table users that entries name. Blocked users are not among them.
func (o *Overlay) People() map[string]Person {
	out := map[string]Person{}
	for _, u := range o.Users {
		for _, g := range u.Groups {
			out[g] = Person{u.Place, "groups", 2}
		}
	}
	for _, u := range o.Users {
		for _, n := range u.All() {
			out[n] = Person{u.Place, keyOf(n, u.Name), 0}
		}
	}
	for _, h := range o.Hosts {
		for _, n := range h.All() {
			out[n] = Person{h.Place, h.KeyOf(n), 1}
		}
	}
	return out
}

// Principal is a Kerberos principal that an entry gives to a user.
type Principal struct {
	Place
	User, Name string
	Entry      string // for people: what gives it
}

// Taken is the fault that another user of staging has the principal.
func (p Principal) Taken(by string) error {
	return fmt.Errorf("%s: %s: it is user %q's in staging already", p.At("principals"), p.Entry, by)
}

// Principals returns the principals in the entries of users and hosts, without those of Everyone.
func (o *Overlay) Principals() (out []Principal) {
	give := func(kind string, s Place, names, patterns []string) {
		for _, n := range names {
			for _, p := range patterns {
				p = forName(p, n)
				out = append(out, Principal{s, n, p, kind + " " + n + ": principal " + p})
			}
		}
	}
	for _, u := range o.Users {
		give("user", u.Place, u.All(), u.Principals)
	}
	for _, h := range o.Hosts {
		give("host", h.Place, h.All(), h.Principals)
	}
	return out
}
