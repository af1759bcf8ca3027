package hub

import (
	"context"
	"errors"
	"fmt"
	"unsafe"
)

// A hub can send a reply of any size: gzip makes an endless text from a few bytes. To keep the
// process small, a Value or Row takes at most Options.MaxReply, and only one of all requests under
// way may take more than smallRow at a time: the others wait until it has given its row away. The
// data made from a row (JSON, COPY text, sorted and compressed) takes several times as much: with
// 16 MiB for the row the process stays below 200 MiB. Koji limits a request to 4 MiB by default, so
// no client can have put more than that into a row.
const (
	// smallRow is larger than nearly every row. A page of whole replies may be larger.
	smallRow = 1 << 20
	// maxTotal is how many bytes a reply may have. A hub makes the whole reply in memory;
	// listTaggedRPMS of the largest tags, with every signature, has a few hundred MB.
	maxTotal = 1 << 30
	// maxKept is how many bytes the results of Multi may take together: tens of thousands of rows.
	maxKept = 64 << 20
	// maxHeader is how many bytes the head of a reply may have.
	maxHeader = 256 << 10
	// maxFloods is how many replies may be too large until the hub counts as out of order. One row
	// that is too large makes about ten replies too large before it is alone.
	maxFloods = 64
	// badCost is about how many bytes a Bad value's error takes.
	badCost = 256
)

// LimitError says that a reply was larger than any hub's reply, or than there is room for. It wraps
// nothing, and is within a [ReplyError].
type LimitError struct {
	Hub   string // its URL
	What  string
	final bool // a smaller request would not help
	often bool
}

func (e *LimitError) Error() string {
	s := fmt.Sprintf("hub %s sends %s, more than kojisnap takes", e.Hub, e.What)
	if e.often {
		s += fmt.Sprintf(", for the %dth time: it is out of order, or it is no hub", maxFloods+1)
	}
	return s
}

// Flooded reports whether err says that a hub sends more than a working hub can. The same call may
// succeed only after the hub has been repaired.
func Flooded(err error) bool {
	var limit *LimitError
	return errors.As(err, &limit)
}

// flooded completes a LimitError.
func (c *Client) flooded(err error) error {
	var limit *LimitError
	if errors.As(err, &limit) {
		limit.Hub = c.url
		if c.floods.Add(1) > maxFloods && !limit.final {
			limit.final, limit.often = true, true
		}
	}
	return err
}

// room limits the memory of the Value or Row that is being read.
type room struct {
	limit int
	large chan struct{} // nil: nobody shares it
	done  context.Context
	taken bool // large is
}

// leave lets another request have a large row.
func (r *room) leave() {
	if r.taken {
		<-r.large
		r.taken = false
	}
}

// charge waits until there is room for the tape and n bytes more, or returns an error.
func (d *decoder) charge(n int) error {
	r := &d.room
	n += d.tape.size()
	switch {
	case n > r.limit:
		return &LimitError{What: fmt.Sprintf("a value of more than %d bytes", r.limit)}
	case n <= smallRow || r.taken || r.large == nil:
		return nil
	}
	select {
	case r.large <- struct{}{}:
		r.taken = true
		return nil
	case <-r.done.Done():
		return &readError{context.Cause(r.done)}
	}
}

// size is about how many bytes a tape takes.
func (t *tape) size() int {
	return len(t.text) + len(t.nodes)*int(unsafe.Sizeof(node{})) + t.owned + len(t.bad)*badCost
}

// reset begins a new Value or Row, and frees the room of a large one.
func (d *decoder) reset() {
	if d.room.taken {
		*d.tape = tape{}
		d.name, d.skipped = nil, nil
		d.room.leave()
	}
	d.tape.reset()
}
