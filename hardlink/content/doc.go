// Package content compares a file with the database: its digest, its size and, for an rpm, its signature
// header.
package content
