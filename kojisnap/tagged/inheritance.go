package tagged

// Inheritance returns the tags that a tag inherits in the order in which the hub searches
// them, as getFullInheritance lists their parent_id. A tag may come more than once.
func (v *View) Inheritance(tag int64) []int64 {
	order := v.inheritance(tag)
	ids := make([]int64, len(order))
	for i, s := range order {
		ids[i] = s.tag
	}
	return ids
}
