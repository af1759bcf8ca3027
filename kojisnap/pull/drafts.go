package pull

import (
	"slices"
	"sync"

	"kojisnap/kojisnap/idset"
)

// drafts notes which builds and rpms are drafts, to find builds and rpms that disagree.
type drafts struct {
	mu           sync.Mutex
	builds, rpms [2]idset.Set // ids of builds: [0] no drafts, or with rpms that are none; [1] drafts, or with rpms that are
}

func (d *drafts) build(id int64, draft bool) { d.note(&d.builds, id, draft) }

func (d *drafts) rpm(build int64, draft bool) { d.note(&d.rpms, build, draft) }

func (d *drafts) note(in *[2]idset.Set, id int64, draft bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	is, other := &in[0], &in[1]
	if draft {
		is, other = other, is
	}
	is.Add(id)
	other.Remove(id)
}

func (d *drafts) differ() []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []int64
	for draft := range 2 {
		for id := range d.builds[draft].All() {
			if d.rpms[1-draft].Has(id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// lockedSet collects ids. Its methods may be called concurrently.
type lockedSet struct {
	mu  sync.Mutex
	ids idset.Set
}

func (s *lockedSet) add(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids.Add(id)
}

func (s *lockedSet) has(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids.Has(id)
}

func (s *lockedSet) sorted() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids.List()
}
