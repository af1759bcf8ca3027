package dbsource

import (
	"context"
	"fmt"
	"time"

	"kojisnap/kojisnap/snapshot"
)

// Check finds out whether a pull could begin: whether the source has Koji's tables, the event and the tags. It says
// what there is. Without tags it does not look for them.
func Check(ctx context.Context, src Source, o Options) (string, error) {
	d, err := src.Describe(ctx)
	if err != nil {
		return "", err
	}
	release, err := proveRelease(d)
	if err != nil {
		return "", err
	}
	none := len(o.Tags) == 0
	if none && !o.Everything {
		o.Tags = []string{"*"}
	}
	o, set, err := o.complete()
	if err != nil {
		return "", err
	}
	r := &run{opt: o, tags: set, reader: newReader(src, d), holes: map[int64]int64{}, release: release, builder: snapshot.New(snapshot.Options{TempDir: o.TempDir})}
	defer r.builder.Discard()
	if err := r.findEvent(ctx); err != nil {
		return "", err
	}
	found := fmt.Sprintf("%s of %s: Koji %s, event %d of %s", r.kind, o.Hub, release, r.event, r.eventTime.Format(time.RFC3339))
	switch {
	case o.Everything:
		return found + ", everything", nil
	case none:
		return found, nil
	}
	tags, err := r.readTags(ctx)
	if err != nil {
		return "", err
	}
	asked, err := r.chooseTags(tags)
	return fmt.Sprintf("%s, %d tags", found, len(asked)), err
}
