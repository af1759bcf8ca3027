package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/snapfile"
)

const (
	// partBytes is how much of finished batches, compressed, is gathered until a part is put, and
	// flushAfter how long it waits at most for another batch: what a pull loses that is killed.
	partBytes  = 256 << 10
	flushAfter = 10 * time.Second
	// frameBytes is how much of a batch is gathered until it is compressed.
	frameBytes = 256 << 10
	// batchBytes is how large a batch may become, compressed, to be kept: some hundred MB of rows.
	// Neither pages nor multicalls come near.
	batchBytes = 16 << 20
)

// stage is a part of a pull under way that consists of batches, which are kept when they are
// finished: that of a multicall for some ids, or of what has a key. What belongs to an id or key
// depends on nothing but what the pull is about, so a key names whatever else it depends on. Its
// methods may be called concurrently.
type stage struct {
	parts *parts
	name  string

	// What an earlier pull finished.
	ids     idset.Set
	answers map[string]json.RawMessage // by keys

	mu   sync.Mutex
	buf  bytes.Buffer // finished batches, compressed
	last time.Time    // when something was put
}

// inStage runs a stage: it takes over what an earlier pull finished of it, and keeps what this
// one finishes, also if it fails later. Without a name, or where nothing is kept, nothing is taken
// over either.
func (p *puller) inStage(ctx context.Context, name string, run func(p *puller) error) error {
	q := *p
	q.stage = nil
	if p.parts == nil || p.parts.own == "" || name == "" {
		return run(&q)
	}
	s := &stage{parts: p.parts, name: name, answers: map[string]json.RawMessage{}, last: time.Now()}
	if p.parts.goesOn {
		if err := p.takeOver(ctx, s); err != nil {
			return fmt.Errorf("what an earlier pull has of the %s: %w", name, err)
		}
		p.log.InfoContext(ctx, "taken over from a pull that was cut off", "stage", name, "ids", s.ids.Len(), "keys", len(s.answers))
	}
	q.stage = s
	err := run(&q)
	putCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err, s.flush(putCtx))
}

// rest returns those of ids that no earlier pull finished.
func (s *stage) rest(ids []int64) []int64 {
	if s == nil {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), s.ids.Has)
}

// once returns what ask answers, which JSON can hold, and is a batch of the stage: if an earlier
// pull finished it, ask is not called.
func once[T any](ctx context.Context, p *puller, key string, ask func(p *puller) (T, error)) (answer T, err error) {
	if p.stage == nil {
		return ask(p)
	}
	if kept, ok := p.stage.answers[key]; ok {
		if err := json.Unmarshal(kept, &answer); err != nil {
			return answer, fmt.Errorf("what an earlier pull has of %q: %w", key, err)
		}
		return answer, nil
	}
	q, end := p.begin()
	if answer, err = ask(q); err != nil {
		return answer, err
	}
	kept, err := json.Marshal(answer)
	if err != nil {
		return answer, err
	}
	return answer, end(ctx, batchEnd{Key: key, Answer: kept})
}

// onceOnly is once for what has no answer.
func onceOnly(ctx context.Context, p *puller, key string, ask func(p *puller) error) error {
	_, err := once(ctx, p, key, func(p *puller) (struct{}, error) { return struct{}{}, ask(p) })
	return err
}

// digest is of ids, ascending, for keys.
func digest(ids []int64) string {
	h := sha256.New()
	var buf [8]byte
	for _, id := range ids {
		h.Write(binary.BigEndian.AppendUint64(buf[:0], uint64(id)))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// batch is what one batch of a stage added. Its methods may be called concurrently.
type batch struct {
	parts *parts

	mu      sync.Mutex
	buf     []byte
	packed  []byte                // what was in buf before, compressed
	brought map[string]*idset.Set // rows of names and events, by relation
	end     batchEnd
	huge    bool // too large to be kept
}

// batchEnd says, behind the rows of a batch, what it was, and what else it noted.
type batchEnd struct {
	IDs      []int64            `json:"ids,omitempty"`
	Key      string             `json:"key,omitempty"`
	Answer   json.RawMessage    `json:"answer,omitempty"`
	Left     []snapfile.LeftOut `json:"left,omitempty"`
	Touched  []int64            `json:"touched,omitempty"`
	Suspects []int64            `json:"suspects,omitempty"`
	Holes    map[int64]int64    `json:"holes,omitempty"`
}

// rowKind says where a row of a batch belongs.
type rowKind string

const (
	rowInView  rowKind = "view"
	rowRevoked rowKind = "revoked"
	rowGone    rowKind = "gone" // revoked before the base's event: nothing of it is in the snapshot
)

// begin returns a puller that notes what it adds, and what ends its work.
func (p *puller) begin() (*puller, func(ctx context.Context, end batchEnd) error) {
	s := p.stage
	if s == nil {
		return p, func(context.Context, batchEnd) error { return nil }
	}
	q := *p
	b := &batch{parts: s.parts, brought: map[string]*idset.Set{}}
	q.batch = b
	return &q, func(ctx context.Context, end batchEnd) error {
		end.Left, end.Touched, end.Suspects, end.Holes = b.end.Left, b.end.Touched, b.end.Suspects, b.end.Holes
		body, err := json.Marshal(end)
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
}

// row notes a row. A batch that is too large is given up.
func (b *batch) row(name string, row [][]byte, kind rowKind) {
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
func (b *batch) pack() {
	b.packed = b.parts.enc.EncodeAll(b.buf, b.packed)
	if cap(b.buf) > 4*frameBytes { // a row was far larger than others
		b.buf = nil
	}
	b.buf = b.buf[:0]
}

// bring notes a row that other batches bring along too: each has its own, for the others may come
// to nothing.
func (b *batch) bring(name string, id int64, row [][]byte) {
	if b == nil {
		return
	}
	b.mu.Lock()
	ids := b.brought[name]
	if ids == nil {
		ids = new(idset.Set)
		b.brought[name] = ids
	}
	had := ids.Has(id)
	ids.Add(id)
	b.mu.Unlock()
	if !had {
		b.row(name, row, rowInView)
	}
}

// note notes what is not a row.
func (b *batch) note(fn func(end *batchEnd)) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	fn(&b.end)
}

// The notes.

// leave notes what the hub could not give, or not as it is.
func (p *puller) leave(x snapfile.LeftOut) {
	p.builder.Skip(x)
	p.batch.note(func(end *batchEnd) { end.Left = append(end.Left, x) })
}

// touch notes that a build's tagging changed, or the build.
func (p *puller) touch(build int64) {
	p.carry.touch(build)
	p.batch.note(func(end *batchEnd) { end.Touched = append(end.Touched, build) })
}

// gone notes that a row is not in the view any more.
func (p *puller) gone(rel *relation.Relation, row [][]byte) {
	p.carry.revoke(rel, row)
	if p.batch != nil {
		for _, i := range snapfile.Secretive(rel) { // what is kept of a pull is in the store
			row[i], _ = secret.Strip(row[i])
		}
		p.batch.row(rel.Name, row, rowGone)
	}
}

// doubt notes that the taggings of a build may be gone.
func (p *puller) doubt(build int64) {
	p.suspects.add(build)
	p.batch.note(func(end *batchEnd) { end.Suspects = append(end.Suspects, build) })
}
