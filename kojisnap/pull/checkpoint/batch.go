package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/snapfile"
)

const (
	// frameBytes is how much of a batch is collected before it is compressed.
	frameBytes = 256 << 10
	// batchBytes is the largest compressed size of a batch that is kept: some hundred MB of rows. Pages and
	// multicalls are much smaller.
	batchBytes = 16 << 20
)

// Batch has what one batch of a stage added. Its methods may be called concurrently. A nil Batch keeps
// nothing.
type Batch struct {
	stage *Stage

	mu     sync.Mutex
	buf    []byte
	packed []byte                // earlier contents of buf, compressed
	shared map[string]*idset.Set // rows of names and events, by relation
	notes  Notes
	huge   bool // too large to keep
}

// end follows the rows of a batch. It says what the batch was, and what else it noted.
type end struct {
	IDs    []int64         `json:"ids,omitempty"`
	Key    string          `json:"key,omitempty"`
	Answer json.RawMessage `json:"answer,omitempty"`
	Notes
}

// Notes are what a batch noted besides rows.
type Notes struct {
	Skipped  []snapfile.LeftOut `json:"left,omitempty"`
	Touched  []int64            `json:"touched,omitempty"`  // builds that changed since the base
	Recheck  []int64            `json:"suspects,omitempty"` // builds whose taggings may be gone
	Complete []int64            `json:"complete,omitempty"` // of these, those that are complete
	Holes    map[int64]int64    `json:"holes,omitempty"`    // events up to which the history of a tag is not whole
}

// RowKind says where a row of a batch belongs.
type RowKind string

// The kinds of rows.
const (
	InView  RowKind = "view"
	Revoked RowKind = "revoked"
	Gone    RowKind = "gone" // revoked before the base's event: the snapshot does not have it
)

// Begin begins a batch.
func (s *Stage) Begin() *Batch {
	if s == nil {
		return nil
	}
	return &Batch{stage: s, shared: map[string]*idset.Set{}}
}

// Finish keeps the batch as the result for some ids.
func (b *Batch) Finish(ctx context.Context, ids []int64) error {
	if b == nil {
		return nil
	}
	return b.finish(ctx, end{IDs: ids})
}

func (b *Batch) finish(ctx context.Context, e end) error {
	s := b.stage
	e.Notes = b.notes
	body, err := json.Marshal(e)
	if err != nil || b.huge {
		return err
	}
	b.buf = fmt.Appendf(b.buf, "\t%s\n", body)
	b.pack()
	s.mu.Lock()
	s.buf.Write(b.packed)
	full := s.buf.Len() >= partBytes || time.Since(s.last) >= flushAfter
	s.mu.Unlock()
	if full {
		return s.flush(ctx)
	}
	return nil
}

// Row keeps a row. A batch that becomes too large is dropped.
func (b *Batch) Row(name string, row [][]byte, kind RowKind) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.huge {
		return
	}
	b.buf = fmt.Appendf(b.buf, "%s\t%s\t", name, kind)
	b.buf = snapfile.AppendLine(b.buf, row)
	if len(b.buf) < frameBytes {
		return
	}
	if b.pack(); len(b.packed) > batchBytes {
		b.buf, b.packed, b.huge = nil, nil, true
	}
}

// pack compresses what was noted, so that a batch takes little memory.
func (b *Batch) pack() {
	b.packed = b.stage.journal.enc.EncodeAll(b.buf, b.packed)
	if cap(b.buf) > 4*frameBytes { // one row was far larger than the others
		b.buf = nil
	}
	b.buf = b.buf[:0]
}

// SharedRow keeps a row, once, that other batches add, too. Each batch keeps its own, because the others may
// not finish.
func (b *Batch) SharedRow(name string, id int64, row [][]byte) {
	if b == nil {
		return
	}
	b.mu.Lock()
	ids := b.shared[name]
	if ids == nil {
		ids = new(idset.Set)
		b.shared[name] = ids
	}
	had := ids.Has(id)
	ids.Add(id)
	b.mu.Unlock()
	if !had {
		b.Row(name, row, InView)
	}
}

// Note lets fn add to the batch's notes.
func (b *Batch) Note(fn func(*Notes)) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	fn(&b.notes)
}
