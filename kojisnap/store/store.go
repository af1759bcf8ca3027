// Package store is the contract of the places where snapshots live.
//
// A store maps names to immutable objects. Names are slash-separated, of lower
// case letters, digits, '-', '_' and '.'. Every implementation passes the
// suite of package storetest.
package store

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Store keeps objects. Its methods may be called concurrently. An object that is
// not there is reported as fs.ErrNotExist by Get.
type Store interface {
	// Put writes an object whole or not at all, replacing an earlier one. It is durable when
	// Put returns nil. src is read from its current position and may be read again from there.
	// If there is no room, the error is syscall.ENOSPC or, for a quota of files, syscall.EDQUOT.
	Put(ctx context.Context, name string, src io.ReadSeeker) error

	// Get opens an object; the caller closes it.
	Get(ctx context.Context, name string) (io.ReadCloser, error)

	// List returns the objects whose name begins with prefix, sorted by name.
	List(ctx context.Context, prefix string) ([]Entry, error)

	// Delete removes an object. One that is not there is no error.
	Delete(ctx context.Context, name string) error

	// String names the store for people, without credentials.
	String() string
}

// Creator is a Store that can write an object only if none has its name. Of several concurrent
// writers one succeeds. The others, and all later ones, get fs.ErrExist, and the object stays as it
// is. Otherwise Create is like Put.
type Creator interface {
	Create(ctx context.Context, name string, src io.ReadSeeker) error
}

// Cleaner is a Store in which a killed writer leaves data that takes room, but that no listing shows:
// half an object under a temporary name, or an upload with only some of its parts.
type Cleaner interface {
	// Clean finds such remains of objects whose name begins with prefix, if no writer has added to
	// them since before, by the store's clock. It removes them if remove is set, and returns their
	// descriptions, sorted. If a live writer started earlier than before, Clean may remove its work,
	// and its Put fails.
	Clean(ctx context.Context, prefix string, before time.Time, remove bool) ([]string, error)
}

// Entry is one object of a listing.
type Entry struct {
	Name    string
	Size    int64
	ModTime time.Time // by the store's clock
}

var nameRE = regexp.MustCompile(`^[a-z0-9_][a-z0-9._-]*(/[a-z0-9_][a-z0-9._-]*)*$`)

// CheckName refuses names that are not in the contract: every implementation calls it, so
// that a name from a damaged manifest cannot leave the store.
func CheckName(name string) error {
	if len(name) > 200 || !nameRE.MatchString(name) || strings.Contains(name, "..") {
		return fmt.Errorf("store: %q is not an object's name", name)
	}
	return nil
}

// Sort orders entries by name, as List promises them.
func Sort(entries []Entry) []Entry {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}
