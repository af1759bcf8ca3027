package dbsync

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// volumes gives builds the volume where their files are.
//
// It reads ks_build and ks_volume, and writes the column volume_id of ks_build and of Koji's builds, the volumes
// that staging lacks, kojisnap.placed_volume, ks_copied_build, ks_volume_map, ks_kept and ks_touched_build.
type volumes struct {
	*attempt
	out *exclusions
}

// chooseVolumes decides on which volume the snapshot's builds go in if they are new.
func (vo *volumes) chooseVolumes(ctx context.Context) error {
	if _, err := vo.Tx.Exec(ctx, `UPDATE ks_build s SET ks_production = v.name FROM ks_volume v WHERE v.id = s.volume_id`); err != nil {
		return err
	}
	if err := vo.out.leaveOut(ctx, relation.Get("build"), leaveOutRule{where: "s.ks_production IS NULL", bad: true,
		reason: "'it stands on volume ' || s.volume_id || ', which the snapshot does not have'"}); err != nil {
		return err
	}
	if err := vo.mapVolumes(ctx, "SELECT DISTINCT ks_production FROM ks_build WHERE state = 1"); err != nil {
		return err
	}
	copied, err := vo.copyVolume(ctx)
	if err != nil {
		return err
	}
	_, err = vo.Tx.Exec(ctx, sqltext.Expand(`UPDATE ks_build s SET volume_id = CASE
			WHEN state <> 1 THEN 0
			WHEN EXISTS (SELECT FROM ks_copied_build z JOIN package p ON p.name = z.name WHERE p.id = s.pkg_id AND (z.version, z.release) = (s.version, s.release)) THEN {copied}
			ELSE (SELECT k.id FROM ks_volume_map k WHERE k.production = s.ks_production) END`, "copied", sqltext.Int(copied)))
	return err
}

// mapVolumes fills ks_volume_map for the names of production's volumes that a query gives. It inserts
// staging's volumes by SQL, as Koji's addVolume would write on the volume.
func (vo *volumes) mapVolumes(ctx context.Context, query string, args ...any) error {
	rows, err := vo.Tx.Query(ctx, query+" EXCEPT SELECT production FROM ks_volume_map ORDER BY 1", args...)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, production := range names {
		id, err := vo.volume(ctx, vo.opt.VolumeFor(production))
		if err != nil {
			return fmt.Errorf("volume for production's %q: %w", production, err)
		}
		if _, err := vo.Tx.Exec(ctx, "INSERT INTO ks_volume_map VALUES ($1, $2)", production, id); err != nil {
			return err
		}
	}
	return nil
}

// volume returns the id of one of staging's volumes, and inserts it if it is not there.
func (vo *volumes) volume(ctx context.Context, name string) (id int32, err error) {
	err = vo.Tx.QueryRow(ctx, "SELECT id FROM volume WHERE name = $1", name).Scan(&id)
	if !errors.Is(err, pgx.ErrNoRows) {
		return id, err
	}
	vo.Counts.Of("volume").Inserted++
	err = vo.Tx.QueryRow(ctx, "INSERT INTO volume (name) VALUES ($1) RETURNING id", name).Scan(&id)
	return id, err
}

// copyVolume fills ks_copied_build, and returns the id of the volume of copied builds; -1 if there is none and
// none is needed.
func (vo *volumes) copyVolume(ctx context.Context) (int64, error) {
	if len(vo.opt.Staged) == 0 {
		id := int64(-1)
		err := vo.Tx.QueryRow(ctx, "SELECT id FROM volume WHERE name = $1", vo.opt.CopyVolume).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
		return id, err
	}
	var n, v, r []string
	for _, b := range vo.opt.Staged {
		n, v, r = append(n, b.Name), append(v, b.Version), append(r, b.Release)
	}
	if _, err := vo.Tx.Exec(ctx, `DELETE FROM ks_copied_build`); err != nil {
		return 0, err
	}
	if _, err := vo.Tx.Exec(ctx, `INSERT INTO ks_copied_build SELECT DISTINCT * FROM unnest($1::text[], $2::text[], $3::text[])`, n, v, r); err != nil {
		return 0, err
	}
	id, err := vo.volume(ctx, vo.opt.CopyVolume)
	return int64(id), err
}

// repoint moves production's builds to the volumes where their files are: complete builds to the read-only
// volume or, if copied, to the copy volume; others to DEFAULT. A build that is on another volume than a load
// gave it was moved by staging, and stays there.
func (vo *volumes) repoint(ctx context.Context) error {
	if err := vo.mapVolumes(ctx, "SELECT DISTINCT production FROM kojisnap.placed_volume WHERE state = 1"); err != nil {
		return err
	}
	copied, err := vo.copyVolume(ctx)
	if err != nil {
		return err
	}
	stays := "false"
	if vo.opt.Staged == nil {
		stays = "v.volume_id = " + sqltext.Int(copied)
	}
	tag, err := vo.Tx.Exec(ctx, sqltext.Expand(`
		WITH w AS (
			SELECT b.id, CASE WHEN b.state <> 1 THEN 0 WHEN z.name IS NOT NULL OR {stays} THEN {copied} ELSE k.id END AS want
			FROM build b JOIN kojisnap.placed_volume v ON v.build_id = b.id JOIN package p ON p.id = b.pkg_id
				LEFT JOIN ks_volume_map k ON k.production = v.production
				LEFT JOIN ks_copied_build z ON (z.name, z.version, z.release) = (p.name, b.version, b.release)
			WHERE b.volume_id = v.volume_id AND b.state = v.state AND b.create_event < {floor}),
		u AS (UPDATE build b SET volume_id = w.want FROM w WHERE w.id = b.id AND w.want <> b.volume_id RETURNING b.id, b.volume_id),
		v AS (UPDATE kojisnap.placed_volume v SET volume_id = u.volume_id FROM u WHERE u.id = v.build_id)
		INSERT INTO ks_touched_build SELECT id FROM u`,
		"stays", stays, "copied", sqltext.Int(copied), "floor", sqltext.Int(vo.Mark.Floor)))
	if err != nil {
		return fmt.Errorf("repoint: %w", err)
	}
	vo.Counts.Of("build").Updated += tag.RowsAffected()
	if vo.Report.Skipped {
		return nil // all of them are on record already
	}
	_, err = vo.Tx.Exec(ctx, `INSERT INTO ks_kept SELECT 'build', 'id=' || b.id, 'staging moved it to volume ' || quote_literal(w.name)
		FROM build b JOIN kojisnap.placed_volume v ON v.build_id = b.id JOIN volume w ON w.id = b.volume_id WHERE b.volume_id <> v.volume_id`)
	return err
}
