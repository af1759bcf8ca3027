// Package snapfile is the snapshot format: manifests, segments, and the merge of
// a relation's segments into its rows. FORMAT.md is normative.
//
// The package turns rows into bytes and back. The caller decides where the bytes are kept: it passes
// functions that put and get named objects, such as those of package store. Only sorting uses temporary
// files.
package snapfile
