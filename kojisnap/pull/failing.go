package pull

import (
	"fmt"
	"slices"
	"sync"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/snapshot"
)

// failing judges a stage's calls for single ids. If one fails, the fault lies with that id; if all fail, it
// lies with the hub. Its methods may be called concurrently.
type failing struct {
	mu    sync.Mutex
	known *idset.Set // ids that failed in earlier pulls; nil: none
	good  bool
	bad   int64
	first error // of the lowest id
	id    int64
}

func (f *failing) succeeded() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.good = true
}

// passed takes the outcome of a batch: bad says which of its ids failed.
func (f *failing) passed(bad []bool) {
	if slices.Contains(bad, false) {
		f.succeeded()
	}
}

// failed notes that the call for an id failed. It returns an error if all failed.
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

// end returns the judgement after all calls.
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

// allFailedError says that the hub gave nothing of what was asked for.
type allFailedError struct {
	first error
	asked int64
}

func (e *allFailedError) Error() string {
	return fmt.Sprintf("%v: the same holds for all %d that were asked for", e.first, e.asked)
}
func (e *allFailedError) Unwrap() []error { return []error{e.first, snapshot.ErrTooMuch} }

// newFailing judges a stage of calls for builds. Some may have failed in earlier pulls.
func (r *run) newFailing() *failing {
	f := &failing{}
	if r.inc != nil {
		f.known = &r.inc.again
	}
	return f
}
