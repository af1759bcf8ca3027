package verify

import (
	"context"
	"errors"
	"fmt"
	"kojisnap/kojisnap/oneline"

	"kojisnap/kojisnap/hub"
)

// askError is an error of a call to one of the two hubs.
type askError struct {
	hub  *hub.Client
	side string // production's or staging's
	err  error
}

func (e *askError) Error() string { return e.side + " hub: " + e.err.Error() }
func (e *askError) Unwrap() error { return e.err }

// failed makes err, if it is one, an error of this hub.
func (a hubAnswers) failed(err error) error {
	if err == nil {
		return nil
	}
	return &askError{a.hub, a.side, err}
}

// gone returns an error if the hub that err came from does not answer at all: then nothing can be
// found out. A fault is the hub's answer, and so is a reply that is not well-formed. After any
// other error the hub is asked for next to nothing, to tell one call that is cut off or takes too
// long from a hub that is away.
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

// attempt runs make, which adds the check c or leaves it out. If make cannot find out what it has
// to, that is one failed check, c, with the reason, and all other checks are made; only a hub that is
// gone, or an end of ctx, is an error.
func (v *verifier) attempt(ctx context.Context, c Check, make func() error) error {
	err := make()
	if err == nil {
		return nil
	}
	if err := gone(ctx, err); err != nil {
		return err
	}
	c.Count, c.Bad, c.Detail = 1, 1, oneline.Of(err).Error()
	v.add(c, StatusFailed)
	return nil
}

// multi makes calls by multicalls. What the hub cannot encode of one of them, such as a control
// character, spoils the reply of the whole multicall: then each call is made alone.
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
