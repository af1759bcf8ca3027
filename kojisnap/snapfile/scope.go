package snapfile

import "slices"

// Content says where the rpms of a module build are: in the tag that the build's extra names
// (typeinfo.module.content_koji_tag). No tag inherits from it.
type Content struct {
	Build int64  `json:"build"` // id of the module build
	NVR   string `json:"nvr"`
	Tag   string `json:"tag,omitempty"` // empty: the extra names nothing that could be a tag
	// Missing says why the tag is not in the scope, such as that production has no such tag at E; empty: it
	// is in the scope.
	Missing string `json:"missing,omitempty"`
}

// Follows reports whether the content tag is in the scope.
func (c Content) Follows() bool { return c.Missing == "" }

// AskedEverything stands in a list of names and patterns for the whole catalogue. No pull takes it as a tag's name.
const AskedEverything = "--everything"

// AskedFor returns the names and patterns that were asked for, sorted, or AskedEverything alone. They identify
// snapshots of the same scope, whatever tags were added or removed.
func (s Scope) AskedFor() []string {
	if s.Everything {
		return []string{AskedEverything}
	}
	if len(s.Asked) > 0 {
		return s.Asked
	}
	return s.Tags
}

// SameAsked reports whether two scopes come from the same request.
func (s Scope) SameAsked(o Scope) bool {
	return s.Everything == o.Everything && slices.Equal(s.AskedFor(), o.AskedFor())
}

// ContentTags returns the names of the content tags in the scope, sorted.
func (s Scope) ContentTags() []string {
	var names []string
	for _, c := range s.Content {
		if c.Follows() {
			names = append(names, c.Tag)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Composed returns the names of the tags that composes may use: those that were asked for, and content tags.
// They are sorted.
func (s Scope) Composed() []string {
	all := slices.Concat(s.Tags, s.ContentTags())
	slices.Sort(all)
	return slices.Compact(all)
}

// same reports whether two scopes have the same tags and builds. The reasons for missing ones may differ.
func (s Scope) same(o Scope) bool {
	return s.Everything == o.Everything && slices.Equal(s.Tags, o.Tags) && slices.Equal(s.Asked, o.Asked) && slices.EqualFunc(s.All, o.All, sameTag) &&
		slices.EqualFunc(s.Content, o.Content, Content.Same) && slices.Equal(s.Builds, o.Builds)
}

// Same compares everything except the reason why the tag is missing.
func (c Content) Same(o Content) bool {
	return c.Build == o.Build && c.NVR == o.NVR && c.Tag == o.Tag && c.Follows() == o.Follows()
}
