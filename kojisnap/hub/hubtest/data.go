package hubtest

import (
	"context"
	"io/fs"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
)

// These names let a test use the data behind a Server with one import.
type (
	// Source is where a Server's rows come from.
	Source = kojidb.Source
	// Memory is a database in memory.
	Memory = kojidb.Memory
	// Tx is a change of a Memory that is not complete yet.
	Tx = kojidb.Tx
	// Values is a row, or part of one, by column.
	Values = kojidb.Values
	// Database is a PostgreSQL database with Koji's tables.
	Database = kojidb.Database
	// Time is a timestamptz.
	Time = python.Time
	// Struct is an XML-RPC struct.
	Struct = python.Struct
	// Fault is an XML-RPC fault.
	Fault = python.Fault
)

// Rows reads every TABLE.tsv at the root of files: see kojidb.Rows.
func Rows(files fs.FS) (*Memory, error) { return kojidb.Rows(files) }

// PostgreSQL opens a database: see kojidb.PostgreSQL.
func PostgreSQL(ctx context.Context, dsn string) (*Database, error) {
	return kojidb.PostgreSQL(ctx, dsn)
}
