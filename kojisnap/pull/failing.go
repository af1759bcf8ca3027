package pull

import (
	"fmt"
	"slices"
	"sync"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/snapshot"
)

// failing judges the calls of a stage for things by id. That one fails is the thing's trouble; that
// all do is the hub's. Its methods may be called concurrently.
type failing struct {
	mu    sync.Mutex
	known *idset.Set // that failed in earlier pulls; nil: none
	good  bool
	bad   int64
	first error // of the thing with the lowest id: what, and why
	id    int64
}

func (f *failing) succeeded() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.good = true
}

// passed notes the outcome of a batch: bad says which of its things failed.
func (f *failing) passed(bad []bool) {
	if slices.Contains(bad, false) {
		f.succeeded()
	}
}

// failed notes that the hub could not send a thing. It returns an error if it could send none at all.
func (f *failing) failed(id int64, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known != nil && f.known.Has(id) {
		return nil
	}
	if f.bad++; f.bad == 1 || id < f.id {
		f.first, f.id = err, id
	}
	if f.bad >= 100 {
		return f.judge()
	}
	return nil
}

// end is the judgement when all calls were made.
func (f *failing) end() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bad < 3 {
		return nil
	}
	return f.judge()
}

func (f *failing) judge() error {
	if f.good {
		return nil
	}
	return &allFailedError{f.first, f.bad}
}

// allFailedError says that the hub could send nothing of what was asked for.
type allFailedError struct {
	first error
	asked int64
}

func (e *allFailedError) Error() string {
	return fmt.Sprintf("%v: the same holds for all %d that were asked for", e.first, e.asked)
}
func (e *allFailedError) Unwrap() []error { return []error{e.first, snapshot.ErrTooMuch} }

// newFailing judges a stage of calls for builds, some of which may have failed before.
func (r *run) newFailing() *failing {
	f := &failing{}
	if r.inc != nil {
		f.known = &r.inc.again
	}
	return f
}
