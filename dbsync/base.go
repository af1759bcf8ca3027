package dbsync

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// baseline decides whether it is enough to look at what changed since the snapshot that the database holds.
//
// It reads kojisnap.load, kojisnap.tag and kojisnap.aside and, once the rows are staged, ks_tag_listing,
// ks_build and ks_scope_tag. It writes none.
type baseline struct{ *attempt }

// errNeedAllRows makes the load begin again and read all rows: the difference to the base is not enough to
// decide.
var errNeedAllRows = errors.New("all rows are needed")

// findBase opens the snapshot that the database holds, and sets Base if the difference to it is all that this
// load must look at. That is so if the last load brought that snapshot for each tag of the new scope that the
// database knows, if the tables still have the same columns, and if it is known which rows that snapshot
// lacks.
func (b *baseline) findBase(ctx context.Context) error {
	if b.opt.Base == nil || b.opt.Audit || b.metConstraint {
		return nil
	}
	var id, columns string
	var held bool
	var tags []int64
	err := b.Tx.QueryRow(ctx, `SELECT l.snapshot, l.columns, l.tags::bigint[], NOT EXISTS (SELECT FROM kojisnap.tag t WHERE t.tag_id = ANY($1) AND t.snapshot <> l.snapshot)
		FROM kojisnap.load l ORDER BY l.id DESC LIMIT 1`, b.scope()).Scan(&id, &columns, &tags, &held)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil || !held || columns != b.columns() {
		return err
	}
	base, err := b.opt.Base(ctx, id)
	// What was loaded of everything is either everything, as this load then is by its columns, or some tags of it.
	everything := err == nil && base.Manifest.Scope.Everything
	if err == nil && (len(base.Manifest.Scope.All) != len(tags) || everything) && !(everything && b.Snap.Manifest.Scope.Everything) {
		if b.opt.Narrow == nil {
			return nil
		}
		base, err = b.opt.Narrow(ctx, base, tags)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, new(*snapfile.DamagedError)):
		b.Report.Notes = append(b.Report.Notes, fmt.Sprintf("every row is compared, as what the database holds cannot be read: %v", err))
		return nil
	case err != nil:
		return fmt.Errorf("what the database holds: %w", err)
	}
	// The difference does not tell of what the base lacks; see missingRows.
	known := !slices.ContainsFunc(base.Manifest.LeftOut, func(l snapfile.LeftOut) bool { return l.Missing() && !exact(l) })
	if base.Manifest.Event <= b.Snap.Manifest.Event && base.Manifest.Hub == b.Snap.Manifest.Hub && known {
		b.Base, b.Report.Base = base, id
	}
	return nil
}

// columns returns a hash of the columns that this load writes, of which of them may be NULL, and of whether it is of
// everything. If the last load had another hash, it was of other rows, staging's tables or production's hub were upgraded, and rows must be compared again
// although production did not change them.
func (a *attempt) columns() string {
	h := sha256.New()
	if a.Snap.Manifest.Scope.Everything {
		fmt.Fprintln(h, "everything")
	}
	for _, r := range relation.All() {
		for _, name := range a.Given(r) {
			c, _ := a.Schema.Column(r.Name, name)
			fmt.Fprintln(h, r.Name, name, c.NotNull)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// checkChanges asks for all rows where rows may have to go that the base did not have either: a build comes
// back into the scope, is newly asked for by name, or was reset. These cases are rare.
func (b *baseline) checkChanges(ctx context.Context) error {
	if b.Base == nil {
		return nil
	}
	if asked, err := b.namedAnew(ctx); err != nil || asked {
		return cmp.Or(err, errNeedAllRows)
	}
	var back bool
	fresh := "true"
	if b.Snap.Manifest.Scope.Everything { // a build that was in no tag was there nevertheless, with all rows
		fresh = "EXISTS (SELECT FROM ks_build n WHERE n.id = s.build_id)"
	}
	err := b.Tx.QueryRow(ctx, b.ExpandSQL(relation.Get("tag_listing"), `SELECT EXISTS (SELECT FROM {s} s JOIN build b ON b.id = s.build_id AND b.id < {floor}
			WHERE s.tag_id IN (SELECT tag_id FROM ks_scope_tag) AND {fresh}
				AND NOT EXISTS (SELECT FROM kojisnap.aside a WHERE a.relation = {r} AND a.key[1] = s.create_event::text AND a.key[2] = s.build_id::text)
				AND NOT EXISTS (SELECT FROM {t} t WHERE t.build_id = s.build_id AND t.tag_id IN (SELECT tag_id FROM ks_scope_tag)
					AND t.create_event < {floor} AND (t.active OR t.revoke_event >= {floor})))
		OR EXISTS (SELECT FROM ks_build s JOIN kojisnap.placed_volume v ON v.build_id = s.id
			WHERE s.state IN (0, 3, 4) AND v.state NOT IN (0, 3, 4))`, "fresh", fresh)).Scan(&back)
	if err == nil && back {
		return errNeedAllRows
	}
	return err
}

// namedBuilds returns the ids of the builds that the snapshot was asked for by name. The snapshot has all of
// their rows, as for builds that are tagged in the scope. A build that is no longer asked for stays as it is,
// like one that left the scope.
func (a *attempt) namedBuilds() []int32 {
	ids := make([]int32, len(a.Snap.Manifest.Scope.Builds))
	for i, b := range a.Snap.Manifest.Scope.Builds {
		ids[i] = int32(b.ID)
	}
	return ids
}

// namedAnew reports whether the database has a build that this snapshot was asked for by name and the base was
// not. Its rows may be old, or only the part that an archive consists of.
func (b *baseline) namedAnew(ctx context.Context) (anew bool, err error) {
	ids := slices.DeleteFunc(b.namedBuilds(), func(id int32) bool { return b.Base.Manifest.NamedBuild(int64(id)) })
	if len(ids) == 0 {
		return false, nil
	}
	err = b.Tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM build WHERE id = ANY($1))", ids).Scan(&anew)
	return anew, err
}
