package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"kojisnap/kojisnap/store"
)

const decidedPrefix = "decided/"

// PutDecided stores which of production's builds a staging environment has decided about itself, by id, each
// with how. Copies on hosts that do not reach staging's database read it. An object that says the same
// already stays as it is.
func PutDecided(ctx context.Context, s store.Store, env string, builds map[int64]string) error {
	object, err := environmentObject(decidedPrefix, env)
	if err != nil {
		return err
	}
	text, err := json.Marshal(builds)
	if err != nil {
		return err
	}
	have, err := readObject(ctx, s, object)
	if err != nil || bytes.Equal(have, text) || have == nil && len(builds) == 0 {
		return err
	}
	return s.Put(ctx, object, bytes.NewReader(text))
}

// ReadDecided returns what the last PutDecided of an environment stored, nil if there is none.
func ReadDecided(ctx context.Context, s store.Store, env string) (builds map[int64]string, err error) {
	object, err := environmentObject(decidedPrefix, env)
	if err != nil {
		return nil, err
	}
	text, err := readObject(ctx, s, object)
	if err != nil || text == nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &builds); err != nil {
		return nil, fmt.Errorf("%s in %s: %w; remove it, and the next load writes it anew", object, s, err)
	}
	return builds, nil
}
