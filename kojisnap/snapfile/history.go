package snapfile

import (
	"strconv"
	"strings"
)

// HistoryFrom returns the event from which on, up to E, a snapshot has all that a tag of its scope had
// at any event; E if it has no more than the view at E, and for tags that are not in its scope. What
// the tag inherits counts by itself.
func (m *Manifest) HistoryFrom(tag int64) int64 {
	for _, t := range m.Scope.All {
		if t.ID != tag {
			continue
		}
		if t.History > 0 {
			return t.History
		}
		// Earlier versions recorded none, but had what was revoked since the parent, of each tag.
		if at := m.ParentEvent(); at > 0 && at < m.Event {
			return at
		}
	}
	return m.Event
}

// ParentEvent is the event of the parent, 0 if there is none.
func (m *Manifest) ParentEvent() int64 {
	event, _, _ := strings.Cut(m.Parent, "-")
	at, err := strconv.ParseInt(event, 10, 64)
	if err != nil {
		return 0
	}
	return at
}

// TellsAll reports whether a snapshot tells of all revocations that another one tells of, of the tags
// of that one's scope.
func (m *Manifest) TellsAll(of *Manifest) bool {
	for _, t := range of.Scope.All {
		if m.HistoryFrom(t.ID) > of.HistoryFrom(t.ID) || of.Event > m.Event {
			return false
		}
	}
	return true
}

func sameTag(a, b Tag) bool { return a.ID == b.ID && a.Name == b.Name }
