// Package slow tells an answer that arrives too slowly from one that arrives.
//
// A server that sends a byte now and then is never silent, so a limit of its silence does not end
// what it keeps open. What is legitimately slow is the time until an answer begins: a hub computes
// for minutes. Once it has begun it is there as a whole (a hub sends it from memory, a web server
// from a disk), and only the network is between: [Rate] is less than a modem had.
package slow

import (
	"io"
	"time"
)

const (
	// Rate is how many bytes a second an answer brings at least, on average over a Window.
	Rate = 1 << 10
	// Window is long enough for a connection that is interrupted for a while, and then brings what
	// piled up.
	Window = time.Minute
)

// Meter measures one answer. Only the time that is spent waiting for bytes counts, not what the
// reader does between; nor does that until the first ones. It is for one goroutine.
type Meter struct {
	Window time.Duration // 0: the package's; tests have a shorter one, with the same number of bytes

	began  bool
	waited time.Duration
	got    int
}

// Wait is how long the next read may take, and Err if it is too slow after that; nil if it is
// silence, which may last so long: 0 for as long as the window, negative for ever.
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

// Span is the window that it measures by.
func (m *Meter) Span() time.Duration {
	if m.Window > 0 {
		return m.Window
	}
	return Window
}
