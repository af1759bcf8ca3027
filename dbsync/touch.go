package dbsync

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// touches notes the tags and builds that changed, and announces the tags to kojira and Pungi.
//
// It reads ks_RELATION, and fills ks_new_build, ks_touched_tag and ks_touched_build. At the end it makes of
// those ks_tag_to_touch, and rows of tag_updates and tag_inheritance.
type touches struct {
	*attempt
	oldBuilds bool // the snapshot has builds that were loaded before
}

// shownOfBuild are the columns of a build that the content of its tags depends on. Koji does not mark a tag as
// changed for others, such as the owner.
var shownOfBuild = []string{"pkg_id", "version", "release", "epoch", "draft", "state", "extra"}

// touchBuilds notes the builds that an update changes in a way that their tags show.
func (t *touches) touchBuilds(ctx context.Context, r *relation.Relation, set []string, where string) error {
	shown := slices.DeleteFunc(slices.Clone(set), func(c string) bool { return !slices.Contains(shownOfBuild, c) })
	_, err := t.ExecSQL(ctx, r, "INSERT INTO ks_touched_build SELECT t.id FROM {t} t JOIN {s} s ON {key} WHERE {differ} AND {where}",
		"differ", sqltext.Differ("t", "s", shown), "where", where)
	return err
}

// touchInserts notes the builds of earlier loads that are about to get new rows, of those that meet a
// condition.
func (t *touches) touchInserts(ctx context.Context, r *relation.Relation, where string) error {
	build := kojidb.BuildOf(r, "s")
	if build == "" || r.Name == "build" || !t.oldBuilds {
		return nil
	}
	_, err := t.ExecSQL(ctx, r, `INSERT INTO ks_touched_build SELECT DISTINCT x.id
		FROM (SELECT {build} AS id FROM {s} s WHERE NOT EXISTS (SELECT FROM {t} t WHERE {key}) AND {where}) x
		WHERE NOT EXISTS (SELECT FROM ks_new_build n WHERE n.id = x.id) AND x.id IS NOT NULL`, "build", build, "where", where)
	return err
}

// announce tells kojira and Pungi which tags changed: kojira by rows of tag_updates, Pungi's reuse check by
// rows of tag_inheritance. Such a row leads from the tag to itself, and is created and revoked at the load's
// event, so no view shows it. Pungi reads the history of tag_inheritance as it does that of tag_listing. Rows
// of tag_listing would not do: koji prune-signed-copies takes revocations before creations at one event, and
// would count the build of such a row as tagged.
func (t *touches) announce(ctx context.Context) error {
	if changed := (&book.LoadReport{Relations: t.Counts.Sorted()}).Changed(); !changed {
		return nil
	}
	event, err := t.StagingEvent(ctx)
	if err != nil {
		return err
	}
	if _, err := t.Tx.Exec(ctx, `
		INSERT INTO ks_touched_tag SELECT l.tag_id FROM tag_listing l JOIN ks_touched_build b ON b.id = l.build_id WHERE l.active;
		CREATE TEMP TABLE ks_tag_to_touch ON COMMIT DROP AS SELECT DISTINCT tag_id FROM ks_touched_tag`); err != nil {
		return fmt.Errorf("touch: %w", err)
	}
	if _, err := t.Tx.Exec(ctx, `INSERT INTO tag_updates (tag_id, update_event, updater_id, update_type)
		SELECT tag_id, $1, $2, 2 FROM ks_tag_to_touch ORDER BY tag_id`, event, t.Mark.User); err != nil {
		return fmt.Errorf("touch: %w", err)
	}
	if _, err := t.Tx.Exec(ctx, `INSERT INTO tag_inheritance (tag_id, parent_id, priority, create_event, revoke_event, creator_id, revoker_id, active)
		SELECT tag_id, tag_id, 0, $1, $1, $2, $2, NULL FROM ks_tag_to_touch`, event, t.Mark.User); err != nil {
		return fmt.Errorf("touch: %w", err)
	}
	rows, err := t.Tx.Query(ctx, "SELECT name FROM tag WHERE id IN (SELECT tag_id FROM ks_tag_to_touch) ORDER BY name")
	if err != nil {
		return err
	}
	t.Report.Touched, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return err
}

// findNew lists the builds that this load will insert, as they need not be noted one by one.
func (t *touches) findNew(ctx context.Context) error {
	r := relation.Get("build")
	if _, err := t.ExecSQL(ctx, r, `INSERT INTO ks_new_build SELECT id FROM {s} s WHERE NOT EXISTS (SELECT FROM {t} t WHERE {key})`); err != nil {
		return err
	}
	if t.Base != nil {
		t.oldBuilds = true
		return nil
	}
	return t.Tx.QueryRow(ctx, t.ExpandSQL(r, "SELECT (SELECT count(*) FROM {s}) > (SELECT count(*) FROM ks_new_build)")).Scan(&t.oldBuilds)
}
