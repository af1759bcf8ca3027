package snapfile

import "kojisnap/kojisnap/relation"

// Filter returns a function that says which rows of a relation are wanted: rows of the view or, with revoked,
// revoked rows. The function must say the same about a row each time. A row is valid only during the call. A
// nil function wants all rows.
type Filter func(rel *relation.Relation, revoked bool) func(row [][]byte) (bool, error)

// Only returns the snapshot with some of its rows. m describes that part: another scope, and perhaps less
// that is left out. m's relations and totals stay those of the whole snapshot, and so does the id.
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

// Filtered reports whether the snapshot has only some of its rows, so that its segments have more rows than
// it has.
func (s *Snapshot) Filtered() bool { return s.filter != nil }
