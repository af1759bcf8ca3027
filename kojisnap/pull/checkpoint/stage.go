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
	"slices"
	"sync"
	"time"

	"kojisnap/kojisnap/idset"
)

const (
	// partBytes is how much of finished batches, compressed, is gathered until a part is put, and
	// flushAfter how long it waits at most for another batch: what a pull loses that is killed.
	partBytes  = 256 << 10
	flushAfter = 10 * time.Second
)

// Stage is a part of a pull under way that consists of batches, which are kept when they are finished:
// that of a multicall for some ids, or that of an answer under a key. What belongs to an id or a key
// depends on nothing but what the pull is about, so a key names whatever else it depends on. Its methods
// may be called concurrently. A nil Stage keeps nothing.
type Stage struct {
	journal *Journal
	name    string

	// What an earlier pull finished.
	ids     idset.Set
	answers map[string]json.RawMessage // by keys

	mu   sync.Mutex
	buf  bytes.Buffer // finished batches, compressed
	last time.Time    // when something was put
}

// Stage runs a stage: to takes over what an earlier pull finished of it, and what this one finishes is
// kept, also if it fails later. Without a name, or where nothing is kept, run gets a nil Stage.
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

// Rest returns those of ids that no earlier pull finished.
func (s *Stage) Rest(ids []int64) []int64 {
	if s == nil {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), s.ids.Has)
}

// Once returns what ask answers, which JSON can hold, and which is a batch of the stage: if an earlier
// pull finished it, ask is not called.
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

// Do is Once for what has no answer.
func Do(ctx context.Context, s *Stage, key string, ask func(*Batch) error) error {
	_, err := Once(ctx, s, key, func(b *Batch) (struct{}, error) { return struct{}{}, ask(b) })
	return err
}

// Digest is of ids, ascending, for keys.
func Digest(ids []int64) string {
	h := sha256.New()
	var buf [8]byte
	for _, id := range ids {
		h.Write(binary.BigEndian.AppendUint64(buf[:0], uint64(id)))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
