package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"kojisnap/kojisnap/store"
)

const decidedPrefix = "decided/"

// PutDecided notes in a store what staging decided, for copies on hosts that do not reach its
// database.
func PutDecided(ctx context.Context, s store.Store, env string, builds map[int64]string) error {
	object, err := EnvironmentObject(decidedPrefix, env)
	if err != nil {
		return err
	}
	text, err := json.Marshal(builds)
	if err != nil {
		return err
	}
	have, err := ReadObject(ctx, s, object)
	if err != nil || bytes.Equal(have, text) || have == nil && len(builds) == 0 {
		return err
	}
	return s.Put(ctx, object, bytes.NewReader(text))
}

func ReadDecided(ctx context.Context, s store.Store, env string) (builds map[int64]string, err error) {
	object, err := EnvironmentObject(decidedPrefix, env)
	if err != nil {
		return nil, err
	}
	text, err := ReadObject(ctx, s, object)
	if err != nil || text == nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &builds); err != nil {
		return nil, fmt.Errorf("%s in %s: %w; remove it, and the next load writes it anew", object, s, err)
	}
	return builds, nil
}

// ReadObject reads a small object, nil if there is none.
func ReadObject(ctx context.Context, s store.Store, object string) ([]byte, error) {
	r, err := s.Get(ctx, object)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
