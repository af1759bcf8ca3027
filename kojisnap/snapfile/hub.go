package snapfile

import (
	"net/url"
	"path"
	"strings"
)

// SameHub reports whether two URLs lead to the same hub. http or https, the default port and a user's name
// make no difference.
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
