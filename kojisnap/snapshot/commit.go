package snapshot

import (
	"context"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Target is where a snapshot is written to.
type Target struct {
	// Put stores a segment, whole or not at all, and replaces an existing object: a segment that other
	// snapshots name may be damaged, and is repaired in this way.
	Put snapfile.PutFunc
	// PutManifest stores the manifest, whole or not at all. From then on the snapshot exists.
	PutManifest func(ctx context.Context, name string, body []byte) error
}

// Commit writes the segments and, last, the manifest. m describes the snapshot: hub, event, scope, maker.
// Commit adds relations, what is skipped, parent and totals. It returns the snapshot's id. If everything is
// as in the base, it writes nothing and returns the base's id with existing set. After an error there is no
// snapshot. The Builder cannot be used afterwards, whatever the outcome.
func (b *Builder) Commit(ctx context.Context, to Target, m *snapfile.Manifest) (id string, existing bool, err error) {
	have := b.inBase()
	put := func(ctx context.Context, name string, src io.ReadSeeker) error {
		if have[name] {
			return nil
		}
		return to.Put(ctx, name, src)
	}
	m.LeftOut = b.Skipped()
	all := b.relations
	bar := b.progress.Begin("write", int64(len(all)))
	defer bar.End()
	m.Relations = make([]snapfile.Relation, len(all))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // each compresses, which needs memory
	for i, rel := range all {
		g.Go(func() (err error) {
			m.Relations[i], err = b.finish(gctx, rel, put)
			bar.Add(1)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", false, err
	}
	if b.base != nil {
		m.Parent, m.Chain = b.base.ID, b.base.Manifest.Chain+1
	}
	if b.sameAsBase(m) {
		m.Totals = b.base.Manifest.Totals
		return b.base.ID, true, nil
	}
	body, id, err := m.Encode()
	if err != nil {
		return "", false, err
	}
	object, err := snapfile.ManifestObject(id)
	if err != nil {
		return "", false, err
	}
	return id, false, to.PutManifest(ctx, object, body)
}

// finish writes a relation as a continuation of the base, if there is one, with the kept rows and without the
// skipped ones.
func (b *Builder) finish(ctx context.Context, rel *relation.Relation, put snapfile.PutFunc) (snapfile.Relation, error) {
	t, keep, keepRevoked := b.tables[rel.Name], b.keeps(rel), b.keepsRevoked(rel)
	r := snapfile.Relation{Name: rel.Name, Columns: rel.ColumnNames(), Key: rel.Key}
	if b.cut != nil {
		dropped := func(row [][]byte) bool { _, dropped := b.cut.drops(rel, row); return dropped }
		t.view.Drop(dropped)
		t.revoked.Drop(dropped)
		without := func(keep func([][]byte) (bool, error)) func([][]byte) (bool, error) {
			return func(row [][]byte) (bool, error) {
				kept, err := keep(row)
				return kept && !dropped(row), err
			}
		}
		keep, keepRevoked = without(keep), without(keepRevoked)
	}
	var err error
	if b.base == nil {
		r.Segments, err = t.view.Finish(ctx, 0, put)
		for _, s := range r.Segments {
			r.Rows += s.Rows
		}
	} else {
		r.Segments, r.Rows, err = t.view.FinishOver(ctx, b.base, keep, put)
	}
	if err != nil {
		return r, err
	}
	if b.base == nil || !b.history || !rel.Versioned {
		r.Revoked, err = t.revoked.Finish(ctx, 0, put)
	} else {
		r.Revoked, err = t.revoked.FinishRevokedOver(ctx, b.base, keepRevoked, put)
	}
	return r, err
}

// inBase returns the objects of the base. The caller of SetBase has read them all and found them whole.
func (b *Builder) inBase() map[string]bool {
	objects := map[string]bool{}
	if b.base != nil {
		for _, r := range b.base.Manifest.Relations {
			segments := r.Segments
			if b.history && relation.Get(r.Name).Versioned {
				segments = slices.Concat(segments, r.Revoked)
			}
			for _, seg := range segments {
				objects[seg.Object()] = true
			}
		}
	}
	return objects
}

// sameAsBase reports whether the snapshot would be the base itself.
func (b *Builder) sameAsBase(m *snapfile.Manifest) bool {
	if b.base == nil || !b.base.Manifest.SameRows(m) {
		return false
	}
	if !b.history {
		return true
	}
	for i, r := range m.Relations { // the same as the base's, says SameRows
		if relation.Get(r.Name).Versioned && !slices.Equal(r.Revoked, b.base.Manifest.Relations[i].Revoked) {
			return false
		}
	}
	return slices.Equal(m.Scope.All, b.base.Manifest.Scope.All)
}
