package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"kojisnap/kojisnap/idset"
)

const (
	// partBytes is how much of finished batches, compressed, is collected before a part is stored.
	// flushAfter is the longest wait for another batch. A killed pull loses that much.
	partBytes  = 256 << 10
	flushAfter = 10 * time.Second
)

// Stage is a part of a running pull. It consists of batches: of a multicall for some ids, or of an answer
// with a key. Finished batches are kept. The rows for an id or a key depend only on the pull's State; a key
// names whatever else they depend on. Its methods may be called concurrently. A nil Stage keeps nothing.
type Stage struct {
	journal *Journal
	name    string

	// What an earlier pull has finished.
	ids     idset.Set
	answers map[string]json.RawMessage // by key

	mu   sync.Mutex
	buf  bytes.Buffer // finished batches, compressed
	last time.Time    // when something was stored last
}

// Stage runs a stage. First to takes over what an earlier pull has finished of it. What this pull finishes is
// kept, even if it fails later. Without a name, and with a nil Journal, run gets a nil Stage.
func (j *Journal) Stage(ctx context.Context, name string, to Taker, run func(*Stage) error) error {
	if j == nil || j.own == "" || name == "" {
		return run(nil)
	}
	s := &Stage{journal: j, name: name, answers: map[string]json.RawMessage{}, last: time.Now()}
	if j.resumed {
		if err := s.takeOver(ctx, to); err != nil {
			return fmt.Errorf("what an earlier pull has of the %s: %w", name, err)
		}
		j.log.InfoContext(ctx, "taken over from a pull that was cut off", "stage", name, "ids", s.ids.Len(), "keys", len(s.answers))
	}
	err := run(s)
	putCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err, s.flush(putCtx))
}

// Rest returns the ids that no earlier pull has finished.
func (s *Stage) Rest(ids *idset.Set) *idset.Set {
	if s == nil {
		return ids
	}
	return ids.Minus(&s.ids)
}

// Once returns the answer of ask, which must be valid in JSON, and keeps it as a batch of the stage. If an
// earlier pull has finished it, ask is not called.
func Once[T any](ctx context.Context, s *Stage, key string, ask func(*Batch) (T, error)) (answer T, err error) {
	if s == nil {
		return ask(nil)
	}
	if kept, ok := s.answers[key]; ok {
		if err := json.Unmarshal(kept, &answer); err != nil {
			return answer, fmt.Errorf("what an earlier pull has of %q: %w", key, err)
		}
		return answer, nil
	}
	b := s.Begin()
	if answer, err = ask(b); err != nil {
		return answer, err
	}
	kept, err := json.Marshal(answer)
	if err != nil {
		return answer, err
	}
	return answer, b.finish(ctx, end{Key: key, Answer: kept})
}

// Do is Once without an answer.
func Do(ctx context.Context, s *Stage, key string, ask func(*Batch) error) error {
	_, err := Once(ctx, s, key, func(b *Batch) (struct{}, error) { return struct{}{}, ask(b) })
	return err
}

// Digest returns a digest of ids, for keys.
func Digest(ids iter.Seq[int64]) string {
	h := sha256.New()
	var buf [8]byte
	for id := range ids {
		h.Write(binary.BigEndian.AppendUint64(buf[:0], uint64(id)))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
