package integration_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// state is all that kojisnap could have changed, as text: every row of the database, every
// sequence, every file of topdir and store.
func (w *env) state(t testing.TB) string {
	t.Helper()
	// What a pull that was cut off keeps to go on with is no snapshot, and the directory where a
	// writers keep their leases is no lease. What a sync remembers of itself is there, too.
	kept := regexp.MustCompile(`(?m)^/((pulls|environments|pulled)(/\S*)?|locks) .*\n`)
	return w.database(t, "") + w.files(t) + kept.ReplaceAllString(tree(t, w.store.String()), "")
}

// files is what is below topdir, but for what a sync remembers of itself.
func (w *env) files(t testing.TB) string {
	t.Helper()
	return regexp.MustCompile(`(?m)^/\.kojisnap/sync\.json .*\n`).ReplaceAllString(tree(t, w.topdir), "")
}

// database returns the rows of Koji's tables that where chooses (all if it is empty), and with
// all rows the sequences. Tables that a test dropped are passed over.
func (w *env) database(t testing.TB, where string) string {
	t.Helper()
	if w.dsn == "" {
		return ""
	}
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, w.dsn)
	must(t, err)
	defer conn.Close(ctx)
	// All in one message: the server prepares nothing, and is asked twice.
	ask := func(sql string) []*pgconn.Result {
		t.Helper()
		results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
		must(t, err)
		return results
	}
	there := map[string]bool{}
	for _, r := range ask("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')")[0].Rows {
		there[string(r[0])] = true
	}
	var tables []string
	var sql strings.Builder
	for _, table := range kojiprod.Tables() {
		if !there[table] {
			continue
		}
		tables = append(tables, table)
		fmt.Fprintf(&sql, "SELECT t::text FROM public.%s t", table)
		if where != "" {
			sql.WriteString(" WHERE " + where)
		}
		sql.WriteString(" ORDER BY 1;\n")
	}
	if where == "" {
		tables = append(tables, "sequence")
		sql.WriteString("SELECT sequencename || ' ' || coalesce(last_value, 0) FROM pg_sequences ORDER BY 1")
	}
	var out strings.Builder
	for i, r := range ask(sql.String()) {
		for _, row := range r.Rows {
			fmt.Fprintf(&out, "%s %s\n", tables[i], row[0])
		}
	}
	return out.String()
}

func tree(t testing.TB, root string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %s", strings.TrimPrefix(path, root), info.Mode())
		if info.Mode().IsRegular() {
			line += fmt.Sprintf(" %d %d", info.Size(), info.ModTime().UnixNano())
		}
		if target, err := os.Readlink(path); err == nil {
			line += " -> " + target
		}
		lines = append(lines, line)
		return nil
	})
	must(t, err)
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
