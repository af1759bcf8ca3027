package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/kolo/xmlrpc"

	"kojisnap/kojisnap/slow"
)

// Errors for errors.Is.
var (
	// ErrNotHub: the URL answers, but not as a Koji hub does.
	ErrNotHub = errors.New("not a Koji hub")
	// ErrLogin: the hub, or a proxy before it, wants a login.
	ErrLogin = errors.New("the hub wants a login, and kojisnap reads anonymously")
	// ErrRefused: the call is not on the list of calls that only read. Nothing was sent.
	ErrRefused = errors.New("refused: not a call that only reads")
)

// Codes of Koji's faults that matter here (koji/__init__.py, class
// GenericError and those after it).
const (
	FaultOther         = 1    // any other Python exception: SQL errors, overflows
	FaultGeneric       = 1000 // no such object, invalid method, bad data
	FaultAuth          = 1002
	FaultNotAllowed    = 1004
	FaultServerOffline = 1014 // the hub is down for maintenance, or its database is
	FaultParameter     = 1019 // wrong arguments
)

// Fault is a fault that the hub answered. It unwraps to kolo/xmlrpc's
// FaultError, and to ErrLogin if the hub wants a login.
type Fault struct {
	Code   int
	String string
}

func (f *Fault) Error() string {
	s := fmt.Sprintf("fault %d: %s", f.Code, oneLine(exception(f.String)))
	if f.Code == FaultServerOffline {
		s = "the hub is offline: " + s
	}
	return s
}

// exception returns the exception of a Python traceback: the lines after the
// indented ones.
func exception(s string) string {
	rest, ok := strings.CutPrefix(s, "Traceback (most recent call last):\n")
	if !ok {
		return s
	}
	for strings.HasPrefix(rest, " ") {
		_, after, more := strings.Cut(rest, "\n")
		if !more {
			return s
		}
		rest = after
	}
	return rest
}

func (f *Fault) Unwrap() []error {
	errs := []error{xmlrpc.FaultError{Code: f.Code, String: f.String}}
	if f.Code == FaultAuth || f.Code == FaultNotAllowed {
		errs = append(errs, ErrLogin)
	}
	return errs
}

// CallError says which call of a multicall had an error.
type CallError struct {
	Index int // in the calls given
	Call  Call
	Err   error
}

func (e *CallError) Error() string { return fmt.Sprintf("%s: %v", e.Call, e.Err) }
func (e *CallError) Unwrap() error { return e.Err }

// HTTPError is an answer with an HTTP status other than 200.
type HTTPError struct {
	Status int
	Reason string // the status line
	Text   string // the beginning of the body, if it is plain text, or where a redirect leads
	// RetryAfter is how long the answer says to wait; 0: it does not say.
	RetryAfter time.Duration
}

func (e *HTTPError) Error() string {
	s := "hub answered HTTP " + oneLine(e.Reason)
	if e.Text != "" {
		s += ": " + oneLine(e.Text)
	}
	if why := e.Unwrap(); why != nil {
		s += ": " + why.Error()
	}
	if e.tooLarge() {
		s += ": the hub, or a proxy before it, limits requests to fewer bytes than a single call needs"
	}
	return s
}

// tooLarge reports whether the request was too large for a proxy, or for Koji's own hub
// (MaxRequestLength).
func (e *HTTPError) tooLarge() bool {
	return e.Status == http.StatusRequestEntityTooLarge || e.Status == http.StatusBadRequest && strings.Contains(e.Text, "Request too long")
}

func (e *HTTPError) Unwrap() error {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrLogin
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return ErrNotHub
	}
	return nil
}

// ReplyError says where a reply stopped being well-formed XML-RPC, or was not
// the method's reply. It wraps io.ErrUnexpectedEOF if the reply ended early.
type ReplyError struct {
	Method string
	Offset int64  // bytes of the reply before the error
	Table  string // of a StreamTables, else empty
	Row    int    // number of the row, from 0; -1 outside rows
	Seen   string // the part of that row that was read, such as `id=7 name="bash"`
	Err    error
}

func (e *ReplyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "reply of %s, byte %d", e.Method, e.Offset)
	if e.Row >= 0 {
		fmt.Fprintf(&b, ", row %d", e.Row)
		if e.Table != "" {
			fmt.Fprintf(&b, " of %q", e.Table)
		}
		if e.Seen != "" {
			fmt.Fprintf(&b, " (%s)", e.Seen)
		}
	}
	return b.String() + ": " + e.Err.Error()
}

func (e *ReplyError) Unwrap() error { return e.Err }

// passes matches, in faults of code 1, the exceptions that come from a temporary state of the hub's
// database or memory, and seldom from the requested rows. They are psycopg2's names and PostgreSQL's
// words: for a call in a multicall a hub sends only the words.
var passes = regexp.MustCompile(`(?i)OperationalError|InterfaceError|MemoryError|deadlock detected|out of memory|could not serialize access|` +
	`server closed the connection|connection already closed|terminating connection|could not connect|connection to server|` +
	`the database system is|too many (clients|connections)|remaining connection slots`)

// Temporary reports whether the same call may succeed later: the network or the
// hub failed, was too slow, is offline, or cut its reply short. Cancelled is
// not temporary.
func Temporary(err error) bool {
	var (
		status *HTTPError
		fault  *Fault
		read   *readError
		send   *url.Error // every error of http.Client.Do is one
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled), isTLS(err):
		return false
	case errors.As(err, &fault):
		return fault.Code == FaultServerOffline || fault.Code == FaultOther && passes.MatchString(fault.String)
	case errors.As(err, &status):
		return status.Status >= 500 || status.Status == http.StatusRequestTimeout || status.Status == http.StatusTooManyRequests
	}
	return errors.As(err, &read) || errors.As(err, &send) || errors.As(err, new(*sendError)) || errors.As(err, new(*passingError)) || errors.Is(err, errSilent) || errors.Is(err, slow.Err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// Splittable reports whether err may come from a single row that the hub cannot
// encode, or that is in a bad state, so that smaller requests can isolate it:
// ill-formed replies, faults of code 1 and 1000, and HTTP 500, which Koji
// answers if a text has no UTF-8 form.
func Splittable(err error) bool {
	var (
		status *HTTPError
		fault  *Fault
		reply  *ReplyError
	)
	switch {
	case errors.As(err, &fault):
		return fault.Code == FaultOther || fault.Code == FaultGeneric
	case errors.As(err, &status):
		return status.Status == http.StatusInternalServerError
	}
	var limit *LimitError
	if errors.As(err, &limit) && limit.final {
		return false
	}
	return errors.As(err, &reply) && !Temporary(err)
}

// isTLS reports whether err says that the other side's TLS or certificate is
// wrong. Repeating the request does not help then.
func isTLS(err error) bool {
	var (
		verify *tls.CertificateVerificationError
		record tls.RecordHeaderError
		alert  tls.AlertError
		ca     x509.UnknownAuthorityError
		host   x509.HostnameError
		cert   x509.CertificateInvalidError
		roots  x509.SystemRootsError
	)
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &ca) || errors.As(err, &host) || errors.As(err, &cert) || errors.As(err, &roots)
}

// passingError is an answer that is not a hub's, at an address where a hub answered
// before: a maintenance page, or a proxy without its backend.
type passingError struct{ what error }

func (e *passingError) Error() string {
	return "what answers is not the hub that answered before, but something in its place: " + e.what.Error()
}

// readError is an error of reading a reply's bytes, as opposed to an error in their content.
type readError struct{ err error }

func (e *readError) Error() string { return "read reply: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// errSilent is the cause of a request that Options.RequestTimeout ended.
var errSilent = errors.New("the hub has been silent too long")

// oneLine shortens a hub's text for a message: one line without control
// characters, at most 300 bytes.
func oneLine(s string) string {
	s = s[:min(len(s), 4096)] // it may be any size
	s = strings.Join(strings.Fields(s), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
