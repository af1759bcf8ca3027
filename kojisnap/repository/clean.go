package repository

import (
	"context"
	"time"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// Clean finds, and removes if told to, what writers that were killed left half-written in a store
// since before: of our own objects only, for others may share a bucket.
func Clean(ctx context.Context, s store.Store, before time.Time, remove bool) (left []string, err error) {
	c, ok := s.(store.Cleaner)
	if !ok {
		return nil, nil
	}
	for _, prefix := range []string{claimPrefix, decidedPrefix, heldPrefix, LedgerPrefix, snapfile.PullPrefix, "segments/", snapfile.ManifestPrefix} {
		names, err := c.Clean(ctx, prefix, before, remove)
		left = append(left, names...)
		if err != nil {
			return left, err
		}
	}
	return left, nil
}
