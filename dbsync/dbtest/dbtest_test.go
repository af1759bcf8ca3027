package dbtest_test

import (
	"os"
	"testing"

	"kojisnap/dbsync/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

func TestDatabases(t *testing.T) {
	for name, want := range map[string]struct {
		dsn                                string
		tables, foreignKeys, builds, seeds int
	}{
		"fresh":      {dbtest.Fresh(t), 68, 183, 0, 76},
		"production": {dbtest.Production(t), 68, 183, 77, 77},
	} {
		conn := dbtest.Connect(t, want.dsn)
		var tables, foreignKeys, builds, seeds int
		err := conn.QueryRow(t.Context(), `SELECT
			(SELECT count(*) FROM pg_tables WHERE schemaname = 'public'),
			(SELECT count(*) FROM pg_constraint WHERE contype = 'f'),
			(SELECT count(*) FROM build), (SELECT count(*) FROM archivetypes)`).Scan(&tables, &foreignKeys, &builds, &seeds)
		if err != nil {
			t.Fatal(err)
		}
		if tables != want.tables || builds != want.builds || seeds != want.seeds || foreignKeys != want.foreignKeys {
			t.Errorf("%s: %d tables, %d foreign keys, %d builds, %d archive types", name, tables, foreignKeys, builds, seeds)
		}
	}
}
