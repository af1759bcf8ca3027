package sourcetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/snapfile"
)

// Hash fills rpm_checksum of a database as if its hub had hashed each signed copy.
func Hash(t testing.TB, dsn string) {
	t.Helper()
	dbtest.Exec(t, dsn, `DELETE FROM rpm_checksum; INSERT INTO rpm_checksum (rpm_id, sigkey, checksum, checksum_type)
		SELECT rpm_id, sigkey, encode(sha256(convert_to(rpm_id || ' ' || sigkey, 'UTF8')), 'hex'), 2 FROM rpmsigs`)
}

// Hashed fails the test unless a snapshot of a database after Hash has the checksum of each signature that it has, and
// no other.
func Hashed(t testing.TB, snap *snapfile.Snapshot) {
	t.Helper()
	var want []string
	for _, line := range Rows(t, snap, "rpmsigs", false) {
		f := strings.Split(line, "\t")
		want = append(want, fmt.Sprintf("%s\t%s\t%x\t2", f[0], f[1], sha256.Sum256([]byte(f[0]+" "+f[1]))))
	}
	if got := Rows(t, snap, "rpm_checksum", false); !slices.Equal(got, want) || len(got) == 0 {
		t.Errorf("%d checksums, want %d", len(got), len(want))
	}
}

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
