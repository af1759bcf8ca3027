package dbsync

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/overlay"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/snapfile"
)

// OnConflict says what to do with a row of production's whose place a row of staging's has.
type OnConflict string

// Keep is the default.
const (
	Keep    OnConflict = "keep"    // ours stays; theirs is left out, noted, and tried again at each load
	Replace OnConflict = "replace" // theirs goes in, ours goes away
	Fail    OnConflict = "fail"    // nothing is loaded, a *ConflictError says why
)

// Import says whether a snapshot of everything is loaded into a fresh database by a full import (package fullimport).
type Import string

// ImportAuto is the default.
const (
	ImportAuto    Import = "auto"    // if the database is fresh, and its tables allow it; one that was broken off goes on
	ImportRestart Import = "restart" // as auto, but one that was broken off begins anew, with this snapshot
	ImportNever   Import = "never"   // never; one that was broken off is undone
)

// LoadOptions says how to load. The zero value works.
type LoadOptions struct {
	Env string // if not empty, the mark must name this environment

	Volume     string // the read-only volume; empty is "prod"
	CopyVolume string // the volume of builds whose files were copied; empty is "staged"
	// VolumeFor names staging's volume for a volume of production's. nil maps DEFAULT to Volume
	// and X to Volume_X.
	VolumeFor func(production string) string
	// Staged are the builds whose files were copied. nil is unknown: those that stand on
	// CopyVolume stay there. An empty, non-nil slice says that there are none.
	Staged []kojidb.NVR

	// Base opens the snapshot with an id, or returns fs.ErrNotExist. If the database holds that snapshot,
	// the load reads and compares only what changed since. nil: it compares every row.
	Base func(ctx context.Context, id string) (*snapfile.Snapshot, error)

	// Narrow returns a snapshot with only the rows of some of its tags. The load calls it for the snapshot
	// that the database holds, if only these tags of it were loaded. nil: it compares every row in that
	// case.
	Narrow func(ctx context.Context, snap *snapfile.Snapshot, tags []int64) (*snapfile.Snapshot, error)
	// Tags are the tags that the load was asked for, if they are fewer than the snapshot's; for the report.
	Tags []string

	// Between opens the snapshots of a hub whose events are after one and before another, oldest first,
	// whether they were loaded or not: they have the events of revocations since. nil: revocations that this
	// snapshot does not have get its event.
	Between func(ctx context.Context, after, before int64) ([]*snapfile.Snapshot, error)

	OnConflict OnConflict // empty is Keep
	// HubMoved is the new URL of production's hub, if the hub has moved since the snapshot that the database
	// holds. Events and builds of both must show that it is the same production.
	HubMoved string
	Rollback bool   // allow a snapshot older than what the database holds
	Audit    bool   // compare every row, whatever the database holds
	DryRun   bool   // do everything, then roll back
	Import   Import // empty is ImportAuto
	// Importing, if not nil, is called when a full import has begun or goes on: from now on it needs the snapshot.
	Importing func(ctx context.Context)
	Sessions  int              // how many sessions a full import works in; 0: fullimport.DefaultSessions
	Overlay   *overlay.Overlay // nil: what an earlier overlay made stays
	Version   string           // of the program, for the record

	Waited *book.Waited // how long others kept this load waiting, for the record; nil: it did not wait

	Log      *slog.Logger      // nil discards
	Progress progress.Progress // nil is silent
}

// complete sets the defaults and refuses invalid options.
func (o *LoadOptions) complete() error {
	if o.Volume == "" {
		o.Volume = "prod"
	}
	if o.CopyVolume == "" {
		o.CopyVolume = "staged"
	}
	if o.VolumeFor == nil {
		volume := o.Volume
		o.VolumeFor = func(p string) string {
			if p == "DEFAULT" {
				return volume
			}
			return volume + "_" + p
		}
	}
	switch o.OnConflict {
	case "":
		o.OnConflict = Keep
	case Keep, Replace, Fail:
	default:
		return fmt.Errorf("on conflict %q: it is keep, replace or fail", o.OnConflict)
	}
	switch o.Import {
	case "":
		o.Import = ImportAuto
	case ImportAuto, ImportRestart, ImportNever:
	default:
		return fmt.Errorf("import %q: it is auto, restart or never", o.Import)
	}
	if o.Volume == o.CopyVolume || o.Volume == "DEFAULT" || o.CopyVolume == "DEFAULT" {
		return fmt.Errorf("volumes %q and %q: they must differ, and neither is DEFAULT", o.Volume, o.CopyVolume)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Progress = progress.OrDiscard(o.Progress)
	return nil
}

// ConflictError says that rows of production's and staging's conflict, and that the caller asked to fail
// then.
type ConflictError struct{ Conflicts []book.Entry }

func (e *ConflictError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d conflicts with staging's own rows", len(e.Conflicts))
	for i, c := range e.Conflicts {
		if i == 3 {
			b.WriteString("; …")
			break
		}
		fmt.Fprintf(&b, "; %s %s: %s", c.Relation, c.Key, c.What)
	}
	return b.String()
}
