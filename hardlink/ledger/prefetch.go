package ledger

import "sync/atomic"

// Prefetch reads the ledger of a topdir while its caller does something else. The zero value is ready for
// use.
type Prefetch struct{ reading atomic.Pointer[reading] }

// reading is a ledger that is being read.
type reading struct {
	state  string // of the file before it was read
	done   chan struct{}
	ledger *Ledger
	err    error
}

// Begin starts reading.
func (p *Prefetch) Begin(topdir string) {
	state, err := State(topdir)
	if err != nil {
		return // Read will meet the error, too
	}
	r := &reading{state: state, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.ledger, r.err = Read(topdir)
	}()
	p.reading.Store(r)
}

// Read returns the ledger as it is now: the one that Begin read, if the file has not changed since.
func (p *Prefetch) Read(topdir string) (*Ledger, error) {
	if r := p.reading.Swap(nil); r != nil {
		<-r.done
		if state, err := State(topdir); err == nil && state == r.state {
			return r.ledger, r.err
		}
	}
	return Read(topdir)
}
