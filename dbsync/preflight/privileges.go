package preflight

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/kojidb"
	"kojisnap/kojisnap/relation"
)

// privileges returns the privileges that a load needs on each table, as in scripts/grants.sql.
func privileges(p Options) map[string]string {
	need := map[string]string{"tag_updates": "SELECT,INSERT,UPDATE", "buildroot_listing": "SELECT", "buildroot_archives": "SELECT", "rpm_checksum": "SELECT,DELETE"}
	for _, r := range relation.All() {
		need[r.Name] = "SELECT,INSERT,UPDATE"
		// Rows that production deletes: those below a build that is reset, and signatures.
		if r.Name != "build" && kojidb.BuildOf(r, "t") != "" {
			need[r.Name] += ",DELETE"
		}
	}
	if p.Overlay {
		for _, t := range []string{"host", "host_config", "host_channels", "user_perms", "user_groups", "cg_users"} {
			need[t] = "SELECT,INSERT,UPDATE"
		}
		need["user_krb_principals"] = "SELECT,INSERT,UPDATE,DELETE"
	}
	if p.Replace {
		for _, t := range []string{"build", "tag_listing", "build_reservations", "buildroot_listing", "buildroot_archives"} {
			need[t] = strings.TrimPrefix(need[t]+",DELETE", ",")
		}
	}
	return need
}

// checkPrivileges refuses a role that lacks some of them. The privilege on one column of a table is enough.
func checkPrivileges(ctx context.Context, tx pgx.Tx, s *kojidb.Schema, p Options) error {
	var tables, kinds []string
	for t, need := range privileges(p) {
		if _, ok := s.Tables[t]; !ok {
			continue // a schema without it needs no privilege on it
		}
		for kind := range strings.SplitSeq(need, ",") {
			tables, kinds = append(tables, t), append(kinds, kind)
		}
	}
	rows, err := tx.Query(ctx, `
		SELECT string_agg(kind, ', ' ORDER BY kind) || ' on ' || name FROM (
			SELECT z.name, z.kind, c.oid FROM unnest($1::text[], $2::text[]) z (name, kind)
				JOIN pg_class c ON c.relname = z.name JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $3
			UNION ALL SELECT 'kojisnap.' || c.relname, k.kind, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
				CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) k (kind) WHERE n.nspname = 'kojisnap' AND c.relkind = 'r') z
		WHERE NOT CASE kind WHEN 'DELETE' THEN has_table_privilege(oid, kind) ELSE has_any_column_privilege(oid, kind) END
		GROUP BY name ORDER BY name`, tables, kinds, s.Namespace)
	if err != nil {
		return err
	}
	lacks, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(lacks) == 0 {
		return err
	}
	const shown = 5
	more := ""
	if n := len(lacks) - shown; n > 0 {
		lacks, more = lacks[:shown], fmt.Sprintf(" and of %d more tables", n)
	}
	var role string
	if err := tx.QueryRow(ctx, "SELECT current_user").Scan(&role); err != nil {
		return err
	}
	return fmt.Errorf("role %q lacks %s%s: scripts/grants.sql has what it needs, after each update of kojisnap or of Koji's schema", role, strings.Join(lacks, "; "), more)
}
