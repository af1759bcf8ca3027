package repository

import (
	"context"
	"time"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// Clean finds what killed writers left half-written in a store before a time, and removes it if told to. It
// looks only below kojisnap's own prefixes, because others may share a bucket. A store that leaves nothing
// half-written (it is no store.Cleaner) has nothing to clean.
func Clean(ctx context.Context, s store.Store, before time.Time, remove bool) (left []string, err error) {
	c, ok := s.(store.Cleaner)
	if !ok {
		return nil, nil
	}
	for _, prefix := range []string{leasePrefix, decidedPrefix, heldPrefix, environmentPrefix, pulledPrefix, ledgerPrefix, snapfile.PullPrefix, "segments/", snapfile.ManifestPrefix} {
		names, err := c.Clean(ctx, prefix, before, remove)
		left = append(left, names...)
		if err != nil {
			return left, err
		}
	}
	return left, nil
}
