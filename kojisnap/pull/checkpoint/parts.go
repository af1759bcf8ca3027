package checkpoint

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/snapfile"
)

// A part is an object with finished batches of one stage, each in zstd frames with checksums. A batch
// consists of lines: its rows as COPY text, each after the relation's name and the row's kind; then a line
// without a name, an end.

// Taker takes over what an earlier pull has finished.
type Taker interface {
	// TakeRow takes a row. The row is valid only during the call.
	TakeRow(relation string, row [][]byte, kind RowKind) error
	TakeNotes(Notes)
}

// flush stores what was collected.
func (s *Stage) flush(ctx context.Context) error {
	s.mu.Lock()
	body := bytes.Clone(s.buf.Bytes())
	s.buf.Reset()
	s.last = time.Now()
	s.mu.Unlock()
	if len(body) == 0 {
		return nil
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	name := s.journal.own + s.name + "-" + hex.EncodeToString(random[:])
	if err := s.journal.store.Put(ctx, name, bytes.NewReader(body)); err != nil {
		s.mu.Lock()
		s.buf.Write(body) // if it was canceled, Stage tries again
		s.mu.Unlock()
		return fmt.Errorf("keep a part of the pull: %w", err)
	}
	return nil
}

// takeOver adds what the parts of a stage have. It skips a part that is damaged or that another pull has
// removed: what it had is asked for again.
func (s *Stage) takeOver(ctx context.Context, to Taker) error {
	all, err := s.journal.store.List(ctx, s.journal.own+s.name+"-")
	if err != nil {
		return err
	}
	for _, e := range all {
		body, err := s.journal.wholePart(ctx, e.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errDamagedPart):
			s.journal.log.WarnContext(ctx, "asking again for what a pull that was cut off had", "part", e.Name, "err", err)
		case err != nil:
			return fmt.Errorf("%s: %w", e.Name, err)
		default:
			if err := s.takePart(body, to); err != nil {
				return fmt.Errorf("%s: %w: pull with --full, which pays no regard to it", e.Name, err)
			}
		}
	}
	return nil
}

var errDamagedPart = errors.New("it is damaged")

// wholePart reads a part and checks its checksums: no row of a damaged part is used.
func (j *Journal) wholePart(ctx context.Context, name string) ([]byte, error) {
	r, err := j.store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	finished := false
	err = eachLine(body, func(line []byte) error {
		finished = bytes.HasPrefix(line, []byte{'\t'})
		return nil
	})
	if err == nil && !finished {
		err = fmt.Errorf("%w: its end is missing", errDamagedPart)
	}
	return body, err
}

// eachLine calls fn for the lines of a part, without their ends. A line is valid only during the call.
func eachLine(body []byte, fn func(line []byte) error) error {
	dec, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer dec.Close()
	in := bufio.NewReaderSize(dec, 64<<10)
	var long []byte
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			continue
		}
		if errors.Is(err, io.EOF) && len(line)+len(long) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errDamagedPart, err)
		}
		if len(long) > 0 {
			long = append(long, line...)
			line = long
		}
		if err := fn(line[:len(line)-1]); err != nil {
			return err
		}
		long = long[:0]
	}
}

func (s *Stage) takePart(body []byte, to Taker) error {
	var row [][]byte
	return eachLine(body, func(line []byte) error {
		name, rest, _ := bytes.Cut(line, []byte{'\t'})
		if len(name) == 0 {
			return s.takeEnd(rest, to)
		}
		kind, rest, _ := bytes.Cut(rest, []byte{'\t'})
		var err error
		if row, err = snapfile.ParseLine(rest, row); err != nil {
			return err
		}
		return to.TakeRow(string(name), row, RowKind(kind))
	})
}

// takeEnd takes over the end of a batch.
func (s *Stage) takeEnd(body []byte, to Taker) error {
	var e end
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	for _, id := range e.IDs {
		s.ids.Add(id)
	}
	if e.Key != "" {
		s.answers[e.Key] = e.Answer
	}
	to.TakeNotes(e.Notes)
	return nil
}
