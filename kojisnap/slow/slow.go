// Package slow detects answers that arrive too slowly.
//
// A server that sends a byte now and then is never silent, so a limit on silence does not end its
// answer. It may take long until an answer begins: a hub computes for minutes. But an answer that has
// begun is complete at the server (a hub sends it from memory, a web server from a disk), and only the
// network can delay it. [Rate] is less than that of a modem.
package slow

import (
	"io"
	"time"
)

const (
	// Rate is how many bytes a second an answer brings at least, on average over a Window.
	Rate = 1 << 10
	// Window is long enough for a connection that is interrupted for a while and then catches up.
	Window = time.Minute
)

// Meter measures one answer. It counts the time that a reader waits for bytes after the first ones, not
// the reader's own time. It is for one goroutine.
type Meter struct {
	Window time.Duration // 0: the package's; tests have a shorter one, with the same number of bytes

	began  bool
	waited time.Duration
	got    int
}

// Wait returns how long the next read may take. The error is Err if the answer is too slow after that,
// and nil if only the limit on silence is reached: 0 means the window, negative no limit.
func (m *Meter) Wait(silence time.Duration) (time.Duration, error) {
	if silence == 0 {
		silence = m.Span()
	}
	if left := max(m.Span()-m.waited, 1); m.began && m.waited > 0 && (left < silence || silence < 0) {
		return left, Err
	}
	return silence, nil
}

// Reads reads from r once.
func (m *Meter) Reads(r io.Reader, p []byte) (int, error) {
	started := time.Now()
	n, err := r.Read(p)
	if m.began {
		m.got += n
		m.waited += time.Since(started)
	}
	m.began = true
	if m.got >= Rate*int(Window/time.Second) {
		m.got, m.waited = 0, 0
	}
	return n, err
}

// Span returns the window.
func (m *Meter) Span() time.Duration {
	if m.Window > 0 {
		return m.Window
	}
	return Window
}
