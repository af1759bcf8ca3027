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
