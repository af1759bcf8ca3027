package tagged

// membership says whether a package is in a tag's package list and not blocked. If a filter could not be evaluated,
// both may be so.
type membership struct {
	mayBeIn, mayBeOut bool
	decided           bool    // no tag that is searched later changes it
	by                *filter // the first that could not be evaluated, if there is one
	why               error
}

func (m membership) in() verdict {
	mayBeOut := m.mayBeOut || !m.decided // it may not be listed at all
	switch {
	case m.mayBeIn && mayBeOut:
		return unknown
	case m.mayBeIn:
		return yes
	}
	return no
}

// packageList returns the packages of a tag and of what it inherits. The first tag that lists a
// package decides; the filters of the links on the path choose what is inherited
// (readPackageList). If a filter could not be evaluated, a tag that is searched later may
// decide.
func (v *View) packageList(tag int64, order []step) map[int64]membership {
	list := map[int64]membership{}
	for _, s := range append([]step{{tag: tag}}, order...) {
		for id, blocked := range v.packages[s.tag] {
			m := list[id]
			if m.decided {
				continue
			}
			passes, by, why := pass(s.filters, v.Packages[id])
			if passes == no {
				continue
			}
			m.decided = passes == yes
			m.mayBeIn = m.mayBeIn || !blocked
			m.mayBeOut = m.mayBeOut || blocked
			if m.by == nil {
				m.by, m.why = by, why
			}
			list[id] = m
		}
	}
	return list
}
