package hardlink

import (
	"errors"
	"strings"
	"sync/atomic"
)

// ErrCrash is what every operation on topdir says after a crash.
var ErrCrash = errors.New("crashed")

// CrashAfter makes all operations on topdir fail after the first n, as if the process
// were dead: nothing is cleaned up either.
func (e *Engine) CrashAfter(n int64) {
	var done atomic.Int64
	e.top.Hook = func(string, string) error {
		if done.Add(1) > n {
			return ErrCrash
		}
		return nil
	}
}

// FailWrite makes what needs space on topdir fail from the n-th such operation on, as a full
// disk does; what frees space works. hit tells whether it came to that.
func (e *Engine) FailWrite(n int, err error) (hit func() bool) {
	var done atomic.Int64
	e.top.Hook = func(op, _ string) error {
		switch op {
		case "remove", "rmdir", "open":
			return nil
		}
		if done.Add(1) > int64(n) {
			return err
		}
		return nil
	}
	return func() bool { return done.Load() > int64(n) }
}

// LedgerText is a ledger of these lines with the right digest.
func LedgerText(lines string) string {
	var b batch
	for line := range strings.SplitSeq(lines, "\n") {
		b.line(line)
	}
	return ledgerHeader() + b.String()
}
