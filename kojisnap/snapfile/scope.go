package snapfile

import "slices"

// Content is where the rpms of a module build are: the tag that its extra names
// (typeinfo.module.content_koji_tag), which nothing inherits.
type Content struct {
	Build int64  `json:"build"` // id of the module build
	NVR   string `json:"nvr"`
	Tag   string `json:"tag,omitempty"` // empty: it names none that a tag could have
	// Missing says why the tag is not in the scope, as that production has none of that name at E; empty: it is.
	Missing string `json:"missing,omitempty"`
}

// Follows reports whether the content tag is in the scope.
func (c Content) Follows() bool { return c.Missing == "" }

// AskedFor are the names and patterns that were asked for, sorted: by them snapshots of the same scope are
// told from others, whatever tags came and went.
func (s Scope) AskedFor() []string {
	if len(s.Asked) > 0 {
		return s.Asked
	}
	return s.Tags
}

// SameAsked reports whether two scopes were asked for alike.
func (s Scope) SameAsked(o Scope) bool { return slices.Equal(s.AskedFor(), o.AskedFor()) }

// ContentTags are the names of the content tags in the scope, sorted.
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

// Composed are the tags that a compose asks for by name: those that were asked for, and content tags. They
// are sorted.
func (s Scope) Composed() []string {
	all := slices.Concat(s.Tags, s.ContentTags())
	slices.Sort(all)
	return slices.Compact(all)
}

// same reports whether two scopes came to the same, but for the reasons of what is missing.
func (s Scope) same(o Scope) bool {
	return slices.Equal(s.Tags, o.Tags) && slices.Equal(s.Asked, o.Asked) && slices.EqualFunc(s.All, o.All, sameTag) &&
		slices.EqualFunc(s.Content, o.Content, Content.Same) && slices.Equal(s.Builds, o.Builds)
}

// Same compares but for the reason why the tag is missing.
func (c Content) Same(o Content) bool {
	return c.Build == o.Build && c.NVR == o.NVR && c.Tag == o.Tag && c.Follows() == o.Follows()
}
