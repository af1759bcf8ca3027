package snapfile

import (
	"fmt"
	"slices"
	"strconv"
)

// At returns the snapshot as of an event that is not after E. Versioned relations have the rows of the view
// at that event, as far as the snapshot has them; see Manifest.HistoryFrom. Other relations are the same.
func (s *Snapshot) At(event int64) (*Snapshot, error) {
	if event <= 0 || event > s.Manifest.Event {
		return nil, fmt.Errorf("snapshot %s is of event %d, and tells nothing of event %d", s.ID, s.Manifest.Event, event)
	}
	m := *s.Manifest
	m.Event = event
	return &Snapshot{ID: s.ID, Manifest: &m, get: s.get, catalogue: s.catalogue, at: event, filter: s.filter, whole: s.whole}, nil
}

// everything returns the segments of the view at E and of the revoked rows. A row is in one of the two.
func (r *Relation) everything() []Segment {
	top := 0
	for _, s := range r.Segments {
		top = max(top, s.Layer)
	}
	all := slices.Clone(r.Segments)
	for _, s := range r.Revoked {
		s.Layer += top + 1
		all = append(all, s)
	}
	return all
}

// past changes rows to what they were at an event.
type past struct {
	event                             int64
	created, revoked, revoker, active int
	row                               [][]byte
	line                              []byte
}

// shows reports whether a row is in the view at the event, and sets its line to what it was then.
func (p *past) shows(r *Rows) bool {
	if p.row, r.err = r.Fields(p.row); r.err != nil {
		return false
	}
	created, err := strconv.ParseInt(string(p.row[p.created]), 10, 64)
	if err == nil && created > p.event {
		return false
	}
	if err == nil && p.row[p.revoked] != nil {
		var revoked int64
		if revoked, err = strconv.ParseInt(string(p.row[p.revoked]), 10, 64); err == nil && revoked <= p.event {
			return false
		}
	}
	if err != nil {
		r.err = r.Damaged(err.Error())
		return false
	}
	p.row[p.revoked], p.row[p.revoker], p.row[p.active] = nil, nil, []byte("t")
	p.line = AppendLine(p.line[:0], p.row)
	r.line = p.line
	return true
}
