package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"kojisnap/kojisnap/store"
)

// A writer counts on the segments that manifests name, and prune removes manifests, then
// segments. So that prune never removes what a writer has just counted on, both say in the store
// that they are there, and then look for the other: a writer waits until no prune is about, and
// a prune that finds a writer leaves the segments for next time. Of two that begin at once at
// least one sees the other, for a store shows an object to all as soon as it is put.
//
// A writer says so before he asks a hub for much, so that a store that takes nothing is found out
// at once.
//
// Who was killed leaves his claim. It lapses by the store's clock: also one that is as far in the
// future, of a host whose clock was wrong.
const (
	claimPrefix = "locks/"
	writeClaim  = claimPrefix + "write-"
	pruneClaim  = claimPrefix + "prune-"

	writeLapse = 24 * time.Hour // as the segments that no manifest names yet
	pruneLapse = 10 * time.Minute
)

// lease is an object that says that a process is at work in a store.
type lease struct {
	store store.Store
	name  string
	made  time.Time // before the last put, by this machine's clock
}

func newLease(ctx context.Context, s store.Store, prefix string) (*lease, error) {
	var random [8]byte
	rand.Read(random[:]) // never fails
	c := &lease{store: s, name: prefix + hex.EncodeToString(random[:])}
	if err := c.renew(ctx); err != nil {
		// It may be there, and only the answer got lost: until it lapsed, no prune would remove segments.
		c.release(ctx, slog.New(slog.DiscardHandler))
		return nil, fmt.Errorf("the store takes nothing: %w", err)
	}
	return c, nil
}

// noRoom reports whether a store is full.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func (c *lease) renew(ctx context.Context) error {
	c.made = time.Now()
	host, _ := os.Hostname()
	err := c.store.Put(ctx, c.name, strings.NewReader(fmt.Sprintf("%s %d\n", host, os.Getpid())))
	if noRoom(err) && strings.HasPrefix(c.name, pruneClaim) {
		// A prune makes room. Its claim is the name; a full file system takes a file of no bytes.
		err = c.store.Put(ctx, c.name, strings.NewReader(""))
	}
	return err
}

// others returns the claims with a prefix that have not lapsed, and the time by the store's clock
// when this one was put.
func (c *lease) others(ctx context.Context, prefix string, lapse time.Duration) (names []string, now time.Time, err error) {
	all, err := c.store.List(ctx, claimPrefix)
	if err != nil {
		return nil, now, err
	}
	for _, e := range all {
		if e.Name == c.name {
			now = e.ModTime
		}
	}
	if now.IsZero() {
		return nil, now, fmt.Errorf("%s: %s has vanished: somebody removes objects", c.store, c.name)
	}
	for _, e := range all {
		if e.Name != c.name && strings.HasPrefix(e.Name, prefix) && now.Sub(e.ModTime).Abs() < lapse {
			names = append(names, e.Name)
		}
	}
	return names, now, nil
}

// release takes the claim back, also where the work was cancelled.
func (c *lease) release(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := c.store.Delete(ctx, c.name); err != nil {
		log.WarnContext(ctx, "the claim on the store stays until it lapses", "claim", c.name, "err", err)
	}
}

// BeginWriting says that a snapshot is being written, until release is called. If a prune is
// under way it waits for its end. It tells the time by the store's clock.
func BeginWriting(ctx context.Context, s store.Store, log *slog.Logger) (release func(), now time.Time, err error) {
	c, err := newLease(ctx, s, writeClaim)
	if err != nil {
		return nil, now, err
	}
	release = func() { c.release(ctx, log) }
	for told := false; ; {
		prunes, now, err := c.others(ctx, pruneClaim, pruneLapse)
		if err != nil {
			release()
			return nil, now, err
		}
		if len(prunes) == 0 {
			return release, now, nil
		}
		if !told {
			log.InfoContext(ctx, "the store is being pruned: waiting", "store", s.String(), "claim", prunes[0])
			told = true
		}
		select {
		case <-ctx.Done():
			release()
			return nil, now, ctx.Err()
		case <-time.After(time.Second):
		}
		if err := c.renew(ctx); err != nil { // which tells the time
			release()
			return nil, now, err
		}
	}
}

// PutNamed writes an object whose name has the digest of its bytes, if it is not there. Several
// writers may do so at once.
func PutNamed(ctx context.Context, s store.Store, name string, body []byte) error {
	c, ok := s.(store.Creator)
	if !ok {
		return s.Put(ctx, name, bytes.NewReader(body))
	}
	err := c.Create(ctx, name, bytes.NewReader(body))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	r, err := Unchecked(s).Get(ctx, name)
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
	return s.Put(ctx, name, bytes.NewReader(body)) // what is there is damaged
}
