package s3

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// place is where a URL says that the store is.
type place struct {
	Options
	bucket, prefix string
}

func (p place) name() string { return strings.TrimSuffix("s3://"+p.bucket+"/"+p.prefix, "/") }

var (
	bucketRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)
	prefixRE = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9!_.*'()=+@ -]*(/[A-Za-z0-9_][A-Za-z0-9!_.*'()=+@ -]*)*$`)
)

func parse(raw string, o Options) (place, error) {
	p := place{Options: o}
	u, err := url.Parse(raw)
	if err != nil {
		// The error of package url has the URL, which may hold a password.
		return p, fmt.Errorf("store: not a URL such as s3://BUCKET/PREFIX")
	}
	if u.User != nil {
		return p, fmt.Errorf("store s3://…@%s: no credentials in the URL: AWS_ACCESS_KEY_ID or a profile has them", u.Host)
	}
	p.bucket, p.prefix = u.Host, strings.Trim(u.Path, "/")
	if u.Scheme != "s3" || !bucketRE.MatchString(p.bucket) || u.Fragment != "" {
		return p, fmt.Errorf("store %q: want s3://BUCKET/PREFIX", u.Scheme+"://"+u.Host+u.Path)
	}
	if p.prefix != "" {
		if !prefixRE.MatchString(p.prefix) || len(p.prefix) > 500 {
			return p, fmt.Errorf("store s3://%s: %q cannot be the prefix of a store", p.bucket, p.prefix)
		}
		p.prefix += "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return p, fmt.Errorf("store %s: what follows the ? is not a URL's query", p.name())
	}
	for name, values := range query {
		value := values[len(values)-1]
		switch name {
		case "endpoint":
			p.Endpoint = value
		case "region":
			p.Region = value
		case "path-style":
			pathStyle, err := strconv.ParseBool(value)
			if err != nil {
				return p, fmt.Errorf("store %s: path-style is true or false, not %q", p.name(), value)
			}
			p.VirtualHost = !pathStyle
		default:
			return p, fmt.Errorf("store %s: no option %q; there are endpoint, region and path-style", p.name(), name)
		}
	}
	if p.Endpoint != "" {
		e, err := url.Parse(p.Endpoint)
		if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil {
			return p, fmt.Errorf("store %s: the endpoint is not a URL such as https://s3.example.com", p.name())
		}
	}
	return p, nil
}
