package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Version is the version of a hub's Koji.
type Version struct {
	Major, Minor, Patch int
}

// AtLeast reports whether v is major.minor or later.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

func (v Version) String() string {
	if v.Patch < 0 {
		return fmt.Sprintf("%d.%d", v.Major, v.Minor)
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// Version returns the hub's version: from the header of an earlier reply, which
// Koji sends since 1.35, else by getKojiVersion, which it has since 1.23. A hub
// without either counts as 1.22.
func (c *Client) Version(ctx context.Context) (Version, error) {
	if v := c.known(); v != (Version{}) {
		return v, nil
	}
	return c.AskVersion(ctx)
}

// AskVersion is Version, but always asks the hub: it may have been upgraded since its last reply.
func (c *Client) AskVersion(ctx context.Context) (Version, error) {
	reply, err := c.Call(ctx, Call{Method: "getKojiVersion"})
	var fault *Fault
	if errors.As(err, &fault) && fault.Code == FaultGeneric && strings.Contains(fault.String, "Invalid method") {
		c.setVersion(Version{1, 22, -1})
		return c.known(), nil
	}
	if err != nil {
		return Version{}, err
	}
	text, _ := reply.Str()
	v, ok := ParseVersion(text)
	if !ok {
		return Version{}, fmt.Errorf("getKojiVersion of %s: %s is no version", c.url, oneLine(reply.String()))
	}
	c.setVersion(v)
	return v, nil
}

// Versions returns the versions of the hub's replies so far, in order, one for each change. If
// several servers share an address, the version may change back and forth.
func (c *Client) Versions() []Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.versions)
}

// ParseVersion reads "1.35.3" or "1.35", with anything after it that does not
// begin with a digit.
func ParseVersion(s string) (v Version, ok bool) {
	v.Patch = -1
	for i, part := range []*int{&v.Major, &v.Minor, &v.Patch} {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		number, err := strconv.Atoi(s[:n])
		if err != nil {
			return Version{}, false
		}
		*part = number
		var dot bool
		if s, dot = strings.CutPrefix(s[n:], "."); i > 0 && (!dot || s == "" || s[0] < '0' || s[0] > '9') {
			return v, true
		} else if !dot {
			return Version{}, false
		}
	}
	return v, true
}

// noteVersion remembers a reply's Koji-Version header.
func (c *Client) noteVersion(header string) {
	if v, ok := ParseVersion(header); ok {
		c.setVersion(v)
	}
}

func (c *Client) setVersion(v Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.versions); n == 0 || c.versions[n-1] != v {
		c.versions = append(c.versions, v)
	}
}

func (c *Client) known() Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.versions); n > 0 {
		return c.versions[n-1]
	}
	return Version{}
}
