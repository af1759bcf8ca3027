package kojisnap

import (
	"context"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes"
)

// StagingDatabase is staging's database as a copy asks it: which builds staging itself has deleted, reset,
// built again or promoted, whose files must not be made again; and on which volume builds are whose symlink is
// gone or has a directory in its place.
type StagingDatabase struct {
	DSN string
	// Optional: if the database cannot be asked, that is logged, and what the last load stored counts.
	Optional bool
}

// decided returns production's builds that staging has decided about itself, each with how.
func (o CopyOptions) decided(ctx context.Context, s store.Store) (map[int64]string, error) {
	if o.Database != nil {
		builds, err := o.Database.decided(ctx)
		if err == nil || !o.Database.Optional || ctx.Err() != nil {
			return builds, err
		}
		o.warn(ctx, "staging's database cannot be asked what staging decided of builds: what the last load noted counts", err)
	}
	if s == nil {
		return nil, nil
	}
	return repository.ReadDecided(ctx, s, o.Env)
}

func (d *StagingDatabase) decided(ctx context.Context) (map[int64]string, error) {
	conn, err := dbconn.Connect(ctx, d.DSN)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return status.DecidedBuilds(ctx, conn)
}

// rows is hardlink.Options.Rows.
func (o CopyOptions) rows() func(ctx context.Context, builds []volumes.Build) (map[string]string, error) {
	if o.Database == nil {
		return nil
	}
	return func(ctx context.Context, builds []volumes.Build) (map[string]string, error) {
		conn, err := dbconn.Connect(ctx, o.Database.DSN)
		if err != nil {
			if o.Database.Optional && ctx.Err() == nil {
				o.warn(ctx, "staging's database cannot be asked where builds stand", err)
				return nil, nil
			}
			return nil, err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		nvrs := make([]kojidb.NVR, len(builds))
		for i, b := range builds {
			nvrs[i] = kojidb.NVR{Name: b.Name, Version: b.Version, Release: b.Release}
		}
		return status.BuildVolumes(ctx, conn, nvrs)
	}
}

func (o CopyOptions) warn(ctx context.Context, what string, err error) {
	if o.Log != nil {
		o.Log.WarnContext(ctx, what, "err", err)
	}
}
