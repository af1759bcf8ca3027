package status

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
)

// CheckWhole returns *book.ImportingError if a full import fills the database.
func CheckWhole(ctx context.Context, conn *pgx.Conn) error {
	return dbconn.Read(ctx, conn, func(tx pgx.Tx) error { return book.CheckWhole(ctx, tx) })
}

// DecidedBuilds returns the builds of production's that staging has made its own since they were loaded, each
// with how, as far as Koji's tables tell: deleted, reset, built again or promoted.
func DecidedBuilds(ctx context.Context, conn *pgx.Conn) (builds map[int64]string, err error) {
	err = dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		if err := book.CheckWhole(ctx, tx); err != nil {
			return err
		}
		decided, err := ReadDecidedBuilds(ctx, tx)
		builds = HowDecided(decided)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("builds: %w", err)
	}
	return builds, nil
}

// CopiedBuilds returns how many builds the last load left on a volume.
func CopiedBuilds(ctx context.Context, conn *pgx.Conn, volume string) (n int, err error) {
	err = dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		if _, err := book.ReadMark(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT count(*) FROM kojisnap.placed_volume v JOIN volume w ON w.id = v.volume_id WHERE w.name = $1", volume).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("builds on volume %s: %w", volume, err)
	}
	return n, nil
}

// DecidedBuild is a build that staging made its own, or only moved to another volume.
type DecidedBuild struct {
	ID    int64
	How   string // empty: it was only moved
	Known bool   // a load has it on record, or it is a removed row, which no load records
}

// ReadDecidedBuilds compares all builds with what loads made of them. Koji has no record of the builds that
// changed.
func ReadDecidedBuilds(ctx context.Context, tx pgx.Tx) ([]DecidedBuild, error) {
	// A schema before 1.34 has no drafts; and only few builds were drafts, whose rows are looked up.
	const promoted = "(v.draft AND EXISTS (SELECT FROM build d WHERE d.id = v.build_id AND to_jsonb(d) -> 'draft' = 'false'))"
	rows, err := tx.Query(ctx, sqltext.Expand(`SELECT v.build_id, CASE
			WHEN b.id IS NULL THEN 'staging removed its row'
			WHEN b.create_event >= {floor} THEN 'staging built it again'
			WHEN b.state = 2 AND v.state <> 2 THEN 'staging deleted it'
			WHEN b.state <> v.state THEN 'staging reset it'
			WHEN {promoted} THEN 'staging promoted it'
			ELSE '' END, b.id IS NULL OR EXISTS (SELECT FROM kojisnap.kept k WHERE k.relation = 'build' AND k.key = 'id=' || v.build_id)
		FROM kojisnap.placed_volume v LEFT JOIN build b ON b.id = v.build_id
		WHERE b.id IS NULL OR b.state <> v.state OR b.create_event >= {floor} OR b.volume_id <> v.volume_id OR {promoted}`,
		"floor", "(SELECT floor FROM kojisnap.mark)", "promoted", promoted))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[DecidedBuild])
}

// HowDecided returns the builds that staging did more to than move them.
func HowDecided(decided []DecidedBuild) map[int64]string {
	builds := map[int64]string{}
	for _, d := range decided {
		if d.How != "" {
			builds[d.ID] = d.How
		}
	}
	return builds
}

// BuildVolumes returns the volumes of builds, by N-V-R: "" if the build is there but not complete. Builds that
// the database does not have are not in the result.
func BuildVolumes(ctx context.Context, conn *pgx.Conn, builds []kojidb.NVR) (map[string]string, error) {
	var n, v, r []string
	for _, b := range builds {
		n, v, r = append(n, b.Name), append(v, b.Version), append(r, b.Release)
	}
	volumes := map[string]string{}
	var nvr, volume string
	err := readRows(ctx, conn, []any{&nvr, &volume}, func() { volumes[nvr] = volume },
		`SELECT p.name || '-' || b.version || '-' || b.release, CASE WHEN b.state = 1 THEN w.name ELSE '' END
		FROM unnest($1::text[], $2::text[], $3::text[]) AS z (name, version, release) JOIN package p ON p.name = z.name
			JOIN build b ON b.pkg_id = p.id AND (b.version, b.release) = (z.version, z.release) JOIN volume w ON w.id = b.volume_id`, n, v, r)
	if err != nil {
		return nil, fmt.Errorf("volumes of builds: %w", err)
	}
	return volumes, nil
}

// CompleteBuilds returns those of the builds that are complete in the database.
func CompleteBuilds(ctx context.Context, conn *pgx.Conn, ids []int64) (map[int64]kojidb.NVR, error) {
	builds := map[int64]kojidb.NVR{}
	var id int64
	var b kojidb.NVR
	err := readRows(ctx, conn, []any{&id, &b.Name, &b.Version, &b.Release}, func() { builds[id] = b },
		`SELECT b.id, p.name, b.version, b.release FROM build b JOIN package p ON p.id = b.pkg_id WHERE b.state = 1 AND b.id = ANY($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("builds: %w", err)
	}
	return builds, nil
}

// ReadIDs returns staging's ids by production's, for each relation those that differ: of names that staging
// made first, and where another name had production's id.
func ReadIDs(ctx context.Context, conn *pgx.Conn) (map[string]map[int64]int64, error) {
	ids := map[string]map[int64]int64{}
	var name string
	var production, staging int64
	err := readRows(ctx, conn, []any{&name, &production, &staging}, func() {
		if ids[name] == nil {
			ids[name] = map[int64]int64{}
		}
		ids[name][production] = staging
	}, "SELECT relation, prod_id, staging_id FROM kojisnap.idmap WHERE staging_id <> prod_id")
	if err != nil {
		return nil, fmt.Errorf("ids: %w", err)
	}
	return ids, nil
}

// readRows scans the rows of a query into the variables, and calls each for every row.
func readRows(ctx context.Context, conn *pgx.Conn, into []any, each func(), sql string, args ...any) error {
	return dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, into, func() error { each(); return nil })
		return err
	})
}
