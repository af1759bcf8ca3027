package status

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// Decision is a subject of a versioned relation for which staging's own change hides production's row now.
type Decision struct {
	Relation string `json:"relation"`
	Subject  string `json:"subject"` // by names: "bash-5.2-1, tag f42"
	// Production and Staging are what each side has, by column, names in the place of ids, values as
	// PostgreSQL writes them; a relation may have no more columns than the subject. Staging is nil
	// where staging removed it, or where a row of another subject holds the place.
	Production map[string]*string `json:"production"`
	Staging    map[string]*string `json:"staging"`
	Since      int64              `json:"since"` // production's create_event
	// By, Event and Time are who made staging's change, and when.
	By    string    `json:"by"`
	Event int64     `json:"event"`
	Time  time.Time `json:"time"`
}

// String is a line for people.
func (d Decision) String() string {
	staging := "staging removed it"
	if d.Staging != nil {
		staging = strings.TrimSpace("staging has its own " + columnsText(d.Staging))
	}
	production := strings.TrimSpace("production has " + columnsText(d.Production))
	if len(d.Production) == 0 {
		production = "production has it"
	}
	return fmt.Sprintf("%s %s: %s since event %d, %s (%s, %s, event %d)", d.Relation, d.Subject, production, d.Since, staging,
		d.By, d.Time.UTC().Format("2006-01-02 15:04 MST"), d.Event)
}

// columnsText is "arches=x86_64 locked=f", in the order of names.
func columnsText(columns map[string]*string) string {
	var out []string
	for c, v := range columns {
		if v == nil {
			out = append(out, c+"=NULL")
		} else {
			out = append(out, c+"="+*v)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// readDecisions finds all rows of production's that staging's changes hide, in the order of the catalogue and
// of subjects. It reads Koji's versioned tables whole.
func readDecisions(ctx context.Context, tx pgx.Tx, mark *book.Mark) ([]Decision, error) {
	all := []Decision{} // for JSON
	for _, r := range relation.All() {
		if !r.Versioned {
			continue
		}
		there, err := kojidb.TableColumns(ctx, tx, r.Name)
		if err != nil {
			return nil, err
		}
		rows, err := tx.Query(ctx, sqltext.Expand(`SELECT {subject}, {production}::text, CASE WHEN o.create_event IS NOT NULL THEN {staging}::text END, t.create_event,
				coalesce((SELECT v.name FROM users v WHERE v.id = t.revoker_id), t.revoker_id::text), t.revoke_event, e.time
			FROM {t} t JOIN events e ON e.id = t.revoke_event LEFT JOIN {t} o ON {same} AND o.active AND o.create_event >= {floor}
			WHERE t.create_event < {floor} AND t.active IS NULL AND t.revoke_event >= {floor} ORDER BY 1, t.create_event`,
			"subject", kojidb.RefText(r, "t", kojidb.Subject(r)), "production", payload(r, "t", there), "staging", payload(r, "o", there), "t", sqltext.QuoteIdent(r.Name),
			"same", sqltext.Equal("o", "t", kojidb.Subject(r)), "floor", sqltext.Int(mark.Floor)))
		if err != nil {
			return nil, err
		}
		found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Decision, error) {
			d := Decision{Relation: r.Name}
			var production string
			var staging *string
			if err := row.Scan(&d.Subject, &production, &staging, &d.Since, &d.By, &d.Event, &d.Time); err != nil {
				return d, err
			}
			d.Time = d.Time.UTC()
			if err := json.Unmarshal([]byte(production), &d.Production); err != nil || staging == nil {
				return d, err
			}
			return d, json.Unmarshal([]byte(*staging), &d.Staging)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// payload is the expression for a JSON object of the columns besides the subject and the events.
func payload(r *relation.Relation, alias string, there []string) string {
	var parts []string
	for _, c := range r.Columns {
		if slices.Contains(kojidb.VersionColumns, c.Name) || slices.Contains(kojidb.Subject(r), c.Name) || !slices.Contains(there, c.Name) {
			continue
		}
		value := alias + "." + sqltext.QuoteIdent(c.Name) + "::text"
		switch {
		case c.Type == relation.Bool:
			value = sqltext.Expand("CASE WHEN {v} THEN 't' WHEN NOT {v} THEN 'f' END", "v", alias+"."+sqltext.QuoteIdent(c.Name))
		case c.Ref != "" && relation.Get(c.Ref).Named():
			value = sqltext.Expand("coalesce((SELECT n.name FROM {ref} n WHERE n.id = {v}), {v}::text)", "ref", sqltext.QuoteIdent(c.Ref), "v", alias+"."+sqltext.QuoteIdent(c.Name))
		}
		parts = append(parts, sqltext.QuoteLiteral(c.Name), value)
	}
	return "jsonb_build_object(" + sqltext.Join(parts) + ")"
}
