package hardlink

// ahead is a ledger that is being read.
type ahead struct {
	state  string // of the file before
	done   chan struct{}
	ledger *Ledger
	err    error
}

// ReadAhead begins to read the ledger, which Diff and DiffRemove need, while the caller makes a
// plan.
func (e *Engine) ReadAhead() {
	state, err := LedgerState(e.top.Path())
	if err != nil {
		return // who needs it will be told
	}
	a := &ahead{state: state, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.ledger, a.err = ReadLedger(e.top.Path())
	}()
	e.ahead.Store(a)
}

// ledger is the ledger as it is now.
func (e *Engine) ledger() (*Ledger, error) {
	if a := e.ahead.Swap(nil); a != nil {
		<-a.done
		if state, err := LedgerState(e.top.Path()); err == nil && state == a.state {
			return a.ledger, a.err
		}
	}
	return ReadLedger(e.top.Path())
}
