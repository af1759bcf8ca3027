package hubtest

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/xmlrpc"
)

// ServeHTTP answers as Koji's hub behind Apache: faults have status 200; a request that is no call gets 400
// or 405 in plain text.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.files != nil && strings.HasPrefix(r.URL.Path, "/kojifiles/") {
		s.files.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Koji-Version", s.opts.KojiVersion)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		plain(w, http.StatusMethodNotAllowed, "Method Not Allowed\nThis is an XML-RPC server. Only POST requests are accepted.\n")
		return
	}
	if s.opts.Offline != nil {
		if text := s.opts.Offline(); text != "" {
			s.reply(w, "", xmlrpc.Fault(1014, text))
			return
		}
	}
	method, params, err := s.read(r)
	if err != nil {
		// The hub closes a connection if it may not have read all of the request.
		w.Header().Set("Connection", "close")
		plain(w, http.StatusBadRequest, "Invalid request: "+err.Error()+"\n")
		return
	}
	body := s.answer(method, params, r)
	if body.HasSurrogate() {
		plain(w, http.StatusInternalServerError, "Internal Server Error\n")
		return
	}
	s.reply(w, method, body)
}

func (s *Server) read(r *http.Request) (method string, params []any, err error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, s.opts.MaxRequestLength+1))
	switch {
	case err != nil:
		return "", nil, err
	case int64(len(body)) > s.opts.MaxRequestLength:
		return "", nil, xmlrpc.ErrDocument("Request too long")
	case len(body) == 0:
		return "", nil, xmlrpc.ErrDocument("Empty request")
	}
	return xmlrpc.Call(body)
}

func (s *Server) reply(w http.ResponseWriter, method string, whole xmlrpc.Body) {
	length, sent := whole.Len(), whole
	if s.opts.Tamper != nil {
		before := whole.Join()
		after := s.opts.Tamper(method, before)
		sent = xmlrpc.Body{after}
		if len(after) > len(before) || !bytes.HasPrefix(before, after) {
			length = len(after)
		}
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(length))
	for _, piece := range sent {
		if _, err := w.Write(piece); err != nil {
			break // the client is gone
		}
	}
	whole.Free()
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// session refuses requests that a real hub would take for a session: this hub has no sessions.
func session(r *http.Request) {
	if r.Header.Get("Koji-Session-Id") != "" {
		panic(&python.Fault{Code: 1002, Class: "koji.AuthError", Text: "Invalid session or bad credentials"})
	}
	if r.URL.RawQuery == "" {
		return
	}
	args, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !strings.Contains(r.URL.RawQuery, "=") {
		python.Exception("ValueError", "bad query field: %s", python.StringRepr(r.URL.RawQuery))
	}
	for _, name := range []string{"session-id", "session-key"} {
		if args.Get(name) == "" {
			panic(&python.Fault{Code: 1002, Class: "koji.AuthError", Text: name + " not specified in session args"})
		}
	}
	panic(&python.Fault{Code: 1002, Class: "koji.AuthError", Text: "Invalid session or bad credentials"})
}
