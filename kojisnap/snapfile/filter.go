package snapfile

import "kojisnap/kojisnap/relation"

// Filter says which rows of a relation are wanted: of the view or, with revoked, of those that were revoked. Its
// function says the same of a row each time; a row is valid during the call. nil: all rows.
type Filter func(rel *relation.Relation, revoked bool) func(row [][]byte) (bool, error)

// Only returns the snapshot with only some of its rows, as m describes it: another scope, and perhaps less that is
// left out. m's relations and totals stay those of the whole snapshot. The id stays, too.
func (s *Snapshot) Only(m Manifest, filter Filter) *Snapshot {
	return &Snapshot{ID: s.ID, Manifest: &m, get: s.get, catalogue: s.catalogue, at: s.at, filter: filter, whole: s.Whole()}
}

// Whole returns the manifest of the snapshot with all of its rows.
func (s *Snapshot) Whole() *Manifest {
	if s.whole != nil {
		return s.whole
	}
	return s.Manifest
}

// Filtered reports whether the snapshot has only some of its rows, so that its segments do not tell them.
func (s *Snapshot) Filtered() bool { return s.filter != nil }
