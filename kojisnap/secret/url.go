package secret

import "strings"

// HideURL returns a text that was given as a URL, for people. It leaves out what may be a user's name and
// password, even if the text is not a URL.
func HideURL(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		scheme, rest = "", raw
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "…" + rest[at:]
	}
	if ok {
		return scheme + "://" + rest
	}
	return rest
}
