package pager

import (
	"context"
	"fmt"
	"maps"

	"kojisnap/kojisnap/hub"
)

// If the hub cannot send a reply, because a row breaks its encoding or its query, the request is split until
// that row is alone. Rows with an invalid value that the hub can send are not handled here: they arrive (see
// KeepBad of hub.Call), and package convert judges them.

// Each makes calls and passes their rows to fn. If a reply cannot be encoded or is malformed, Each splits the
// calls until one is left, and passes that to onBad. A nil onBad skips it.
func (p *Pager) Each(ctx context.Context, calls []hub.Call, fn func(i int, r hub.Row) error, onBad func(i int, err error) error) error {
	for i := range calls {
		calls[i] = RowsOf(calls[i])
	}
	return p.eachFrom(ctx, calls, 0, fn, onBad)
}

func (p *Pager) eachFrom(ctx context.Context, calls []hub.Call, first int, fn func(i int, r hub.Row) error, onBad func(i int, err error) error) error {
	var ours error
	faulty := map[int]error{}
	err := p.hub.StreamMultiFaults(ctx, calls, func(i int, r hub.Row) error {
		ours = fn(first+i, r)
		return ours
	}, func(e *hub.CallError) error {
		if !hub.Splittable(e) {
			return e
		}
		faulty[e.Index] = e
		return nil
	})
	switch {
	case err == nil:
		return p.eachFaulty(ctx, calls, first, faulty, fn, onBad)
	case ours != nil || !hub.Splittable(err) || ctx.Err() != nil:
		return err
	case len(calls) == 1:
		if err = p.Lasting(ctx, err); hub.Temporary(err) {
			return err
		}
		return onBad(first, err)
	}
	// Rows that came before are added again.
	half := len(calls) / 2
	if err := p.eachFrom(ctx, calls[:half], first, fn, onBad); err != nil {
		return err
	}
	return p.eachFrom(ctx, calls[half:], first+half, fn, onBad)
}

// eachFaulty repeats each call of a multicall that had a fault, alone: another call may have caused the
// fault.
func (p *Pager) eachFaulty(ctx context.Context, calls []hub.Call, first int, faulty map[int]error, fn func(i int, r hub.Row) error, onBad func(i int, err error) error) error {
	for i := range calls {
		err, isFaulty := faulty[i]
		switch {
		case !isFaulty:
		case len(calls) > 1:
			err = p.eachFrom(ctx, calls[i:i+1], first+i, fn, onBad)
		default:
			err = onBad(first, err)
		}
		if isFaulty && err != nil {
			return err
		}
	}
	return nil
}

// Lasting reports whether HTTP 500, or an error of the hub's database, is about this one call. Then the hub
// answers other calls, and trying again does not help.
func (p *Pager) Lasting(ctx context.Context, err error) error {
	if !hub.Temporary(err) {
		return err
	}
	if _, probe := p.hub.Call(ctx, hub.Call{Method: "getAPIVersion"}); probe != nil {
		return err
	}
	return fmt.Errorf("the hub answers others, but not this call: %s", err)
}

// Stream makes a call and passes its rows to fn.
type Stream func(ctx context.Context, call hub.Call, fn func(r hub.Row) error) error

// Split makes a call that the hub cannot answer as a whole, with fewer and fewer rows, in an order without
// ties. It passes the rows that the hub can send to fn. It returns how many rows the hub cannot send, and the
// reason for the first one; whole is the reason for the whole. lost is -1 if the hub cannot even count them.
func (p *Pager) Split(ctx context.Context, ask Stream, call hub.Call, order string, whole error, fn func(r hub.Row) error) (lost int64, why, err error) {
	with := func(opts map[string]any) hub.Call {
		kwargs := map[string]any{"queryOpts": opts}
		maps.Copy(kwargs, call.Kwargs)
		return RowsOf(hub.Call{Method: call.Method, Args: call.Args, Kwargs: kwargs})
	}
	n, err := p.countRows(ctx, with(map[string]any{"countOnly": true}))
	switch {
	case Broken(ctx, err, nil):
		return -1, whole, nil
	case err != nil:
		return 0, nil, err
	case n < 0:
		return -1, whole, nil
	}
	var ours error
	noting := func(r hub.Row) error {
		ours = fn(r)
		return ours
	}
	var part func(offset, limit int64) error
	part = func(offset, limit int64) error {
		err := ask(ctx, with(map[string]any{"order": order, "offset": offset, "limit": limit}), noting)
		switch {
		case err == nil:
			return nil
		case ours != nil || !hub.Splittable(err) || ctx.Err() != nil:
			return err
		case limit == 1:
			if err = p.Lasting(ctx, err); hub.Temporary(err) {
				return err
			}
			if lost++; why == nil {
				why = err
			}
			return nil
		}
		if err := part(offset, limit/2); err != nil {
			return err
		}
		return part(offset+limit/2, limit-limit/2)
	}
	if n > 0 {
		err = part(0, n)
	}
	return lost, why, err
}

// countRows asks how many rows a call returns, of one table or of the only table of queryHistory. It returns
// -1 if the answer is no number.
func (p *Pager) countRows(ctx context.Context, call hub.Call) (int64, error) {
	v, err := p.hub.Call(ctx, call)
	if err != nil {
		return 0, err
	}
	for _, table := range v.Members() {
		v = table
	}
	n, ok := v.Int()
	if !ok {
		return -1, nil
	}
	return n, nil
}

// Broken reports whether a call failed because of something that the hub cannot send, and not because of
// ours: an error in handling its rows.
func Broken(ctx context.Context, err, ours error) bool {
	return err != nil && ours == nil && hub.Splittable(err) && ctx.Err() == nil
}
