package kojisnap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store"
)

// putLedger puts topdir's ledger into the store unless it is there already. A note below topdir says which
// ledger is in which store: reading it is cheaper than comparing both.
func putLedger(ctx context.Context, s store.Store, env, topdir string) error {
	object, err := repository.LedgerObject(env)
	if err != nil {
		return err
	}
	there, err := s.List(ctx, object)
	if err != nil {
		return err
	}
	has := slices.ContainsFunc(there, func(e store.Entry) bool { return e.Name == object })
	state, err := ledger.State(topdir)
	if err != nil {
		return err
	}
	if state == "" && has {
		return nil // nothing was made here yet: what the store has may be all that is left of a ledger
	}
	note := filepath.Join(topdir, ledgerNote)
	noted := fmt.Sprintf("%s %s %s\n", s, object, state)
	if old, err := os.ReadFile(note); has && err == nil && string(old) == noted {
		return nil
	}
	l, err := ledger.Read(topdir)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := l.WriteTo(&b); err != nil {
		return err
	}
	if err := s.Put(ctx, object, bytes.NewReader(b.Bytes())); err != nil || state == "" {
		return err
	}
	return durable.WriteFile(note, func(w io.Writer) error { _, err := io.WriteString(w, noted); return err })
}

// ledgerNote is the note, below topdir.
const ledgerNote = ".kojisnap/stored"

// saved returns a function that reads the store's copy of the ledger, nil if there is none or it is damaged.
func (o CopyOptions) saved(s store.Store) func(ctx context.Context) (*ledger.Ledger, error) {
	if s == nil {
		return nil
	}
	return func(ctx context.Context) (*ledger.Ledger, error) {
		l, err := readLedger(ctx, s, o.Env, "")
		if errors.Is(err, ledger.ErrDamaged) {
			if o.Log != nil {
				o.Log.WarnContext(ctx, "the ledger in the store is of no use", "err", err)
			}
			return nil, nil
		}
		return l, err
	}
}

// readLedger reads the ledger from topdir if that is given, or else from the store. Without either it returns
// nil: it is not known what was copied.
func readLedger(ctx context.Context, s store.Store, env, topdir string) (*ledger.Ledger, error) {
	if topdir != "" {
		if _, err := os.Stat(topdir); err != nil {
			return nil, fmt.Errorf("topdir: %w", err)
		}
		return ledger.Read(topdir)
	}
	object, err := repository.LedgerObject(env)
	if err != nil {
		return nil, err
	}
	return storedLedger(ctx, s, object)
}

// storedLedger reads a ledger from the store, nil if there is none.
func storedLedger(ctx context.Context, s store.Store, object string) (*ledger.Ledger, error) {
	r, err := s.Get(ctx, object)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	l, err := ledger.Parse(r)
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", object, s, err)
	}
	return l, nil
}
