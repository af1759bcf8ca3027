package verify

import (
	"context"
	"errors"
	"fmt"

	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/snapfile"
)

// askError is an error of a call to one of the two hubs.
type askError struct {
	hub  *hub.Client
	side string // production's or staging's
	err  error
}

func (e *askError) Error() string { return e.side + " hub: " + e.err.Error() }
func (e *askError) Unwrap() error { return e.err }

// failed makes err, unless it is nil, an error of this hub.
func (a hubAnswers) failed(err error) error {
	if err == nil {
		return nil
	}
	return &askError{a.hub, a.side, err}
}

// gone returns an error if the hub that err came from does not answer at all: then nothing can be found out. A
// fault is an answer, and so is a malformed reply. After any other error gone makes a cheap call, to tell a
// single call that was cut off or took too long from a hub that is offline.
func gone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ask *askError
	if !errors.As(err, &ask) || hub.Splittable(err) {
		return nil
	}
	var fault *hub.Fault
	if errors.As(err, &fault) && fault.Code != hub.FaultServerOffline {
		return nil
	}
	if _, probe := ask.hub.Call(ctx, hub.Call{Method: "getAPIVersion"}); probe != nil {
		return &askError{ask.hub, ask.side, fmt.Errorf("it does not answer (%s): %w", ask.hub.URL(), probe)}
	}
	return nil
}

// multi makes calls by multicalls. If the hub cannot encode the result of one of them, for example because of a
// control character, it spoils the whole reply: then multi makes each call alone.
func (a hubAnswers) multi(ctx context.Context, calls []hub.Call) ([]hub.Result, error) {
	results, err := a.hub.Multi(ctx, calls)
	if err == nil || !hub.Splittable(err) || ctx.Err() != nil {
		return results, a.failed(err)
	}
	results = make([]hub.Result, len(calls))
	for i, call := range calls {
		results[i].Value, results[i].Err = a.hub.Call(ctx, call)
		if err := results[i].Err; err != nil && hub.Temporary(err) {
			return nil, a.failed(err)
		}
	}
	return results, nil
}

// ErrNotStagingHub says that the given hub is not staging's.
var ErrNotStagingHub = errors.New("not staging's hub")

// CheckStagingHub refuses, with ErrNotStagingHub, a hub at one of production's addresses, and one whose database
// does not have the user that kojisnap init makes. Verify would find production's hub ready at once.
func CheckStagingHub(ctx context.Context, staging *hub.Client, production ...string) error {
	for _, p := range production {
		if snapfile.SameHub(staging.URL(), p) {
			return fmt.Errorf("hub %s is production's: %w; give the URL of the staging hub", staging.URL(), ErrNotStagingHub)
		}
	}
	user, err := staging.Call(ctx, hub.Call{Method: "getUser", Args: []any{book.User}})
	if err != nil {
		return &askError{staging, "staging's", err}
	}
	if user.IsNil() {
		return fmt.Errorf("hub %s has no user %s, which kojisnap init makes in staging's database: %w; give the URL of the staging hub, or run kojisnap init",
			staging.URL(), book.User, ErrNotStagingHub)
	}
	return nil
}
