// Package query runs SELECTs over the tables of kojidb as Koji's QueryProcessor writes them, with its query
// options and with PostgreSQL's rules for literals, NULL and order.
package query
