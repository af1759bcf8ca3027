// Package kojidb is the Koji database that a hub answers from: in memory, from files with rows (Rows) or by
// columns (NewMemory with TableOfNamed), or in PostgreSQL. A Table never changes, so each call sees one
// moment of the database.
package kojidb
