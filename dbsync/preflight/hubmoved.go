package preflight

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/snapfile"
)

// hubCheck compares the hub of a snapshot with that of what the database holds.
type hubCheck struct {
	tx      pgx.Tx
	mark    *book.Mark
	snap    *snapfile.Snapshot
	verdict *Verdict
}

// check refuses a snapshot of another hub than that of the last successful load, as its ids mean other things.
// If hubMoved names the snapshot's hub, the rows that both have decide. A database without a record of a hub
// takes any.
func (h *hubCheck) check(ctx context.Context, hubMoved string) error {
	hub := h.snap.Manifest.Hub
	was, err := book.HeldHub(ctx, h.tx, h.mark)
	if err != nil {
		return err
	}
	other, err := otherHub(was, hub, hubMoved)
	if err != nil || !other {
		return err
	}
	events, err := h.commonEvents(ctx)
	if err == nil {
		err = h.commonBuilds(ctx, events)
	}
	if err != nil {
		return err
	}
	h.verdict.MovedFrom = was
	return nil
}

// otherHub reports whether a hub has another URL than the one on record, if there is one. If so, moved must
// name it.
func otherHub(was, hub, moved string) (other bool, err error) {
	switch {
	case was == "" || snapfile.SameHub(was, hub):
		return false, nil
	case moved == "":
		return true, fmt.Errorf("the database holds the production of %s, and this is one of %s: %w; mend hub in [pull] or choose another snapshot; if it is the same production under a new address, --hub-moved %s",
			secret.Hide(was), secret.Hide(hub), ErrOtherHub, secret.Hide(hub))
	case !snapfile.SameHub(moved, hub):
		return true, fmt.Errorf("--hub-moved says %s, and the snapshot is of %s, the database of %s: %w", secret.Hide(moved), secret.Hide(hub), secret.Hide(was), ErrOtherHub)
	}
	return true, nil
}

// commonRows compares rows of a relation of the snapshot with the database's rows of the same ids, in batches.
// line takes a row of the snapshot; compare returns for the batch how many rows are in both, and how many of
// those differ.
func (h *hubCheck) commonRows(ctx context.Context, name string, line func(fields [][]byte) error, compare func() (both, differ int, err error)) (both, differ int, err error) {
	const batch = 10000
	rows := h.snap.Rows(ctx, name)
	defer rows.Close()
	ask := func() error {
		b, d, err := compare()
		both, differ = both+b, differ+d
		return err
	}
	n := 0
	var row [][]byte
	for rows.Next() {
		if row, err = rows.Fields(row); err == nil {
			err = line(row)
		}
		if err != nil {
			return both, differ, fmt.Errorf("%s of snapshot %s: %w", name, h.snap.ID, err)
		}
		if n++; n%batch == 0 {
			if err := ask(); err != nil {
				return both, differ, err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return both, differ, err
	}
	return both, differ, ask()
}

// commonEvents returns how many events are both in the snapshot and in the database. All must have the same
// time: in a copy of production that goes on by itself only the last ones differ.
func (h *hubCheck) commonEvents(ctx context.Context) (int, error) {
	r := relation.Get("events")
	id, time := r.Index("id"), r.Index("time")
	var ids []int32
	var times []string
	both, differ, err := h.commonRows(ctx, "events", func(f [][]byte) error {
		n, err := strconv.ParseInt(string(f[id]), 10, 32)
		ids, times = append(ids, int32(n)), append(times, string(f[time]))
		return err
	}, func() (both, differ int, err error) {
		// Hubs tell times in floating-point numbers.
		err = h.tx.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE abs(extract(epoch FROM e.time::timestamptz - s.time::timestamptz)) > 0.001)
			FROM unnest($1::integer[], $2::text[]) s(id, time) JOIN events e USING (id)`, ids, times).Scan(&both, &differ)
		ids, times = ids[:0], times[:0]
		return both, differ, err
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("--hub-moved: compare events: %w", err)
	case both == 0:
		return 0, fmt.Errorf("--hub-moved: no event is in the snapshot and in the database, so that nothing proves them to be of the same production: %w; pull the tags that were loaded before", ErrOtherHub)
	case differ > 0:
		return 0, fmt.Errorf("--hub-moved: of %d events that the snapshot and the database have, %d happened at another time: %w", both, differ, ErrOtherHub)
	}
	return both, nil
}

var draftRE = regexp.MustCompile(`,draft_[0-9]+$`)

// commonBuilds compares the builds of the snapshot with the database's. One in a hundred may differ, as
// staging's edits stay and production renames packages.
func (h *hubCheck) commonBuilds(ctx context.Context, events int) error {
	packages := map[string]string{}
	r := relation.Get("package")
	id, name := r.Index("id"), r.Index("name")
	if _, _, err := h.commonRows(ctx, "package", func(f [][]byte) error {
		packages[string(f[id])] = string(f[name])
		return nil
	}, func() (int, int, error) { return 0, 0, nil }); err != nil {
		return err
	}
	r = relation.Get("build")
	id = r.Index("id")
	pkg, version, release := r.Index("pkg_id"), r.Index("version"), r.Index("release")
	var ids []int32
	var nvrs []string
	first := ""
	both, differ, err := h.commonRows(ctx, "build", func(f [][]byte) error {
		n, err := strconv.ParseInt(string(f[id]), 10, 32)
		ids = append(ids, int32(n))
		nvrs = append(nvrs, packages[string(f[pkg])]+"-"+string(f[version])+"-"+draftRE.ReplaceAllString(string(f[release]), ""))
		return err
	}, func() (both, differ int, err error) {
		var told string
		err = h.tx.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE b.nvr <> s.nvr), coalesce(min(b.id || ' is ' || b.nvr || ' here, ' || s.nvr || ' there') FILTER (WHERE b.nvr <> s.nvr), '')
			FROM unnest($1::integer[], $2::text[]) s(id, nvr)
			JOIN (SELECT b.id, p.name || '-' || b.version || '-' || regexp_replace(b.release, ',draft_[0-9]+$', '') AS nvr FROM build b JOIN package p ON p.id = b.pkg_id) b USING (id)`, ids, nvrs).Scan(&both, &differ, &told)
		if first == "" {
			first = told
		}
		ids, nvrs = ids[:0], nvrs[:0]
		return both, differ, err
	})
	switch {
	case err != nil:
		return fmt.Errorf("--hub-moved: compare builds: %w", err)
	case both == 0:
		return fmt.Errorf("--hub-moved: no build is in the snapshot and in the database, so that nothing proves them to be of the same production: %w; pull the tags that were loaded before", ErrOtherHub)
	case differ*100 > both:
		return fmt.Errorf("--hub-moved: of %d builds that the snapshot and the database have, %d are others (%s): %w", both, differ, first, ErrOtherHub)
	}
	h.verdict.Notes = append(h.verdict.Notes, fmt.Sprintf("production's hub is at %s now: %d events and %d builds are in the snapshot and in the database, and %d of those builds differ", secret.Hide(h.snap.Manifest.Hub), events, both, differ))
	return nil
}
