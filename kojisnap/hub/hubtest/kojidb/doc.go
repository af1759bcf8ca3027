// Package kojidb is a Koji database that calls are answered from: in memory, from files of rows
// (Rows) or by columns (NewMemory with TableOfNamed), or from PostgreSQL. A Table never changes,
// so that a call sees one moment of the database.
package kojidb
