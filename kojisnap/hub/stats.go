package hub

import "sync/atomic"

// Stats is what a Client has done so far.
type Stats struct {
	Requests int64 `json:"requests"`
	Rows     int64 `json:"rows"`     // given to functions of Stream methods
	Sent     int64 `json:"sent"`     // bytes of requests
	Received int64 `json:"received"` // bytes of replies, after decompression
}

type stats struct{ requests, rows, sent, received atomic.Int64 }

func (s *stats) note(sent int, d *decoder) {
	s.requests.Add(1)
	s.rows.Add(d.rowsGiven)
	s.sent.Add(int64(sent))
	s.received.Add(int64(d.offset()))
}

// Stats returns what the Client has done so far, requests that failed and were repeated included.
func (c *Client) Stats() Stats {
	s := &c.stats
	return Stats{s.requests.Load(), s.rows.Load(), s.sent.Load(), s.received.Load()}
}
