// Package snapfile is the snapshot format: manifests, segments, and the merge of
// a relation's segments into its rows. FORMAT.md is normative.
//
// The package turns rows into bytes and back. Where the bytes live is its
// caller's business, who hands in functions that put and get named objects
// (those of package store fit); only sorting uses temporary files.
package snapfile
