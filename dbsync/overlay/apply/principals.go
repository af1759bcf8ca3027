package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/overlay"
	"kojisnap/dbsync/sqltext"
)

// principals gives users the principals that their entries name, then gives all users those of the rule for
// everyone.
func (o *planner) principals(ctx context.Context) error {
	list := o.over.Principals()
	if len(list)+len(o.over.Everyone.Principals) == 0 {
		return nil
	}
	held, err := holders(ctx, o.Tx, list)
	if err != nil {
		return err
	}
	rows := []fields{}
	for _, p := range list {
		if h, taken := held[p.Name]; taken && h.id != o.users[p.User] && !h.ours {
			o.faults = append(o.faults, p.Taken(h.name))
		}
		rows = append(rows, fields{"user_id": o.users[p.User], "krb_principal": p.Name, "entry": p.Entry})
	}
	body, err := json.Marshal(rows)
	if err != nil || len(o.faults) > 0 {
		return err
	}
	if _, err := o.Tx.Exec(ctx, "CREATE TEMP TABLE ks_principal (user_id integer, krb_principal text, entry text) ON COMMIT DROP"); err != nil {
		return err
	}
	if _, err := o.Tx.Exec(ctx, `INSERT INTO ks_principal SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS x(user_id integer, krb_principal text, entry text)`, string(body)); err != nil {
		return err
	}
	if err := o.everyone(ctx); err != nil {
		return err
	}
	c := o.Counts.Of("user_krb_principals")
	x := func(sql string) string {
		return sqltext.Expand(sql, "other", "k.krb_principal = p.krb_principal AND k.user_id <> p.user_id",
			"ours", "v.relation = 'user_krb_principals' AND v.key = jsonb_build_object('user_id', k.user_id, 'krb_principal', k.krb_principal)",
			"key", "jsonb_build_object('user_id', p.user_id, 'krb_principal', p.krb_principal)")
	}
	// A principal that an overlay gave to another user moves. Those that staging's admins gave are faults above.
	if err := o.tell(ctx, "remove", x(`WITH d AS (DELETE FROM user_krb_principals k USING ks_principal p, kojisnap.overlay v WHERE {other} AND {ours} RETURNING v.key)
		DELETE FROM kojisnap.overlay v USING d WHERE v.relation = 'user_krb_principals' AND v.key = d.key RETURNING v.entry`), &c.Deleted); err != nil {
		return err
	}
	kept, err := o.Tx.Query(ctx, x("DELETE FROM ks_principal p USING user_krb_principals k WHERE {other} RETURNING p.entry"))
	if err != nil {
		return err
	}
	others, err := pgx.CollectRows(kept, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(others) > 0 {
		o.Report.Notes = append(o.Report.Notes, fmt.Sprintf("overlay: %d principals for everyone are other users' in staging already, and stay so; one of them: %s", len(others), slices.Min(others)))
	}
	if _, err := o.Tx.Exec(ctx, x("INSERT INTO ks_desired_key SELECT 'user_krb_principals', {key} FROM ks_principal p")); err != nil {
		return err
	}
	return o.tell(ctx, "add", x(`WITH i AS (INSERT INTO user_krb_principals (user_id, krb_principal) SELECT user_id, krb_principal FROM ks_principal p
			WHERE NOT EXISTS (SELECT FROM user_krb_principals k WHERE k.krb_principal = p.krb_principal) RETURNING *)
		INSERT INTO kojisnap.overlay AS v (relation, key, entry) SELECT 'user_krb_principals', {key}, p.entry FROM ks_principal p JOIN i USING (user_id, krb_principal)
		ON CONFLICT (relation, key) DO UPDATE SET entry = v.entry RETURNING v.entry`), &c.Inserted)
}

// everyone adds the principals of production's users to ks_principal, except those that staging's admins gave
// to somebody.
func (o *planner) everyone(ctx context.Context) error {
	named := []string{}
	for _, u := range o.over.Users {
		if len(u.Principals) > 0 {
			named = append(named, u.All()...)
		}
	}
	_, err := o.Tx.Exec(ctx, sqltext.Expand(`INSERT INTO ks_principal
		SELECT DISTINCT ON (p.name) u.id, p.name, 'user ' || u.name || ': principal ' || p.name
		FROM users u CROSS JOIN LATERAL (SELECT replace(n, {placeholder}, u.name) AS name FROM unnest($1::text[]) AS n) p
		WHERE u.usertype = 0 AND u.status = 0 AND u.name <> ALL($2)
			AND (u.id < {floor} OR EXISTS (SELECT FROM kojisnap.idmap i WHERE i.relation = 'users' AND i.staging_id = u.id))
			AND length(p.name) <= {limit} AND NOT EXISTS (SELECT FROM ks_principal k WHERE k.krb_principal = p.name)
		ORDER BY p.name, u.id`, "placeholder", sqltext.QuoteLiteral(overlay.Placeholder), "floor", sqltext.Int(o.Mark.Floor), "limit", sqltext.Int(int64(overlay.MaxPrincipal))), o.over.Everyone.Principals, named)
	return err
}
