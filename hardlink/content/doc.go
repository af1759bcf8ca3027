// Package content holds a file to what the database says of it, by its digest, its size and, of an
// rpm, its signature header.
package content
