// Package hubtest is a Koji hub for tests and for the demo. It answers the
// anonymous read calls of a real hub from the rows of a Koji database: from
// files (Rows) or from PostgreSQL (PostgreSQL); of the latter it always shows the
// committed content. Package generate makes the rows of a hub as large as a
// distribution's, and changes rows at random as Koji would.
//
// It imitates what a client can see of Koji 1.35: values and their types, the
// order of rows and of struct members, event views, query options with their
// traps, faults, multicalls, HTTP statuses. A test sends each recorded request
// of a real hub (package kojiprod) and compares the answers.
//
// How it works: a Source gives a View, the tables at one moment (package kojidb).
// A method is a Go function that runs queries over the tables of its call's view
// (package query) and returns a value: nil, bool, int64, *big.Int, float64, string,
// or one of package python's. Package xmlrpc reads calls and writes replies. Below a
// method a fault travels as a panic and is recovered where the call was dispatched,
// as an exception does in Koji.
package hubtest
