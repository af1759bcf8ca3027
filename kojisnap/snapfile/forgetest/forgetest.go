// Package forgetest makes snapshots whose rows no writer of ours would write, for tests.
package forgetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// Rewritten puts the rows of one relation of a snapshot, changed, and returns a manifest that names them.
func Rewritten(t testing.TB, snap *snapfile.Snapshot, name string, change func(lines []string) []string, put snapfile.PutFunc) snapfile.Manifest {
	t.Helper()
	ctx := context.Background()
	man := *snap.Manifest
	man.Relations = slices.Clone(man.Relations)
	at := slices.IndexFunc(man.Relations, func(r snapfile.Relation) bool { return r.Name == name })
	rows := snap.Rows(ctx, name)
	var lines []string
	for rows.Next() {
		lines = append(lines, string(rows.Line()))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	lines = change(lines)
	body := []byte(strings.Join(lines, ""))
	sum := sha256.Sum256(body)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := snapfile.Segment{SHA256: hex.EncodeToString(sum[:]), Rows: int64(len(lines)), Bytes: int64(len(body))}
	if err := put(ctx, s.Object(), bytes.NewReader(enc.EncodeAll(body, nil))); err != nil {
		t.Fatal(err)
	}
	man.Relations[at].Rows, man.Relations[at].Segments = s.Rows, []snapfile.Segment{s}
	return man
}

// Into puts such a snapshot into a store, as somebody does who can write it, and returns its id. It is
// later than the other.
func Into(t testing.TB, s store.Store, snap *snapfile.Snapshot, name string, change func(lines []string) []string) string {
	t.Helper()
	man := Rewritten(t, snap, name, change, s.Put)
	man.Created = man.Created.Add(time.Second)
	body, id, err := man.Encode()
	if err != nil {
		t.Fatal(err)
	}
	object, err := snapfile.ManifestObject(id)
	if err == nil {
		err = s.Put(context.Background(), object, bytes.NewReader(body))
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Set writes a field of a line.
func Set(name, line, column, value string) string {
	fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
	fields[relation.Get(name).Index(column)] = value
	return strings.Join(fields, "\t") + "\n"
}

// SetFirst is a change that writes a field of the first line.
func SetFirst(name, column, value string) func(lines []string) []string {
	return func(lines []string) []string {
		lines[0] = Set(name, lines[0], column, value)
		return lines
	}
}
