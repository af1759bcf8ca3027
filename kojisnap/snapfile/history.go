package snapfile

import (
	"strconv"
	"strings"
)

// HistoryFrom returns the first event from which on, up to E, the snapshot has everything that a tag itself
// had at each event. It returns E if the snapshot has only the view at E, and for tags outside its scope.
// What the tag inherits counts separately.
func (m *Manifest) HistoryFrom(tag int64) int64 {
	for _, t := range m.Scope.All {
		if t.ID != tag {
			continue
		}
		if t.History > 0 {
			return t.History
		}
		// Earlier versions did not record it. They had what was revoked since the parent, for each tag.
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

// TellsAll reports whether a snapshot has all revocations that another one has, for the tags in the other's
// scope.
func (m *Manifest) TellsAll(of *Manifest) bool {
	for _, t := range of.Scope.All {
		if m.HistoryFrom(t.ID) > of.HistoryFrom(t.ID) || of.Event > m.Event {
			return false
		}
	}
	return true
}

func sameTag(a, b Tag) bool { return a.ID == b.ID && a.Name == b.Name }
