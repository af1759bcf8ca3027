package dbsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/snapfile"
)

// stageRevoked fills the temporary tables of revoked rows from this snapshot, and from those between the event
// that the database holds and this one, whether they were loaded or not. A snapshot has only the revocations
// since the one that it is based on.
func (st *stager) stageRevoked(ctx context.Context) error {
	held, between, err := st.openBetween(ctx)
	if err != nil {
		return err
	}
	for _, r := range relation.All() {
		if !hasRevoked(r) || len(st.Snap.Relation(r.Name).Revoked) == 0 || st.Imported != nil && !r.Versioned {
			continue // the builds of an import are as the snapshot has them
		}
		if err := st.stageOwnRevoked(ctx, r); err != nil {
			return err
		}
	}
	for _, s := range between {
		newer := held > 0 && s.Manifest.Event > held
		read, err := st.stageRevokedOf(ctx, s, newer)
		if err != nil {
			return err
		}
		if read && newer {
			st.bridges = append(st.bridges, s.Manifest)
		}
	}
	if err := st.checkRevoked(ctx); err != nil {
		return err
	}
	if err := st.stageReset(ctx); err != nil {
		return err
	}
	return st.stageReferred(ctx, between)
}

// openBetween returns the event that the database holds, 0 before the first load. It opens the snapshots of
// the same hub between that event and this snapshot, oldest first. It opens all of them if every row is
// compared, to correct what an earlier load had to guess. It also does so if the config of an external repo
// is to be revoked: the repo may come back into the scope later, and nothing would be known about the time
// between.
func (st *stager) openBetween(ctx context.Context) (held int64, out []*snapfile.Snapshot, err error) {
	err = st.Tx.QueryRow(ctx, "SELECT coalesce(min(event), 0) FROM kojisnap.tag WHERE tag_id = ANY($1)", st.scope()).Scan(&held)
	if err != nil || held == 0 || st.opt.Between == nil {
		return held, nil, err // nothing of a new scope can be revoked
	}
	// A snapshot of the very event that is held may tell of changes that leave no event.
	after, all := held-1, st.Base == nil
	if !all {
		if all, err = st.repoLeaves(ctx); err != nil {
			return held, nil, err
		}
	}
	if all {
		after = 0
	}
	if after >= st.Snap.Manifest.Event {
		return held, nil, nil
	}
	// Including this event: a snapshot of it may be the parent, as names change without an event.
	snaps, err := st.opt.Between(ctx, after, st.Snap.Manifest.Event+1)
	if err != nil {
		return held, nil, fmt.Errorf("the snapshots since event %d: %w", after, err)
	}
	for _, s := range snaps {
		h := s.Manifest.Hub
		if (snapfile.SameHub(h, st.Snap.Manifest.Hub) || st.movedFrom != "" && snapfile.SameHub(h, st.movedFrom)) && s.ID != st.Snap.ID && (st.Base == nil || s.ID != st.Base.ID) {
			out = append(out, s)
		}
	}
	if lacks := missingParent(st.Snap, out, held); lacks != "" {
		st.gap = fmt.Sprintf("snapshot %s, from which a later one goes on, is not in the store any more: what production revoked after event %d and no other snapshot tells of "+
			"is revoked at event %d here, by user %s; to put that right, kojisnap pull --since %d, then kojisnap load", lacks, held, st.Snap.Manifest.Event, book.User, held)
		st.Report.Notes = append(st.Report.Notes, st.gap)
	}
	if st.movedFrom != "" && held < st.Snap.Manifest.Event && !tellsRevoked(st.Snap) {
		st.gap = fmt.Sprintf("a first snapshot of %s does not tell what was revoked before it: what production revoked after event %d is revoked at event %d here, by user %s; "+
			"to put that right, kojisnap pull --since %d, then kojisnap load", secret.Hide(st.Snap.Manifest.Hub), held, st.Snap.Manifest.Event, book.User, held)
		st.Report.Notes = append(st.Report.Notes, st.gap)
	}
	return held, out, nil
}

// repoLeaves reports whether the config of an external repo of the scope is to be revoked.
func (st *stager) repoLeaves(ctx context.Context) (leaves bool, err error) {
	r := relation.Get("external_repo_config")
	err = st.Tx.QueryRow(ctx, st.ExpandSQL(r, `SELECT EXISTS (SELECT FROM {t} t
		JOIN (SELECT x.id, coalesce(i.staging_id, x.id) AS here FROM ks_external_repo x LEFT JOIN kojisnap.idmap i ON i.relation = 'external_repo' AND i.prod_id = x.id) x
			ON t.external_repo_id = x.here
		WHERE (t.active OR t.revoke_event >= {floor}) AND t.create_event < {floor}
			AND NOT EXISTS (SELECT FROM {s} s WHERE s.create_event = t.create_event AND s.external_repo_id = x.id))`)).Scan(&leaves)
	return leaves, err
}

// tellsRevoked reports whether a snapshot has rows that were revoked before it.
func tellsRevoked(s *snapfile.Snapshot) bool {
	return slices.ContainsFunc(s.Manifest.Relations, func(r snapfile.Relation) bool { return len(r.Revoked) > 0 })
}

// missingParent follows the parents of a snapshot back to the event that the database holds, and returns the
// first one that is not among the others. A snapshot without a parent has all revocations since the newest
// snapshot of its time.
func missingParent(snap *snapfile.Snapshot, others []*snapfile.Snapshot, held int64) string {
	for snap.Manifest.Parent != "" {
		if snap.Manifest.ParentEvent() <= held || tellsSince(snap.Manifest, held) {
			return ""
		}
		i := slices.IndexFunc(others, func(o *snapfile.Snapshot) bool { return o.ID == snap.Manifest.Parent })
		if i < 0 {
			return snap.Manifest.Parent
		}
		snap = others[i]
	}
	return ""
}

// tellsSince reports whether a snapshot has the history of all its tags since an event.
func tellsSince(m *snapfile.Manifest, event int64) bool {
	return !slices.ContainsFunc(m.Scope.All, func(t snapfile.Tag) bool { return m.HistoryFrom(t.ID) > event })
}

// stageOwnRevoked adds the revoked rows of this snapshot: those that the base lacks, and those that earlier
// loads deferred. All of them may go in, also rows of before the event that the database holds, as the
// snapshot may have more history.
func (st *stager) stageOwnRevoked(ctx context.Context, r *relation.Relation) error {
	var err error
	if st.Base != nil && st.Imported == nil && r.Versioned {
		changed := st.Snap.ChangedRevoked(ctx, st.Base, r.Name)
		defer changed.Close()
		_, err = st.copyIn(ctx, r, loadtx.Revoked(r), r.ColumnNames(), changed)
		if errors.As(err, new(*snapfile.DamagedError)) || errors.Is(err, fs.ErrNotExist) {
			return errNeedAllRows // it may be the base alone
		}
		if err == nil {
			err = st.stageRevokedDeferred(ctx, r)
		}
	} else {
		revoked := st.Snap.Revoked(ctx, r.Name)
		defer revoked.Close()
		_, err = st.copyIn(ctx, r, loadtx.Revoked(r), r.ColumnNames(), revoked)
	}
	if err == nil && st.Filled[loadtx.Revoked(r)] {
		_, err = st.ExecSQL(ctx, r, "UPDATE {revoked} SET ks_may_insert = true")
	}
	return err
}

// stageRevokedOf adds the revoked rows of another snapshot, and reports whether it could be read. If this
// snapshot tells all that the other does, only the revocations since the other's parent are needed: no other
// snapshot has the rows that a reset of a build has deleted since. A snapshot that cannot be read is passed
// over, with a note: revocations that only it knows get this load's event. newer says that the snapshot is
// newer than what the database holds, so that its rows may go in.
func (st *stager) stageRevokedOf(ctx context.Context, s *snapfile.Snapshot, newer bool) (read bool, err error) {
	read = true
	after := int64(0)
	if st.Snap.Manifest.TellsAll(s.Manifest) {
		after = s.Manifest.ParentEvent()
	}
	for _, r := range relation.All() {
		of := s.Relation(r.Name)
		if !hasRevoked(r) || of == nil || len(of.Revoked) == 0 {
			continue
		}
		var rows bytes.Buffer // mostly the revocations of one pull: few
		from := s.Revoked(ctx, r.Name)
		err := revokedAfter(r, from, after, &rows)
		from.Close()
		if errors.As(err, new(*snapfile.DamagedError)) || errors.Is(err, fs.ErrNotExist) {
			st.Report.Notes = append(st.Report.Notes, fmt.Sprintf("rows of %s that production revoked before event %d may get this load's event: %v", r.Name, s.Manifest.Event, err))
			read = false
			continue
		}
		if err != nil {
			return false, fmt.Errorf("read %s of snapshot %s: %w", r.Name, s.ID, err)
		}
		n, err := st.copyMore(ctx, r, loadtx.Revoked(r), &rows)
		if err != nil {
			return false, fmt.Errorf("read %s of snapshot %s: %w", r.Name, s.ID, err)
		}
		if n == 0 {
			continue
		}
		if _, err := st.ExecSQL(ctx, r, "UPDATE {revoked} SET ks_may_insert = {new} WHERE ks_may_insert IS NULL", "new", fmt.Sprint(newer)); err != nil {
			return false, err
		}
	}
	return read, nil
}

// revokedAfter writes the rows that were revoked after an event, all of them for event 0.
func revokedAfter(r *relation.Relation, from *snapfile.Rows, event int64, out *bytes.Buffer) error {
	if event == 0 || !r.Versioned {
		_, err := io.Copy(out, from)
		return err
	}
	var row [][]byte
	var err error
	at := r.Index("revoke_event")
	for from.Next() {
		if row, err = from.Fields(row); err != nil {
			return err
		}
		if revoked, err := strconv.ParseInt(string(row[at]), 10, 64); err != nil || revoked > event {
			out.Write(from.Line())
		}
	}
	return from.Err()
}

// checkRevoked refuses revoked rows that production cannot have had before E, as checkRanges does for those in
// the view, and leaves one row for each key: two snapshots may have the same.
func (st *stager) checkRevoked(ctx context.Context) error {
	for _, r := range relation.All() {
		if !r.Versioned || !st.Filled[loadtx.Revoked(r)] {
			continue
		}
		var low, high []string
		for _, c := range r.Columns {
			if c.Ref != "" {
				low, high = append(low, "l."+sqltext.QuoteIdent(c.Name)), append(high, "l."+sqltext.QuoteIdent(c.Name))
			}
		}
		var key string
		err := st.Tx.QueryRow(ctx, st.ExpandSQL(r, `SELECT {keytext} FROM {revoked} l WHERE (least({low}) >= 0 AND greatest({high}) < {floor}
				AND l.active IS NOT TRUE AND l.create_event < l.revoke_event AND l.revoke_event <= {E} AND l.revoker_id IS NOT NULL) IS NOT TRUE
			ORDER BY {keys} LIMIT 1`, "keytext", sqltext.KeyText("l", r.Key), "low", sqltext.Join(low), "high", sqltext.Join(high), "keys", sqltext.Columns("l", r.Key))).Scan(&key)
		if err == nil {
			return fmt.Errorf("the snapshot's revoked %s %s is no row that production revoked by event %d", r.Name, key, st.Snap.Manifest.Event)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if _, err := st.ExecSQL(ctx, r, `DELETE FROM {revoked} l USING {revoked} o WHERE {same} AND (o.ks_may_insert, l.ctid) > (l.ks_may_insert, o.ctid)`, "same", sqltext.Equal("l", "o", r.Key)); err != nil {
			return err
		}
	}
	return nil
}

// stageReferred adds the events and users that revoked rows name and that neither the database nor the
// temporary tables have, as each snapshot has only those that its own rows name. What no snapshot has stays
// missing.
func (st *stager) stageReferred(ctx context.Context, between []*snapfile.Snapshot) error {
	events, users := relation.Get("events"), relation.Get("users")
	var ofEvents, ofUsers []string
	for _, r := range relation.All() {
		if r.Versioned && st.Filled[loadtx.Revoked(r)] {
			// Of rows that may go in, and of rows that are there, as their revocation may have been guessed.
			const relevant = "SELECT s.{c} AS id FROM {revoked} s WHERE ks_may_insert OR EXISTS (SELECT FROM {t} t WHERE {key})"
			ofEvents = append(ofEvents, st.ExpandSQL(r, "SELECT create_event AS id FROM {revoked} WHERE ks_may_insert"), st.ExpandSQL(r, relevant, "c", "revoke_event"))
			ofUsers = append(ofUsers, st.ExpandSQL(r, relevant, "c", "revoker_id"))
			for _, c := range r.Columns {
				if c.Ref == "users" && c.Name != "revoker_id" {
					ofUsers = append(ofUsers, st.ExpandSQL(r, "SELECT {c} AS id FROM {revoked} WHERE ks_may_insert", "c", sqltext.QuoteIdent(c.Name)))
				}
			}
		}
	}
	if builds := relation.Get("build"); st.Filled[loadtx.Revoked(builds)] {
		for _, c := range builds.Columns {
			if c.Ref == "users" {
				ofUsers = append(ofUsers, st.ExpandSQL(builds, "SELECT s.{c} AS id FROM {revoked} s WHERE EXISTS (SELECT FROM {t} t WHERE {key})", "c", sqltext.QuoteIdent(c.Name)))
			}
		}
	}
	if len(ofUsers) == 0 {
		return nil
	}
	if _, err := st.stageMissing(ctx, events, ofEvents, between); err != nil {
		return err
	}
	added, err := st.stageMissing(ctx, users, ofUsers, between)
	if err != nil || len(added) == 0 {
		return err
	}
	// The name in an older snapshot may be another user's by now.
	_, err = st.Tx.Exec(ctx, `DELETE FROM ks_users s WHERE s.id = ANY($1) AND (EXISTS (SELECT FROM users u WHERE u.name = s.name)
		OR EXISTS (SELECT FROM ks_users o WHERE o.name = s.name AND o.id <> s.id))`, added)
	return err
}

// stageMissing adds rows of a relation from the newest snapshot that has them. of are queries for the ids. It
// returns the ids that were missing.
func (st *stager) stageMissing(ctx context.Context, r *relation.Relation, of []string, between []*snapfile.Snapshot) ([]int32, error) {
	if len(of) == 0 {
		return nil, nil
	}
	rows, err := st.Tx.Query(ctx, st.ExpandSQL(r, "SELECT l.id FROM ("+strings.Join(of, " UNION ")+`) l WHERE l.id IS NOT NULL AND NOT EXISTS (SELECT FROM {t} e WHERE e.id = l.id)
		AND NOT EXISTS (SELECT FROM {s} e WHERE e.id = l.id) AND NOT EXISTS (SELECT FROM kojisnap.idmap i WHERE i.relation = {r} AND i.prod_id = l.id)`))
	if err != nil {
		return nil, err
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	want := make(map[string]bool, len(missing))
	for _, id := range missing {
		want[fmt.Sprint(id)] = true
	}
	var found bytes.Buffer
	for i := len(between); i >= 0 && len(want) > 0; i-- {
		from := st.Snap
		if i < len(between) {
			from = between[i]
		}
		if err := takeRows(ctx, from, r, want, &found); err != nil && from == st.Snap {
			return nil, fmt.Errorf("read %s: %w", r.Name, err)
		}
	}
	_, err = st.copyMore(ctx, r, loadtx.Staged(r), &found)
	return missing, err
}

// takeRows writes the rows of a relation that have one of the ids to out, and removes those ids. It does so
// only after it has read all rows: until then none is verified.
func takeRows(ctx context.Context, from *snapfile.Snapshot, r *relation.Relation, ids map[string]bool, out *bytes.Buffer) error {
	rows := from.Rows(ctx, r.Name)
	defer rows.Close()
	var found bytes.Buffer
	var taken []string
	for rows.Next() {
		id, _, _ := bytes.Cut(rows.Line(), []byte("\t"))
		if ids[string(id)] {
			found.Write(rows.Line())
			taken = append(taken, string(id))
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range taken {
		delete(ids, id)
	}
	_, err := found.WriteTo(out)
	return err
}

// hasRevoked reports whether snapshots have rows of a relation that left the view: revoked ones of versioned
// relations, and builds that were reset or deleted.
func hasRevoked(r *relation.Relation) bool { return r.Versioned || r.Name == "build" }

// stageReset adds builds that production reset or deleted, and that are no longer in the view, to this
// snapshot's builds, so that they are treated like others that are not complete. A build that was made anew
// since has another create_event, and is not touched by that.
func (st *stager) stageReset(ctx context.Context) error {
	r := relation.Get("build")
	if !st.Filled[loadtx.Revoked(r)] {
		return nil
	}
	n, err := st.ExecSQL(ctx, r, `INSERT INTO {s} ({cols}) SELECT DISTINCT ON (l.id) {lcols} FROM {revoked} l JOIN {t} b ON b.id = l.id AND b.create_event = l.create_event
		WHERE l.id < {floor} AND l.state <> 1 AND l.pkg_id = b.pkg_id AND NOT EXISTS (SELECT FROM {s} s WHERE s.id = l.id) ORDER BY l.id, l.ctid DESC`,
		"cols", sqltext.Columns("", r.ColumnNames()), "lcols", sqltext.Columns("l", r.ColumnNames()))
	if err != nil {
		return fmt.Errorf("builds that were reset: %w", err)
	}
	st.Rows[r.Name] += n
	st.Filled[loadtx.Staged(r)] = st.Filled[loadtx.Staged(r)] || n > 0
	return nil
}
