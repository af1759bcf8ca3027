package hub

import (
	"context"
	"errors"
	"fmt"
	"unsafe"
)

// What a hub sends may have any size: an endless text, which gzip makes of nothing. So that a
// process stays small whatever comes, a Value or Row takes Options.MaxReply at most, and of all
// requests under way one alone takes more than smallRow at a time: the others wait until its row was
// given away. What is made of a row (JSON, COPY text, sorted and compressed) takes some times as much
// again: 16 MiB for the row keeps the process below 200 MiB. Koji's own limit of a request, so of what a client may
// ever have put into a row, is 4 MiB by default.
const (
	// smallRow is what nearly every row is below. A page of whole replies may be above.
	smallRow = 1 << 20
	// maxTotal is how many bytes a reply may have. A hub makes it in memory as a whole; of the
	// largest tags, with every signature, listTaggedRPMS has some hundred MB.
	maxTotal = 1 << 30
	// maxKept is how many bytes the results of Multi may take together: tens of thousands of rows.
	maxKept = 64 << 20
	// maxHeader is how many bytes the head of a reply may have.
	maxHeader = 256 << 10
	// maxFloods is how many replies may be too large until the hub counts as out of order. One row
	// that is too large is met some ten times until it is alone.
	maxFloods = 64
	// badCost is about what a Bad value's error takes.
	badCost = 256
)

// LimitError says that a reply was larger than a hub's can be, or than there is room for. It wraps
// nothing, and is within a [ReplyError].
type LimitError struct {
	Hub   string // its URL
	What  string
	final bool // it is of no use to ask for less
	often bool
}

func (e *LimitError) Error() string {
	s := fmt.Sprintf("hub %s sends %s, more than kojisnap takes", e.Hub, e.What)
	if e.often {
		s += fmt.Sprintf(", for the %dth time: it is out of order, or it is no hub", maxFloods+1)
	}
	return s
}

// Flooded reports whether err says that a hub sends more than it can be right, so that all that
// helps is another state of the hub.
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

// room is what the Value or Row that is being read may take.
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

// charge says whether there is room for what is on the tape and n bytes more. It waits for it.
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

// reset begins a new Value or Row, and keeps no room that a large one had.
func (d *decoder) reset() {
	if d.room.taken {
		*d.tape = tape{}
		d.name, d.skipped = nil, nil
		d.room.leave()
	}
	d.tape.reset()
}
