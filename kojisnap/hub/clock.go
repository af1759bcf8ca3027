package hub

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Clock returns the time of the hub's web server, from the Date header of its latest reply, to about
// a second. If there was no reply yet, it makes a call.
func (c *Client) Clock(ctx context.Context) (time.Time, error) {
	if t, ok := c.clock(); ok {
		return t, nil
	}
	if _, err := c.Call(ctx, Call{Method: "getAPIVersion"}); err != nil {
		return time.Time{}, err
	}
	t, ok := c.clock()
	if !ok {
		return time.Time{}, fmt.Errorf("clock of %s: its replies have no Date", c.url)
	}
	return t, nil
}

func (c *Client) clock() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew), c.clocked
}

// noteClock remembers a reply's Date header.
func (c *Client) noteClock(date string) {
	t, err := http.ParseTime(date)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew, c.clocked = time.Until(t), true
}
