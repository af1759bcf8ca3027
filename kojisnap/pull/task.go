package pull

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/convert"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/tagged"
)

// task is a part of a pull's work. What it adds goes to the Builder and, if the pull can be resumed, to a
// batch of a stage of the journal. Its methods may be called concurrently.
type task struct {
	*run
	stage *checkpoint.Stage // nil: nothing is kept of the stage
	batch *checkpoint.Batch // nil: nothing is kept of the task
}

// in returns the task whose work belongs to a batch.
func (t task) in(b *checkpoint.Batch) task { return task{t.run, t.stage, b} }

// do runs the part of a stage that key names, unless an earlier pull has finished it.
func (t task) do(ctx context.Context, key string, fn func(t task) error) error {
	return checkpoint.Do(ctx, t.stage, key, func(b *checkpoint.Batch) error { return fn(t.in(b)) })
}

// put converts a row of the hub and adds it. It skips a row that is wrong in itself.
func (t task) put(name string, r hub.Value) error {
	row, fault, err := t.row(name, r, nil)
	switch {
	case err != nil:
		return err
	case fault != nil:
		return t.skipRow(relation.Get(name), row, fault)
	}
	return t.add(name, row)
}

// row converts a row, and says why it is useless, if it is. It notes the columns that the row lacks.
func (t task) row(name string, r hub.Value, assume map[string][]byte) (row [][]byte, fault, err error) {
	row, lacks, fault, err := t.convert.Row(name, r, assume)
	if err == nil && fault == nil && len(lacks) > 0 {
		t.goWithout(relation.Get(name), row, lacks)
	}
	return row, fault, err
}

// add adds a row to the view.
func (t task) add(name string, row [][]byte) error {
	notes, err := t.builder.Add(name, row)
	t.keep(name, row, checkpoint.InView, notes)
	return err
}

// addRevoked adds a row that was revoked by E.
func (t task) addRevoked(name string, row [][]byte) error {
	notes, err := t.builder.AddRevoked(name, row)
	t.keep(name, row, checkpoint.Revoked, notes)
	return err
}

// keep stores an added row, and the Builder's notes about it, in the journal.
func (t task) keep(name string, row [][]byte, kind checkpoint.RowKind, notes []snapfile.LeftOut) {
	if t.batch == nil {
		return
	}
	if len(notes) > 0 {
		t.batch.Note(func(n *checkpoint.Notes) { n.Skipped = append(n.Skipped, notes...) })
	}
	t.batch.Row(name, row, kind)
}

// addShared adds a row, once, that other rows bring along, too.
func (t task) addShared(name string, id int64, row [][]byte) error {
	if !t.builder.Has(name, id) {
		if _, err := t.builder.Add(name, row); err != nil {
			return err
		}
	}
	t.batch.SharedRow(name, id, row)
	return nil
}

// addName adds a row with an id and a name, once.
func (t task) addName(relationName string, id int64, name string) error {
	return t.addShared(relationName, id, [][]byte{idset.Text(id), []byte(name)})
}

// addEvent adds an event that came with a row, with its time.
func (t task) addEvent(id int64, ts float64) error {
	text, err := convert.AppendTime(nil, ts)
	if err != nil {
		return fmt.Errorf("event %d: %w", id, err)
	}
	return t.addShared("events", id, [][]byte{idset.Text(id), text})
}

// addNamed adds the name of something that a row refers to, from a member of that row. If there is none, the
// row refers to nothing.
func (t task) addNamed(relationName string, id int64, name hub.Value) error {
	rel := relation.Get(relationName)
	switch name.Kind() {
	case hub.String:
		text := string(name.Text())
		row := [][]byte{idset.Text(id), []byte(text)}
		if _, err := convert.Climbs(rel, row); err != nil {
			t.skip(snapshot.DescribeSkipped(rel, row, fmt.Errorf("%s.name: %w", rel.Name, err)))
			return nil
		}
		return t.addName(relationName, id, text)
	case hub.Bad:
		row := [][]byte{idset.Text(id), nil}
		if !snapshot.MakesUpName(rel) {
			t.skip(snapshot.DescribeSkipped(rel, row, fmt.Errorf("%s.name: %w", rel.Name, name.Bad())))
			return nil
		}
		t.goWithout(rel, row, []snapshot.Lack{{Column: "name", Why: name.Bad()}})
		return t.addShared(relationName, id, row)
	}
	return nil
}

// skip notes something that the hub could not give as it is.
func (t task) skip(x snapfile.LeftOut) {
	t.builder.Skip(x)
	t.batch.Note(func(n *checkpoint.Notes) { n.Skipped = append(n.Skipped, x) })
}

// goWithout notes that a row lacks some columns. A lacking name is made up.
func (t task) goWithout(rel *relation.Relation, row [][]byte, lacks []snapshot.Lack) {
	for _, x := range snapshot.Without(rel, row, lacks) {
		t.skip(x)
	}
}

// maxKey is how long a text may be that identifies a skipped row.
const maxKey = 4096

// skipRow notes that a row is skipped. The row has its valid columns. A tag is nothing without its config; so
// a skipped config ends the pull.
func (t task) skipRow(rel *relation.Relation, row [][]byte, why error) error {
	for _, i := range rel.KeyIndexes() {
		if len(row[i]) > maxKey { // what is skipped is remembered by its key
			return fmt.Errorf("%w, in a row of %s whose %s has %d bytes: mend it in production", why, rel.Name, rel.Columns[i].Name, len(row[i]))
		}
	}
	x := snapshot.DescribeSkipped(rel, row, why)
	if rel.Name == "tag_config" {
		return fmt.Errorf("%w, in the row %s: a tag is nothing without its config: mend it in production", why, x.Row)
	}
	t.skip(x)
	return nil
}

// skipBuild notes that the hub cannot give a build's row, or not all of its rows in another relation. What
// belongs to a build without a row is asked for nevertheless: the last snapshot may have the row.
func (t task) skipBuild(relationName string, id int64, why error) {
	x := snapfile.LeftOut{Relation: relationName, Row: fmt.Sprint("build ", id), Reason: why.Error(), Column: "build_id", ID: id, Builds: []int64{id}}
	if relationName == "build" {
		x.Column = "id"
	}
	t.skip(x)
}

// touch notes that a build's tagging or the build has changed.
func (t task) touch(build int64) {
	t.inc.touch(build)
	t.batch.Note(func(n *checkpoint.Notes) { n.Touched = append(n.Touched, build) })
}

// gone notes that a row is no longer in the view.
func (t task) gone(rel *relation.Relation, row [][]byte) {
	t.inc.revoke(rel, row)
	if t.batch == nil {
		return
	}
	for _, i := range snapfile.Secretive(rel) { // the journal is in the store
		row[i], _ = secret.Strip(row[i])
	}
	t.batch.Row(rel.Name, row, checkpoint.Gone)
}

// needsRecheck notes that the taggings of a build may be gone.
func (t task) needsRecheck(build int64, r hub.Value) {
	t.recheck.add(build)
	t.batch.Note(func(n *checkpoint.Notes) { n.Recheck = append(n.Recheck, build) })
	state, _ := r.Field("state").Int()
	if created, _ := r.Field("creation_event_id").Int(); t.opt.Everything && state == tagged.Complete && created <= t.Event {
		t.complete.add(build)
		t.batch.Note(func(n *checkpoint.Notes) { n.Complete = append(n.Complete, build) })
	}
}

// putInto returns the Take of a pager.RowFilter that only puts rows.
func (t task) putInto(name string) func(*checkpoint.Batch, hub.Value) error {
	return func(b *checkpoint.Batch, r hub.Value) error { return t.in(b).put(name, r) }
}

// taker takes over what an earlier pull has finished.
type taker struct{ *run }

// TakeRow implements checkpoint.Taker.
func (r taker) TakeRow(name string, row [][]byte, kind checkpoint.RowKind) error {
	rel := relation.Get(name)
	if rel == nil {
		return fmt.Errorf("no relation %q", name)
	}
	if len(row) != len(rel.Columns) {
		return fmt.Errorf("%s: a row of %d fields", name, len(row))
	}
	if err := takes(rel, row); err != nil {
		return err
	}
	if draft := rel.Index("draft"); draft >= 0 {
		of, note := rel.Index("build_id"), r.drafts.rpm
		if name == "build" {
			of, note = 0, r.drafts.build
		}
		if row[of] != nil {
			id, err := idset.Parse(row[of])
			if err != nil {
				return err
			}
			note(id, string(row[draft]) == "t")
		}
	}
	if kind != checkpoint.InView && r.inc != nil {
		r.inc.revoke(rel, row)
	}
	var err error
	switch kind {
	case checkpoint.Gone:
	case checkpoint.Revoked:
		_, err = r.builder.AddRevoked(name, row)
	default:
		_, err = r.builder.Add(name, row)
	}
	return err
}

// TakeNotes implements checkpoint.Taker.
func (r taker) TakeNotes(n checkpoint.Notes) {
	for _, x := range n.Skipped {
		r.builder.Skip(x)
	}
	for _, id := range n.Touched {
		r.inc.touch(id)
	}
	for _, id := range n.Recheck {
		r.recheck.add(id)
	}
	for _, id := range n.Complete {
		r.complete.add(id)
	}
	for tag, event := range n.Holes {
		r.holes.add(tag, event)
	}
}
