package source

import (
	"fmt"
	"net/http"
	"net/url"
)

// redirectError is a redirect that was not followed.
type redirectError struct{ to string }

func (e *redirectError) Error() string {
	return fmt.Sprintf("the server redirects to %s, which is not followed: give the right URL as --source", e.to)
}

// checkRedirect follows redirects on the same server, and there from http to https. A redirect to another
// server may be a login page or a mirror that is not production's; the operator decides about it.
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
