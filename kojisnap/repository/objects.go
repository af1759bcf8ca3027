package repository

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"

	"kojisnap/dbsync/setup"
	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/store"
)

// DefaultEnv is the name of the environment if none is given.
const DefaultEnv = "staging"

// LedgerObject names the object with the copy of an environment's ledger; env "" is DefaultEnv. A name that
// no environment can have is an error.
func LedgerObject(env string) (string, error) { return environmentObject(ledgerPrefix, env) }

// ShardLedgerObject names the object with the copy of the ledger of one of an environment's shards.
func ShardLedgerObject(env, shard string) (string, error) {
	prefix, err := ShardLedgerPrefix(env)
	if err != nil {
		return "", err
	}
	if err := ledger.CheckShard(shard); err != nil {
		return "", err
	}
	return prefix + shard, nil
}

// ShardLedgerPrefix begins the names of ShardLedgerObject. It is not ledgers/ENV/, because in a store that is a directory
// ledgers/ENV is a file. No environment's name has a dot.
func ShardLedgerPrefix(env string) (string, error) {
	object, err := LedgerObject(env)
	return object + ".d/", err
}

const ledgerPrefix = "ledgers/"

// environmentObject names an object of an environment.
func environmentObject(prefix, env string) (string, error) {
	if env == "" {
		env = DefaultEnv
	}
	if err := setup.CheckEnvironment(env); err != nil {
		return "", err
	}
	return prefix + env, nil
}

// readObject reads a small object, nil if there is none.
func readObject(ctx context.Context, s store.Store, object string) ([]byte, error) {
	r, err := openObject(ctx, s, object)
	if err != nil || r == nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// openObject opens an object, nil if there is none.
func openObject(ctx context.Context, s store.Store, object string) (io.ReadCloser, error) {
	r, err := s.Get(ctx, object)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return r, err
}

// PutImmutable writes an object whose name contains the digest of its content, unless it is there already.
// If what is there has other content, it is damaged, and is replaced. Several writers may do so at once.
func PutImmutable(ctx context.Context, s store.Store, name string, body []byte) error {
	c, ok := s.(store.Creator)
	if !ok {
		return s.Put(ctx, name, bytes.NewReader(body))
	}
	err := c.Create(ctx, name, bytes.NewReader(body))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	r, err := WithoutSignatures(s).Get(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	there, err := io.ReadAll(io.LimitReader(r, int64(len(body))+1))
	if err != nil {
		return err
	}
	if bytes.Equal(there, body) {
		return nil
	}
	return s.Put(ctx, name, bytes.NewReader(body))
}
