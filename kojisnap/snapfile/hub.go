package snapfile

import (
	"net/url"
	"path"
	"strings"
)

// SameHub reports whether two URLs are of one hub: http and https, a default port or none, a user's name
// or none, lead to the same.
func SameHub(a, b string) bool { return hubPlace(a) == hubPlace(b) }

func hubPlace(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != "80" && port != "443" {
		host += ":" + port
	}
	return host + path.Clean("/"+u.Path)
}

// WithoutUser is a URL without the user's name and password that it may hold.
func WithoutUser(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return raw
	}
	u.User = nil
	return u.String()
}

// ShownURL is what was given as a URL, for people: what may be a user's name and password is left out, even
// where it is no URL.
func ShownURL(raw string) string {
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
