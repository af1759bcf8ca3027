package source

import (
	"fmt"
	"net/http"
	"net/url"
)

// redirectError is a redirect that is not followed.
type redirectError struct{ to string }

func (e *redirectError) Error() string {
	return fmt.Sprintf("the server redirects to %s, which is not followed: give the right URL as --source", e.to)
}

// checkRedirect follows redirects on the same server, and from http to https there. Where
// else it leads is for the operator to decide: a login, a mirror that is not production's.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from, to := via[0].URL, req.URL
	same := to.Scheme == from.Scheme && to.Host == from.Host
	upgrade := from.Scheme == "http" && to.Scheme == "https" && to.Hostname() == from.Hostname()
	if !same && !upgrade || len(via) > 5 {
		shown := url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path} // no query: it may hold a token
		return &redirectError{shown.String()}
	}
	return nil
}
