package output

import (
	"regexp"
	"strings"
	"time"
)

// atRandom matches what differs each time in the text of the same error: the local port of a connection, and the
// names of temporary files and of leases on the store.
var atRandom = regexp.MustCompile(`(\b(?:read|write) (?:tcp|udp)[46]?) \S+->|(\.tmp-kojisnap-|\.kojisnap-(?:link-|verify-)?|kojisnap-sort-|/(?:write|prune)-)[0-9A-Za-z]+`)

// Steady returns a text without what differs each time, so that mail and monitoring can recognize a repeated error.
func Steady(s string) string {
	return atRandom.ReplaceAllStringFunc(s, func(m string) string {
		parts := atRandom.FindStringSubmatch(m)
		if parts[1] != "" {
			return parts[1] + " "
		}
		return parts[2] + "…"
	})
}

// Clean replaces characters with which a text of a hub or a file could break the line or control the terminal.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return '\uFFFD'
		}
		return r
	}, s)
}

// Lines returns the lines of a text, each cleaned and steady.
func Lines(s string) []string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = Steady(Clean(lines[i]))
	}
	return lines
}

// Day returns a time as people read it, in UTC.
func Day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
