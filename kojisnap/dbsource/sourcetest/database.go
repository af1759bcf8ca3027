package sourcetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// Fill makes the rows of a database with Koji's schema those that a hub in memory has.
func Fill(t testing.TB, dsn string, m *hubtest.Memory) {
	t.Helper()
	conn := dbtest.Connect(t, dsn)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Without triggers the order of tables does not matter.
	if _, err := tx.Exec(t.Context(), fmt.Sprintf("SET LOCAL session_replication_role = replica; TRUNCATE %s", strings.Join(kojiprod.Tables(), ", "))); err != nil {
		t.Fatal(err)
	}
	for _, table := range kojiprod.Tables() {
		var text bytes.Buffer
		if err := m.WriteCopy(&text, table); err != nil {
			if text.Len() == 0 {
				continue // the memory has no such table
			}
			t.Fatal(err)
		}
		columns, _, _ := strings.Cut(text.String(), "\n")
		sql := fmt.Sprintf("COPY %s (%s) FROM STDIN WITH (HEADER)", table, strings.ReplaceAll(columns, "\t", ", "))
		if _, err := conn.PgConn().CopyFrom(t.Context(), &text, sql); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}
