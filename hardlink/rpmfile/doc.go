// Package rpmfile reads the parts of an rpm that identify it: the lead, the signature header and the main
// header. Koji also stores the signature header in a separate file (.sig), from which it makes signed copies.
// The package knows nothing about the database.
package rpmfile
