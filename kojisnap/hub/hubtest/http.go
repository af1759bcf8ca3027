package hubtest

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ServeHTTP answers as Koji's hub does behind Apache: faults have status 200,
// what is not a call is 400 or 405 in plain text.
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
			s.reply(w, "", encodeFault(1014, text))
			return
		}
	}
	method, params, err := s.read(r)
	if err != nil {
		// The hub closes a connection of which it may not have read all.
		w.Header().Set("Connection", "close")
		plain(w, http.StatusBadRequest, "Invalid request: "+err.Error()+"\n")
		return
	}
	body := s.answer(method, params, r)
	if body.hasSurrogate() {
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
		return "", nil, errDocument("Request too long")
	case len(body) == 0:
		return "", nil, errDocument("Empty request")
	}
	return decodeCall(body)
}

func (s *Server) reply(w http.ResponseWriter, method string, whole body) {
	length, sent := whole.len(), whole
	if s.opts.Tamper != nil {
		before := whole.join()
		after := s.opts.Tamper(method, before)
		sent = body{after}
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
	whole.free()
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// session refuses what a real hub takes for a session: there is none here.
func session(r *http.Request) {
	if r.Header.Get("Koji-Session-Id") != "" {
		panic(&Fault{Code: 1002, Class: "koji.AuthError", Text: "Invalid session or bad credentials"})
	}
	if r.URL.RawQuery == "" {
		return
	}
	args, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !strings.Contains(r.URL.RawQuery, "=") {
		exception("ValueError", "bad query field: %s", stringRepr(r.URL.RawQuery))
	}
	for _, name := range []string{"session-id", "session-key"} {
		if args.Get(name) == "" {
			panic(&Fault{Code: 1002, Class: "koji.AuthError", Text: name + " not specified in session args"})
		}
	}
	panic(&Fault{Code: 1002, Class: "koji.AuthError", Text: "Invalid session or bad credentials"})
}
