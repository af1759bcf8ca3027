/*
Package snapshot builds snapshots out of rows, wherever the rows come from.

A Builder takes rows as COPY fields (Add), notes what each refers to, so that a source knows what to
read next (Wanted), and what the source could not give (Skip). It may go on from an earlier snapshot,
its base, and keep rows of that (SetBase). When all rows are there CloseReferences makes sure that the snapshot
restores alone: there is a row for everything that a row refers to, or what refers to it is skipped as
well. Commit writes the segments and, last, the manifest: before that there is no snapshot.
*/
package snapshot

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Builder collects the rows of one snapshot. Methods may be called concurrently, except for SetBase,
// Fill, CloseReferences, Commit and Discard.
type Builder struct {
	progress  progress.Progress
	unseen    string
	relations []*relation.Relation // that the snapshot gets
	tables    map[string]*table
	skipped   skipped
	sought    map[string]bool // notes of skipped rows that Fill has looked for

	base    *snapfile.Snapshot
	keeper  Keeper // nil: no row of base is kept
	history bool   // revoked rows of base are kept, too
	cut     *cut   // nil: no row is skipped because of what it refers to
}

// Keeper says which rows of a base a snapshot keeps. The functions that it returns must say the same about a
// row each time. A row is valid only during the call. An added row replaces a kept row with the same key.
type Keeper interface {
	Keeps(rel *relation.Relation) func(row [][]byte) (bool, error)
	KeepsRevoked(rel *relation.Relation) func(row [][]byte) (bool, error)
}

// Options of a Builder. The zero value works.
type Options struct {
	// TempDir is where temporary files for sorting are made, which vanish with the process. Empty: the
	// system's directory.
	TempDir string
	// Unseen is the reason, for people, why a row may be missing that others refer to.
	Unseen   string
	Progress progress.Progress // for Commit; may be nil
	// Optional are the optional relations that the source has. A snapshot lacks the others.
	Optional []string
}

// New returns a Builder without rows.
func New(o Options) *Builder {
	b := &Builder{progress: progress.OrDiscard(o.Progress), unseen: o.Unseen, tables: map[string]*table{}, sought: map[string]bool{}}
	if b.unseen == "" {
		b.unseen = "other rows refer to it, and it is not there"
	}
	b.relations = slices.Clone(relation.All())
	for _, rel := range relation.Optional() {
		if slices.Contains(o.Optional, rel.Name) {
			b.relations = append(b.relations, rel)
		}
	}
	for _, rel := range b.relations {
		b.tables[rel.Name] = newTable(rel, o.TempDir)
	}
	return b
}

// SetBase sets the snapshot that this one continues: it becomes the parent, and unchanged segments are not
// written again. keeper says which of its rows are kept; nil: none. With history, revoked rows of the base
// are kept, too, as keeper says. Call it once, before adding rows.
func (b *Builder) SetBase(base *snapfile.Snapshot, keeper Keeper, history bool) {
	b.base, b.keeper, b.history = base, keeper, history
}

// Discard drops the rows and their temporary files. It has no effect after Commit.
func (b *Builder) Discard() {
	for _, t := range b.tables {
		t.view.Close()
		t.revoked.Close()
	}
}

// Add adds a row to the view of a relation, and notes what it refers to. It removes credentials from its
// URLs, in place, and returns the notes about that, which Skipped has, too. The caller may reuse the row. Of
// rows with the same key, the last one counts.
func (b *Builder) Add(name string, row [][]byte) ([]snapfile.LeftOut, error) {
	return b.add(name, row, false)
}

// AddRevoked is Add for a row that was revoked by E. The snapshot has such rows beside the view.
func (b *Builder) AddRevoked(name string, row [][]byte) ([]snapfile.LeftOut, error) {
	return b.add(name, row, true)
}

func (b *Builder) add(name string, row [][]byte, revoked bool) ([]snapfile.LeftOut, error) {
	t := b.tables[name]
	if t == nil {
		return nil, fmt.Errorf("no relation %q", name)
	}
	if err := b.ReferFrom(t.rel, row); err != nil {
		return nil, err
	}
	notes := strip(t.rel, row)
	for _, x := range notes {
		b.Skip(x)
	}
	return notes, t.add(row, revoked)
}

// Refer notes that something refers to the row with an id.
func (b *Builder) Refer(name string, id int64) { b.tables[name].refer(id) }

// ReferFrom notes what a row refers to that is kept from the base and so is not added.
func (b *Builder) ReferFrom(rel *relation.Relation, row [][]byte) error {
	for i := range rel.Columns {
		ref := rel.Columns[i].Ref
		if ref == "" || row[i] == nil {
			continue
		}
		id, err := idset.Parse(row[i])
		if err != nil {
			return fmt.Errorf("%s.%s: %w", rel.Name, rel.Columns[i].Name, err)
		}
		b.tables[ref].refer(id)
	}
	return nil
}

// Has reports whether a row with an id was added to the view.
func (b *Builder) Has(name string, id int64) bool {
	t := b.tables[name]
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.have.Has(id)
}

// Refers reports whether a row refers to an id of a relation.
func (b *Builder) Refers(name string, id int64) bool {
	t := b.tables[name]
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.want.Has(id)
}

// Referred returns the ids of a relation that rows refer to.
func (b *Builder) Referred(name string) *idset.Set {
	t := b.tables[name]
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.want.Clone()
}

// Wanted returns the ids of a relation that rows refer to and that have no row yet, ascending.
func (b *Builder) Wanted(name string) []int64 {
	t := b.tables[name]
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.want.Without(&t.have, &t.kept)
}

// Added returns the ids of the rows that were added to a view.
func (b *Builder) Added(name string) *idset.Set {
	t := b.tables[name]
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.have.Clone()
}

// keeps returns the function that says which rows of the base are kept.
func (b *Builder) keeps(rel *relation.Relation) func(row [][]byte) (bool, error) {
	if b.keeper == nil {
		return keepNone
	}
	return b.keeper.Keeps(rel)
}

func (b *Builder) keepsRevoked(rel *relation.Relation) func(row [][]byte) (bool, error) {
	if b.keeper == nil {
		return keepNone
	}
	return b.keeper.KeepsRevoked(rel)
}

func keepNone([][]byte) (bool, error) { return false, nil }

// eachKept calls fn for the kept rows of the base.
func (b *Builder) eachKept(ctx context.Context, rel *relation.Relation, fn func(row [][]byte) error) error {
	if b.keeper == nil {
		return nil
	}
	keep := b.keeper.Keeps(rel)
	return EachRow(ctx, b.base, rel, func(row [][]byte) error {
		kept, err := keep(row)
		if err != nil || !kept {
			return err
		}
		return fn(row)
	})
}

// table collects the rows of one relation, and the ids that other rows refer to in it.
type table struct {
	rel *relation.Relation

	mu      sync.Mutex
	view    *snapfile.Writer
	revoked *snapfile.Writer
	seen    int64     // rows added
	have    idset.Set // ids of rows added to the view, of relations with an id
	kept    idset.Set // ids of rows that are kept from the base
	want    idset.Set // ids referred to
}

func newTable(rel *relation.Relation, tempDir string) *table {
	return &table{rel: rel, view: snapfile.NewWriter(rel, tempDir), revoked: snapfile.NewWriter(rel, tempDir)}
}

func (t *table) refer(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.want.Add(id)
}

func (t *table) add(row [][]byte, revoked bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.view
	if revoked {
		w = t.revoked
	}
	if err := w.Add(row); err != nil {
		return err
	}
	t.seen++
	if t.rel.Key[0] == "id" && !revoked {
		id, err := idset.Parse(row[0])
		if err != nil {
			return fmt.Errorf("%s.id: %w", t.rel.Name, err)
		}
		t.have.Add(id)
	}
	return nil
}
