package status

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Hidden is a package where production tagged a build after staging did, in the same tag. On one hub
// production's would be the latest. Here staging's is the latest for good, as its events have higher numbers.
type Hidden struct {
	Tag        string    `json:"tag"`
	Package    string    `json:"package"`
	Staging    string    `json:"staging"` // the build that staging tagged
	Since      time.Time `json:"since"`
	Production string    `json:"production"` // the build that it hides
	Tagged     time.Time `json:"tagged"`
}

// readHidden compares staging's latest tagging of a package in a tag with production's, by the times of their
// events. Koji itself compares the numbers of events, then those of builds.
func (s *Status) readHidden(ctx context.Context, tx pgx.Tx) error {
	name := func(alias string) string {
		return "p.name || '-' || " + alias + ".version || '-' || " + alias + ".release"
	}
	// The primary key of tag_listing begins with create_event: what staging tagged is found at once.
	rows, err := tx.Query(ctx, `
		WITH own AS (SELECT DISTINCT ON (l.tag_id, b.pkg_id) l.tag_id, b.pkg_id, b.version, b.release, e.time
			FROM tag_listing l JOIN build b ON b.id = l.build_id JOIN events e ON e.id = l.create_event
			WHERE l.create_event >= $1 AND l.active AND b.state = 1
			ORDER BY l.tag_id, b.pkg_id, l.create_event DESC, b.id DESC)
		SELECT t.name, p.name, `+name("own")+`, own.time, `+name("prod")+`, prod.time
		FROM own JOIN tag t ON t.id = own.tag_id JOIN package p ON p.id = own.pkg_id CROSS JOIN LATERAL (
			SELECT b.version, b.release, e.time FROM tag_listing l JOIN build b ON b.id = l.build_id JOIN events e ON e.id = l.create_event
			WHERE l.tag_id = own.tag_id AND b.pkg_id = own.pkg_id AND l.create_event < $1 AND l.active AND b.state = 1
			ORDER BY l.create_event DESC, b.id DESC LIMIT 1) prod
		WHERE prod.time > own.time ORDER BY t.name, p.name`, s.Mark.Floor)
	if err != nil {
		return err
	}
	s.Hidden, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h Hidden, err error) {
		err = row.Scan(&h.Tag, &h.Package, &h.Staging, &h.Since, &h.Production, &h.Tagged)
		h.Since, h.Tagged = h.Since.UTC(), h.Tagged.UTC()
		return h, err
	})
	return err
}
