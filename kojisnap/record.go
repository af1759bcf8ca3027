package kojisnap

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
	"kojisnap/kojisnap/verify"
)

// ReadRecord asks the staging database where it differs from a snapshot by staging's own decisions, and which
// of its ids are not production's. It only reads.
func ReadRecord(ctx context.Context, dsn string, snap *snapfile.Snapshot) (verify.Record, error) {
	conn, err := dbconn.Connect(ctx, dsn)
	if err != nil {
		return verify.Record{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	held, err := status.Read(ctx, conn)
	if err != nil {
		return verify.Record{}, err
	}
	if err := held.CheckWhole(); err != nil {
		return verify.Record{}, err
	}
	r := verify.Record{Mark: held.Mark, RPMs: map[int64]string{}, Signatures: map[verify.SignatureRow]string{}, Types: map[int64]string{}}
	r.History = map[int64]int64{}
	for _, t := range held.Tags {
		r.History[t.ID] = t.History
	}
	if r.IDs, err = status.ReadIDs(ctx, conn); err != nil {
		return verify.Record{}, err
	}
	entries := slices.Concat(held.Conflicts, held.LeftOut, held.Kept)
	builds, err := status.DecidedBuilds(ctx, conn) // also since the last load
	if err != nil || len(entries)+len(builds) == 0 {
		return r, err
	}
	view, err := tagged.Read(ctx, snap)
	if err != nil {
		return verify.Record{}, err
	}
	for _, e := range entries {
		key, why := e.Keys(), strings.Join(strings.Fields(e.What), " ")
		switch e.Relation {
		case "build":
			builds[key["id"]] = cmp.Or(builds[key["id"]], why)
		case "rpminfo":
			r.RPMs[key["id"]] = why
		case "rpmsigs":
			r.Signatures[verify.SignatureRow{RPM: key["rpm_id"], Key: e.Text("sigkey")}] = why
		case "build_types":
			r.Types[key["build_id"]] = why
		}
	}
	r.Builds, err = decidedBuilds(ctx, conn, builds, view)
	return r, err
}

// decidedBuilds returns the builds that staging's hub cannot list as production's does: staging does not have
// them as complete, or not under that name. Another volume or owner explains no missing rpm.
func decidedBuilds(ctx context.Context, conn *pgx.Conn, builds map[int64]string, view *tagged.View) (map[int64]string, error) {
	here, err := status.CompleteBuilds(ctx, conn, slices.Collect(maps.Keys(builds)))
	if err != nil {
		return nil, err
	}
	decided := map[int64]string{}
	for _, b := range view.AllBuilds() {
		if why, ok := builds[b.ID]; ok && here[b.ID] != (kojidb.NVR{Name: b.Name, Version: b.Version, Release: b.Release}) {
			decided[b.ID] = why
		}
	}
	return decided, nil
}
