package pyregexp

import (
	"maps"
	"slices"
)

// checkReferences refuses references to groups whose content is uncertain, because Python before
// 3.11 differs from later ones, or Python from the engine.
func (w *writer) checkReferences() {
	used := count(w.root, opReference, opCondition)
	conditions := count(w.root, opCondition)
	within := func(it *item, used map[int]int, why string) {
		for _, sub := range it.subs {
			sub.each(func(group *item) {
				if group.op == opGroup && used[group.group] > 0 {
					w.unsupported("reference to group %d, which is in %s", group.group, why)
				}
			})
		}
	}
	w.root.each(func(it *item) {
		switch {
		case it.op == opRepeat && it.mode == lazy:
			within(it, used, "a lazy loop: Python before 3.11 has bugs there")
		case it.op == opRepeat && it.mode == possessive, it.op == opAtomic:
			within(it, used, "a possessive loop or an atomic group: Python 3.11 has bugs there")
		case it.op == opRepeat && it.max > 1:
			within(it, conditions, "a loop, as a condition: Python before 3.11 has bugs there")
		case it.op == opLook && it.negated:
			outside := maps.Clone(used)
			for group, n := range count(it.subs[0], opReference, opCondition) {
				outside[group] -= n
			}
			within(it, outside, "a negative look-around that it is not in itself: Python before 3.11 has bugs there")
		}
		switch {
		case it.op == opLook && it.behind:
			it.subs[0].each(func(loop *item) {
				if loop.op == opRepeat {
					within(loop, used, "a loop within a look-behind")
				}
			})
		case it.op == opGroup && it.group > 0:
			it.subs[0].each(func(inner *item) {
				if inner.op == opCondition && inner.group == it.group {
					w.unsupported("condition on group %d within it", it.group)
				}
			})
		}
	})
}

// count counts the references to groups in a sequence.
func count(s *sequence, ops ...op) map[int]int {
	used := map[int]int{}
	s.each(func(it *item) {
		if slices.Contains(ops, it.op) {
			used[it.group]++
		}
	})
	return used
}
