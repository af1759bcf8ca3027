package status

import (
	"context"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
)

// readHistory finds for each tag the event from which on its history is whole, with all that it inherits.
func (s *Status) readHistory(ctx context.Context, tx pgx.Tx) error {
	own := map[int64]int64{}
	for _, t := range s.Tags {
		own[t.ID] = t.Event
	}
	if s.Mark.Format >= book.HistoryFormat {
		rows, err := tx.Query(ctx, "SELECT tag_id, coalesce(history, event) FROM kojisnap.tag")
		if err != nil {
			return err
		}
		var tag, history int64
		if _, err := pgx.ForEachRow(rows, []any{&tag, &history}, func() error { own[tag] = history; return nil }); err != nil {
			return err
		}
	}
	links, err := s.readLinks(ctx, tx)
	if err != nil {
		return err
	}
	events := map[int64]int64{}
	for _, t := range s.Tags {
		events[t.ID] = t.Event
	}
	wholeHistory(own, events, links)
	for i := range s.Tags {
		t := &s.Tags[i]
		if t.History = own[t.ID]; !t.OutOfScope {
			s.History = max(s.History, t.History)
		}
	}
	return nil
}

// pastLink is a row of production's tag_inheritance, with production's ids.
type pastLink struct {
	child, parent, from int64
	until               int64 // 0: it still holds
}

// readLinks reads the inheritance of the tags that were loaded, without staging's own rows: those are in no
// view of a loaded event.
func (s *Status) readLinks(ctx context.Context, tx pgx.Tx) (links []pastLink, err error) {
	rows, err := tx.Query(ctx, `SELECT coalesce(c.prod_id, l.tag_id), coalesce(p.prod_id, l.parent_id), l.create_event, CASE WHEN l.revoke_event < $1 THEN l.revoke_event ELSE 0 END
		FROM tag_inheritance l LEFT JOIN kojisnap.idmap c ON c.relation = 'tag' AND c.staging_id = l.tag_id
			LEFT JOIN kojisnap.idmap p ON p.relation = 'tag' AND p.staging_id = l.parent_id
		WHERE l.create_event < $1 AND coalesce(c.prod_id, l.tag_id) IN (SELECT tag_id FROM kojisnap.tag)`, s.Mark.Floor)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l pastLink, err error) {
		err = row.Scan(&l.child, &l.parent, &l.from, &l.until)
		return l, err
	})
}

// wholeHistory raises the event from which on the rows of a tag are whole, if a parent's were not whole while
// the link held. whole has those events and is changed; events are those that the tags hold.
func wholeHistory(whole, events map[int64]int64, links []pastLink) {
	for changed := true; changed; {
		changed = false
		for _, l := range links {
			child, parent := whole[l.child], events[l.child] // of a tag that was never loaded nothing is
			if from, known := whole[l.parent]; known {
				parent = from
			}
			until := l.until
			if until == 0 || until > events[l.child] {
				until = events[l.child]
			}
			// While the link held, calls about the child want the parent.
			if end := min(parent, until); l.from < parent && end > child {
				whole[l.child], changed = end, true
			}
		}
	}
}
