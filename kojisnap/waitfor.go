package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/lockfile"
)

// waiting is a lock on a file on which composes hold a shared lock while they run. A sync holds it from before
// the load until the copies that are no longer needed are removed. Composes that begin meanwhile wait.
type waiting struct {
	unlock func()
	waited *book.Waited // for whom load waited; nil: nobody held the lock
}

// release releases the lock. It may be called more than once, and of nil.
func (w *waiting) release() {
	if w != nil && w.unlock != nil {
		w.unlock()
		w.unlock = nil
	}
}

// lookAgain is how often waitFor looks who holds the lock.
const lookAgain = time.Minute

// waitFor waits until nobody holds a lock (flock) on path, and takes it. It logs who holds it and how long it
// waited. With an empty path it returns nil at once.
func waitFor(ctx context.Context, path string, log *slog.Logger) (*waiting, error) {
	if path == "" {
		return nil, nil
	}
	unlock, err := lockfile.Flock(ctx, path, 0o644, false)
	if err == nil {
		return &waiting{unlock: unlock}, nil
	}
	if !errors.Is(err, lockfile.ErrLocked) {
		return nil, fmt.Errorf("wait for %s: %w", path, err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &book.Waited{File: path, Holders: []string{}}
	for began, first := time.Now(), true; ; first = false {
		holders := lockfile.Holders(path)
		news := slices.DeleteFunc(slices.Clone(holders), func(h string) bool { return slices.Contains(w.Holders, h) })
		if w.Holders = append(w.Holders, news...); first || len(news) > 0 {
			log.InfoContext(ctx, "waiting until nobody holds the lock that composes hold", "file", path, "holders", holders)
		}
		look, cancel := context.WithTimeout(ctx, lookAgain)
		unlock, err := lockfile.Flock(look, path, 0o644, true)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			continue
		}
		w.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
		if err != nil {
			return &waiting{waited: w}, fmt.Errorf("wait for %s: %s: %w", path, w, err)
		}
		log.InfoContext(ctx, "nobody holds the lock any longer", "file", path, "seconds", w.Seconds)
		return &waiting{unlock, w}, nil
	}
}
