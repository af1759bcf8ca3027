package hubtest

import (
	"maps"
	"slices"

	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

func getInheritanceData(c *call) any {
	return query.AnyList(c.parents(c.getID("tag", c.arg("tag"), true), c.arg("event")))
}

func getFullInheritance(c *call) any {
	for i, key := range c.kwargs.Keys {
		if key != "stops" && key != "jumps" {
			python.Parameter("getFullInheritance() got an unexpected keyword argument '%s'", key)
		}
		if python.Truth(c.kwargs.Vals[i]) {
			python.Parameter("%s option has been removed since 1.26", key)
		}
	}
	tag := c.arg("tag")
	if _, ok := python.Integer(tag); !ok {
		tag = c.getID("tag", tag, true)
	}
	return query.AnyList(c.fullInheritance(tag, c.arg("event"), c.flag("reverse")))
}

const linkFields = "name tag.name, parent_id, priority, maxdepth, intransitive, noconfig, pkg_filter"

// parents returns the direct links of a tag, by priority.
func (c *call) parents(tag, event any) []*python.Struct {
	links := rowsInOrder(c.from("tag_inheritance").Join("tag", "id", "tag_inheritance.parent_id").FieldList(linkFields).
		At("tag_inheritance", event).Eq("tag_inheritance.tag_id", tag), "priority")
	for _, link := range links {
		link.Set("child_id", tag)
	}
	return links
}

// children returns the links to a tag from the tags that inherit from it.
func (c *call) children(tag, event any) []*python.Struct {
	return rowsInOrder(c.from("tag_inheritance").Join("tag", "id", "tag_inheritance.tag_id").FieldList(linkFields+", tag_id").
		At("tag_inheritance", event).Eq("tag_inheritance.parent_id", tag), "priority")
}

// lineage returns a tag and, if inherit, everything that it inherits from, in the order in which Koji
// searches. A tag may occur more than once.
func (c *call) lineage(tag, event any, inherit bool) []any {
	tags := []any{tag}
	if inherit {
		for _, link := range c.fullInheritance(tag, event, false) {
			tags = append(tags, link.Val("parent_id"))
		}
	}
	return tags
}

// fullInheritance walks the links depth first. It walks a subtree again if a later visit may add to what an
// earlier one found.
func (c *call) fullInheritance(tag, event any, reverse bool) []*python.Struct {
	w := &walk{call: c, event: event, reverse: reverse, seen: map[any][]*python.Struct{}}
	w.visit(tag, map[any]bool{}, 0, nil, false, nil)
	return w.order
}

type walk struct {
	call    *call
	event   any
	reverse bool
	order   []*python.Struct
	seen    map[any][]*python.Struct // links by the tag that they lead to
}

func (w *walk) visit(tag any, path map[any]bool, depth int64, maxdepth any, noconfig bool, filters []any) {
	if maxdepth != nil && maxdepth.(int64) < 1 {
		return
	}
	depth++
	path = maps.Clone(path)
	path[tag] = true
	links, end := w.call.parents, "parent_id"
	if w.reverse {
		links, end = w.call.children, "tag_id"
	}
	for _, link := range links(tag, w.event) {
		next := link.Val(end)
		if path[next] {
			continue // a loop
		}
		intransitive := python.Truth(link.Val("intransitive"))
		if intransitive && len(path) > 1 && !w.reverse {
			continue
		}
		limit := link.Val("maxdepth")
		if w.reverse {
			if limit != nil && limit.(int64) < depth-1 {
				continue
			}
			limit = nil
		} else {
			limit = deeper(limit, maxdepth)
		}
		link.Set("nextdepth", limit)
		link.Set("currdepth", depth)
		// In Koji a noconfig link stays in force for the links after it.
		noconfig = noconfig || python.Truth(link.Val("noconfig"))
		filter := slices.Clone(filters)
		if pattern := link.Val("pkg_filter"); python.Truth(pattern) {
			filter = append(filter, pattern)
		}
		link.Set("filter", append([]any{}, filter...))
		if w.known(next, limit, noconfig) {
			continue
		}
		w.seen[next] = append(w.seen[next], link)
		w.order = append(w.order, link)
		if intransitive && w.reverse {
			continue
		}
		w.visit(next, path, depth, limit, noconfig, filter)
	}
}

// deeper returns the depth that remains below a link.
func deeper(link, above any) any {
	switch {
	case above == nil:
		return link
	case link == nil:
		return above.(int64) - 1
	}
	return min(link.(int64), above.(int64)) - 1
}

// known reports whether an earlier link to a tag found everything that this one would find.
func (w *walk) known(tag, limit any, noconfig bool) bool {
	for _, before := range w.seen[tag] {
		last := before.Val("nextdepth")
		enough := last == nil || limit != nil && last.(int64) >= limit.(int64)
		if python.Truth(before.Val("noconfig")) && !noconfig {
			enough = false
		}
		if python.Truth(before.Val("filter")) {
			enough = false
		}
		if enough {
			return true
		}
	}
	return false
}
