package overlay

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxPrincipal is how many characters fit into Koji's column user_krb_principals.krb_principal.
const MaxPrincipal = 255

// limits are how many characters fit into Koji's columns.
var limits = map[string]int{"user": 255, "host": 128, "channel": 128, "permission": 50, "group": 255, "principal": MaxPrincipal}

// validate finds the faults of an overlay that need no database to find.
func (o *Overlay) validate() []error {
	c := &checker{seen: map[string]string{}}
	for _, u := range o.Users {
		names := c.names("user", u.Place, u.Name, u.Names)
		c.principals("user", u.Place, names, u.Principals)
		c.list("permission", u.Place, "permissions", u.Permissions)
		c.list("content generator", u.Place, "content_generators", u.ContentGenerators)
		c.list("group", u.Place, "groups", u.Groups)
	}
	for _, h := range o.Hosts {
		names := c.names("host", h.Place, h.Name, h.Names)
		c.principals("host", h.Place, names, h.Principals)
		c.list("arch", h.Place, "arches", h.Arches)
		c.list("channel", h.Place, "channels", h.Channels)
		for _, a := range h.Arches {
			if strings.ContainsAny(a, " ,") {
				c.fault(h.Place, "arches", "%q: one arch each", a)
			}
		}
		if len(h.Arches) == 0 || len(h.Channels) == 0 {
			c.fault(h.Place, "", "host %s: it needs arches and channels", quoted(names))
		}
		if h.Capacity != 0 && !(h.Capacity > 1) || math.IsInf(h.Capacity, 0) {
			c.fault(h.Place, "capacity", "host %s: its capacity %v is not a number above 1", quoted(names), h.Capacity)
		}
		if h.Description != "" {
			c.text("description", h.Place, "description", h.Description)
		}
	}
	for _, u := range o.Users {
		for _, g := range u.Groups {
			if other, ok := c.seen[fmt.Sprintf("user %q", g)]; ok {
				c.fault(u.Place, "groups", "group %q is a user or a host too, at %s", g, other)
			}
		}
	}
	for _, n := range o.Channels {
		c.described("channel", n)
	}
	for _, n := range o.Permissions {
		c.described("permission", n)
	}
	for _, g := range o.ContentGenerators {
		c.entry("content generator", g.Place, g.Name)
	}
	for i, u := range o.ExternalRepoURL {
		c.text("from", u.Place, "from", u.From)
		c.text("to", u.Place, "to", u.To)
		for _, before := range o.ExternalRepoURL[:i] {
			if before.From != "" && strings.HasPrefix(u.From, before.From) {
				c.fault(u.Place, "from", "external_repo_url %q: the one of %s fits first", u.From, before.At("from"))
				break
			}
		}
	}
	for _, t := range o.Targets {
		c.entry("target", t.Place, t.Name)
		c.text("build_tag", t.Place, "build_tag", t.BuildTag)
		c.text("dest_tag", t.Place, "dest_tag", t.DestTag)
	}
	for _, x := range o.TagExtras {
		ok := c.text("tag", x.Place, "tag", x.Tag)
		if c.text("key", x.Place, "key", x.Key) && ok {
			c.once(fmt.Sprintf("tag_extra %q %q", x.Tag, x.Key), x.Place, "key")
		}
		if !json.Valid([]byte(x.Value)) {
			c.fault(x.Place, "value", "tag_extra %q %q: its value %q is not JSON", x.Tag, x.Key, x.Value)
		}
	}
	for _, p := range o.Everyone.Principals {
		if c.pattern(o.Everyone.Place, p) && !strings.Contains(p, Placeholder) {
			c.fault(o.Everyone.Place, "principals", "principal %q is for everyone and has no %s", p, Placeholder)
		}
	}
	for _, b := range o.BlockUsers {
		if !c.text("user", o.Place, "block_users", b) {
			continue
		}
		if granted, ok := c.seen[fmt.Sprintf("user %q", b)]; ok {
			c.fault(o.Place, "block_users", "user %q is blocked and has an entry at %s", b, granted)
		}
		c.once(fmt.Sprintf("blocked user %q", b), o.Place, "block_users")
	}
	return c.sorted()
}

type checker struct {
	faults []fault
	seen   map[string]string // what was there, and where
}

type fault struct {
	line int
	err  error
}

func (c *checker) fault(s Place, key, format string, args ...any) {
	c.faults = append(c.faults, fault{s.lineOf(key), fmt.Errorf("%s: %s", s.At(key), fmt.Sprintf(format, args...))})
}

// sorted returns the faults in the order of the file.
func (c *checker) sorted() (faults []error) {
	slices.SortStableFunc(c.faults, func(a, b fault) int { return a.line - b.line })
	for _, f := range c.faults {
		faults = append(faults, f.err)
	}
	return faults
}

// text checks that Koji and its database accept a text.
func (c *checker) text(kind string, s Place, key, v string) bool {
	n := len(c.faults)
	limit := limits[kind]
	switch {
	case v == "":
		c.fault(s, key, "its %s is empty", kind)
	case !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }):
		c.fault(s, key, "%s %q holds control characters", kind, v)
	case limit > 0 && utf8.RuneCountInString(v) > limit:
		c.fault(s, key, "%s %.40q… is longer than %d characters", kind, v, limit)
	}
	return len(c.faults) == n
}

func (c *checker) once(what string, s Place, key string) {
	if before, ok := c.seen[what]; ok {
		c.fault(s, key, "%s is there twice; first at %s", what, before)
		return
	}
	c.seen[what] = s.At(key)
}

func (c *checker) entry(kind string, s Place, name string) {
	if c.text(kind, s, "name", name) {
		c.once(fmt.Sprintf("%s %q", kind, name), s, "name")
	}
}

func (c *checker) described(kind string, n Name) {
	c.entry(kind, n.Place, n.Name)
	if n.Description != "" {
		c.text("description", n.Place, "description", n.Description)
	}
}

// names checks the names of users or hosts; hosts are users too.
func (c *checker) names(kind string, s Place, name string, more []string) []string {
	if name == "" && len(more) == 0 {
		c.fault(s, "name", "%s: it has no name", kind)
	}
	if name != "" && c.text(kind, s, "name", name) {
		c.once(fmt.Sprintf("user %q", name), s, "name")
	}
	for _, n := range more {
		if c.text(kind, s, "names", n) {
			c.once(fmt.Sprintf("user %q", n), s, "names")
		}
	}
	return oneOrMore(name, more)
}

// list checks a list of names.
func (c *checker) list(kind string, s Place, key string, names []string) {
	seen := map[string]bool{}
	for _, n := range names {
		if c.text(kind, s, key, n) && seen[n] {
			c.fault(s, key, "%s %q is there twice", kind, n)
		}
		seen[n] = true
	}
}

func (c *checker) principals(kind string, s Place, names, patterns []string) {
	for _, p := range patterns {
		switch {
		case !c.pattern(s, p):
		case len(names) > 1 && !strings.Contains(p, Placeholder):
			c.fault(s, "principals", "principal %q is for %d %ss and has no %s", p, len(names), kind, Placeholder)
		default:
			for _, n := range names {
				c.once(fmt.Sprintf("principal %q", forName(p, n)), s, "principals")
				if p != forName(p, n) {
					c.text("principal", s, "principals", forName(p, n))
				}
			}
		}
	}
}

// pattern checks that a principal has no braces except those of the Placeholder.
func (c *checker) pattern(s Place, p string) bool {
	ok := c.text("principal", s, "principals", p)
	if ok && strings.ContainsAny(forName(p, ""), "{}") {
		c.fault(s, "principals", "principal %q: all that can stand in braces is %s", p, Placeholder)
		return false
	}
	return ok
}

// quoted lists a limited number of names for people.
func quoted(names []string) string {
	if len(names) == 0 {
		return `""`
	}
	if len(names) == 1 {
		return fmt.Sprintf("%q", names[0])
	}
	return fmt.Sprintf("%q and %d more", names[0], len(names)-1)
}
