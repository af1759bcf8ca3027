// Package signed is a store of signed snapshots, over another store.
//
// A manifest names its segments by their SHA-256, so that its signature is one of all rows. The
// signatures are in an object beside it (snapfile.SignatureObject), a line each:
//
//	ed25519 KEYID BASE64
//
// They are of the manifest's bytes as they are (Ed25519, RFC 8032), so that openssl can tell, too. The
// name of a manifest has its digest, and snapfile.Open compares it: a manifest under another name is none.
//
// With a private key a manifest that is written gets its signature first: a crash in between leaves a
// signature of nothing. With keys that are trusted no manifest is read that none of them has signed.
//
// What a pull that was cut off keeps below pulls/ ends up in the next snapshot. So with a private key it
// is sealed: a signature of its name and its bytes is at its end. What has no good one is not there for
// readers.
//
// All else of a store has no signature: leases, ledgers, and what environments note.
package signed

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// Options are the keys of a store. Without any it is like the store below it.
type Options struct {
	Sign  *PrivateKey // signs what is written; its public half is trusted
	Trust []PublicKey // nothing that none of them signed is read; empty, and no Sign: all is
}

// Store is a store with keys.
type Store struct {
	below store.Store
	sign  *PrivateKey
	trust []PublicKey
}

// New returns the store over another one.
func New(below store.Store, o Options) *Store {
	s := &Store{below: below, sign: o.Sign, trust: slices.Clone(o.Trust)}
	if o.Sign != nil {
		s.trust = append(s.trust, o.Sign.Public())
	}
	return s
}

// Below is the store without keys, where it does not matter who wrote what is read.
func (s *Store) Below() store.Store { return s.below }

func (s *Store) String() string { return s.below.String() }

// List implements store.Store. It lists manifests and parts that are not trusted, too.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	return s.below.List(ctx, prefix)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, name string) error { return s.below.Delete(ctx, name) }

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, src io.ReadSeeker) error {
	src, err := s.signed(ctx, name, src)
	if err != nil {
		return err
	}
	return s.below.Put(ctx, name, src)
}

// Create implements store.Creator as the store below does, or as Put.
func (s *Store) Create(ctx context.Context, name string, src io.ReadSeeker) error {
	src, err := s.signed(ctx, name, src)
	if err != nil {
		return err
	}
	if c, ok := s.below.(store.Creator); ok {
		return c.Create(ctx, name, src)
	}
	return s.below.Put(ctx, name, src)
}

// Clean implements store.Cleaner as the store below does, if it does.
func (s *Store) Clean(ctx context.Context, prefix string, before time.Time, remove bool) ([]string, error) {
	if c, ok := s.below.(store.Cleaner); ok {
		return c.Clean(ctx, prefix, before, remove)
	}
	return nil, nil
}

// Get implements store.Store. A manifest that is not trusted is a *snapfile.UntrustedError; a part of a
// pull that is not is fs.ErrNotExist.
func (s *Store) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	id, isManifest := snapfile.IDOfObject(name)
	switch {
	case isManifest && len(s.trust) > 0:
		return s.manifest(ctx, name, id)
	case isPart(name) && s.sign != nil:
		return s.part(ctx, name)
	}
	return s.below.Get(ctx, name)
}

// signed signs what is to be written, as far as such objects are signed, and returns what to write.
func (s *Store) signed(ctx context.Context, name string, src io.ReadSeeker) (io.ReadSeeker, error) {
	_, isManifest := snapfile.IDOfObject(name)
	if s.sign == nil || !isManifest && !isPart(name) {
		return src, nil
	}
	body, err := io.ReadAll(src)
	if err != nil {
		return nil, err
	}
	if !isManifest {
		return bytes.NewReader(append(body, ed25519.Sign(s.sign.key, sealed(name, body))...)), nil
	}
	line := fmt.Sprintf("%s %s %s\n", algorithm, s.sign.Public().ID(), base64.StdEncoding.EncodeToString(ed25519.Sign(s.sign.key, body)))
	// First: a manifest without its signature would be a snapshot that nobody takes.
	if err := s.below.Put(ctx, snapfile.SignatureObject(name), strings.NewReader(line)); err != nil {
		return nil, err
	}
	return bytes.NewReader(body), nil
}

const (
	algorithm = "ed25519"

	maxSignatures = 64 << 10
)

// manifest reads a manifest if it is trusted.
func (s *Store) manifest(ctx context.Context, name, id string) (io.ReadCloser, error) {
	// In this order a snapshot that is pruned meanwhile is one that is not there.
	signatures, err := read(ctx, s.below, snapfile.SignatureObject(name), maxSignatures)
	unsigned := errors.Is(err, fs.ErrNotExist)
	if err != nil && !unsigned {
		return nil, err
	}
	body, err := read(ctx, s.below, name, snapfile.MaxManifest)
	if err != nil {
		return nil, err
	}
	why := s.distrust(body, string(signatures))
	if unsigned {
		why = "it has no signature; pull with --sign-key makes one that has, and this one is to be removed"
	}
	if why != "" {
		return nil, &snapfile.UntrustedError{ID: id, Store: s.String(), Why: why}
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

// distrust says why a manifest is not trusted; empty: it is.
func (s *Store) distrust(body []byte, signatures string) string {
	bad, other := "", ""
	for line := range strings.Lines(signatures) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != algorithm {
			continue
		}
		at := slices.IndexFunc(s.trust, func(k PublicKey) bool { return k.id == fields[1] })
		if at < 0 {
			other = fields[1]
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(fields[2])
		if err == nil && ed25519.Verify(s.trust[at].key, body, signature) {
			return ""
		}
		bad = fields[1]
	}
	switch {
	case bad != "":
		return fmt.Sprintf("its signature by key %s does not fit it: it was changed since; find out by whom, and remove it", bad)
	case other != "":
		return fmt.Sprintf("it is signed by key %.50q, and %s; give that key as another --verify-key if it is yours, else remove the snapshot", other, s.trusted())
	}
	return "its signature cannot be read; remove it, and pull with --sign-key"
}

func (s *Store) trusted() string {
	var ids []string
	for _, k := range s.trust {
		if !slices.Contains(ids, k.id) {
			ids = append(ids, k.id)
		}
	}
	if len(ids) == 1 {
		return "trusted is key " + ids[0]
	}
	return "trusted are keys " + strings.Join(ids, ", ")
}

func isPart(name string) bool { return strings.HasPrefix(name, snapfile.PullPrefix) }

// sealed is what the signature of a part is of: no manifest begins so.
func sealed(name string, body []byte) []byte {
	return append([]byte("kojisnap part of a pull\n"+name+"\n"), body...)
}

// part reads a part of a pull if this key has sealed it.
func (s *Store) part(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := s.below.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	end := len(body) - ed25519.SignatureSize
	if end < 0 || !ed25519.Verify(s.sign.Public().key, sealed(name, body[:end]), body[end:]) {
		return nil, fmt.Errorf("%s in %s is not signed by key %s: %w", name, s, s.sign.Public().ID(), fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(body[:end])), nil
}

// read reads an object, and refuses one that is longer than most.
func read(ctx context.Context, s store.Store, name string, most int64) ([]byte, error) {
	r, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(body)) > most {
		err = &snapfile.DamagedError{Object: name, Reason: fmt.Sprintf("it has more than %d bytes", most)}
	}
	return body, err
}
