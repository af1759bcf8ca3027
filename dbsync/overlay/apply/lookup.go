package apply

import (
	"context"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/overlay"
	"kojisnap/dbsync/sqltext"
)

// kojiUser is a row of users. made: an overlay made it.
type kojiUser struct {
	id               int32
	status, usertype int
	made             bool
}

// usersNamed returns the users that have one of the names.
func usersNamed(ctx context.Context, tx pgx.Tx, names []string) (map[string]kojiUser, error) {
	out := map[string]kojiUser{}
	rows, err := tx.Query(ctx, `SELECT name, id, status, usertype, EXISTS (SELECT FROM kojisnap.overlay_made d WHERE d.relation = 'users' AND d.id = t.id)
		FROM users t WHERE name = ANY($1)`, names)
	if err != nil {
		return nil, err
	}
	var name string
	var u kojiUser
	_, err = pgx.ForEachRow(rows, []any{&name, &u.id, &u.status, &u.usertype, &u.made}, func() error { out[name] = u; return nil })
	return out, err
}

// idsNamed returns the ids of the rows of a table that have one of the names.
func idsNamed(ctx context.Context, tx pgx.Tx, table string, names []string) (map[string]int32, error) {
	out := map[string]int32{}
	if len(names) == 0 {
		return out, nil
	}
	rows, err := tx.Query(ctx, "SELECT name, id FROM "+sqltext.QuoteIdent(table)+" WHERE name = ANY($1)", names)
	if err != nil {
		return nil, err
	}
	var name string
	var id int32
	_, err = pgx.ForEachRow(rows, []any{&name, &id}, func() error { out[name] = id; return nil })
	return out, err
}

type hostRow struct{ id, user int32 }

// hostsNamed returns the hosts that have one of the names.
func hostsNamed(ctx context.Context, tx pgx.Tx, names []string) (map[string]hostRow, error) {
	out := map[string]hostRow{}
	rows, err := tx.Query(ctx, "SELECT name, id, user_id FROM host WHERE name = ANY($1)", names)
	if err != nil {
		return nil, err
	}
	var name string
	var h hostRow
	_, err = pgx.ForEachRow(rows, []any{&name, &h.id, &h.user}, func() error { out[name] = h; return nil })
	return out, err
}

// holder is the user who has a principal.
type holder struct {
	id   int32
	name string
	ours bool // the overlay gave it
}

// holders returns who has which of the principals.
func holders(ctx context.Context, tx pgx.Tx, list []overlay.Principal) (map[string]holder, error) {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Name
	}
	rows, err := tx.Query(ctx, `SELECT k.krb_principal, k.user_id, u.name, EXISTS (SELECT FROM kojisnap.overlay v WHERE v.relation = 'user_krb_principals'
			AND v.key = jsonb_build_object('user_id', k.user_id, 'krb_principal', k.krb_principal))
		FROM user_krb_principals k JOIN users u ON u.id = k.user_id WHERE k.krb_principal = ANY($1)`, names)
	if err != nil {
		return nil, err
	}
	out := map[string]holder{}
	var name string
	var h holder
	_, err = pgx.ForEachRow(rows, []any{&name, &h.id, &h.name, &h.ours}, func() error { out[name] = h; return nil })
	return out, err
}
