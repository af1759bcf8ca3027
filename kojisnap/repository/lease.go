package repository

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"kojisnap/kojisnap/store"
)

// A writer relies on segments that existing manifests name, and prune removes manifests, then segments.
// A prune must never remove a segment that a writer relies on. So each of them first puts a lease into the
// store, and then looks for the other's: a writer waits until no prune is at work; a prune that finds a
// writer leaves all segments for the next prune. If both begin at once, at least one of them sees the
// other's lease, because a store shows an object to everybody as soon as it is put.
//
// A writer takes its lease before it asks a hub for much: a store that accepts no objects is found out at once.
//
// A process that was killed leaves its lease behind. It expires by the store's clock. A lease whose time is as
// far in the future has expired, too: its host's clock was wrong.
const (
	leasePrefix      = "locks/" // stores have had this name since before the leases were called so
	writeLeasePrefix = leasePrefix + "write-"
	pruneLeasePrefix = leasePrefix + "prune-"

	writeLeaseTime = 24 * time.Hour // as long as segments that no manifest names yet are kept
	pruneLeaseTime = 10 * time.Minute
)

// lease is an object in a store that says that a process is at work there.
type lease struct {
	store store.Store
	name  string
	made  time.Time // before the last put, by this machine's clock
}

func newLease(ctx context.Context, s store.Store, prefix string) (*lease, error) {
	var random [8]byte
	rand.Read(random[:]) // never fails
	l := &lease{store: s, name: prefix + hex.EncodeToString(random[:])}
	if err := l.renew(ctx); err != nil {
		// The object may be there although the answer got lost. No prune would remove segments until it expires.
		l.release(ctx, slog.New(slog.DiscardHandler))
		return nil, fmt.Errorf("the store takes nothing: %w", err)
	}
	return l, nil
}

// noRoom reports whether a store is full.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// renew puts the lease again, so that it expires later.
func (l *lease) renew(ctx context.Context) error {
	l.made = time.Now()
	host, _ := os.Hostname()
	err := l.store.Put(ctx, l.name, strings.NewReader(fmt.Sprintf("%s %d\n", host, os.Getpid())))
	if noRoom(err) && strings.HasPrefix(l.name, pruneLeasePrefix) {
		// A prune makes room. The name is all that counts, and a full file system still takes an empty file.
		err = l.store.Put(ctx, l.name, strings.NewReader(""))
	}
	return err
}

// others returns the leases with a prefix that have not expired, and the time by the store's clock
// when this one was put.
func (l *lease) others(ctx context.Context, prefix string, valid time.Duration) (names []string, now time.Time, err error) {
	all, err := l.store.List(ctx, leasePrefix)
	if err != nil {
		return nil, now, err
	}
	for _, e := range all {
		if e.Name == l.name {
			now = e.ModTime
		}
	}
	if now.IsZero() {
		return nil, now, fmt.Errorf("%s: %s has vanished: somebody removes objects", l.store, l.name)
	}
	for _, e := range all {
		if e.Name != l.name && strings.HasPrefix(e.Name, prefix) && now.Sub(e.ModTime).Abs() < valid {
			names = append(names, e.Name)
		}
	}
	return names, now, nil
}

// release removes the lease, even if ctx was cancelled.
func (l *lease) release(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := l.store.Delete(ctx, l.name); err != nil {
		log.WarnContext(ctx, "the lease on the store stays until it lapses", "lease", l.name, "err", err)
	}
}

// WriteLease takes a lease for writing a snapshot. Until release is called, or 24 hours have passed, no prune
// removes a segment. If a prune is at work, WriteLease waits for its end, and says so to log. now is the time
// by the store's clock. release may be called after ctx is done; call it once.
func WriteLease(ctx context.Context, s store.Store, log *slog.Logger) (release func(), now time.Time, err error) {
	l, err := newLease(ctx, s, writeLeasePrefix)
	if err != nil {
		return nil, now, err
	}
	release = func() { l.release(ctx, log) }
	for told := false; ; {
		prunes, now, err := l.others(ctx, pruneLeasePrefix, pruneLeaseTime)
		if err != nil {
			release()
			return nil, now, err
		}
		if len(prunes) == 0 {
			return release, now, nil
		}
		if !told {
			log.InfoContext(ctx, "the store is being pruned: waiting", "store", s.String(), "lease", prunes[0])
			told = true
		}
		select {
		case <-ctx.Done():
			release()
			return nil, now, ctx.Err()
		case <-time.After(time.Second):
		}
		if err := l.renew(ctx); err != nil { // which tells the time
			release()
			return nil, now, err
		}
	}
}
