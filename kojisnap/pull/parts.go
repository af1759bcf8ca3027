package pull

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

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// A part is an object of finished batches of one stage, each in frames of zstd with checksums. A
// batch is lines: its rows as COPY text, behind the relation's name and the row's kind; then, with
// no name, a batchEnd.

// flush puts what was gathered.
func (s *stage) flush(ctx context.Context) error {
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
	name := s.parts.own + s.name + "-" + hex.EncodeToString(random[:])
	if err := s.parts.store.Put(ctx, name, bytes.NewReader(body)); err != nil {
		s.mu.Lock()
		s.buf.Write(body) // who was cancelled tries once more at the end
		s.mu.Unlock()
		return fmt.Errorf("keep a part of the pull: %w", err)
	}
	return nil
}

// takeOver adds what the parts of a stage hold. One that is damaged, or that another pull removed
// meanwhile, is passed over: what it held is asked for again.
func (p *puller) takeOver(ctx context.Context, s *stage) error {
	all, err := s.parts.store.List(ctx, s.parts.own+s.name+"-")
	if err != nil {
		return err
	}
	for _, e := range all {
		body, err := wholePart(ctx, s.parts, e.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errDamagedPart):
			p.log.WarnContext(ctx, "asking again for what a pull that was cut off had", "part", e.Name, "err", err)
		case err != nil:
			return fmt.Errorf("%s: %w", e.Name, err)
		default:
			if err := p.takePart(body, s); err != nil {
				return fmt.Errorf("%s: %w: pull with --full, which pays no regard to it", e.Name, err)
			}
		}
	}
	return nil
}

var errDamagedPart = errors.New("it is damaged")

// wholePart reads a part and compares its checksums: no row of a damaged one counts.
func wholePart(ctx context.Context, p *parts, name string) ([]byte, error) {
	r, err := p.store.Get(ctx, name)
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

// eachLine gives the lines of a part without their ends; a line is valid during the call.
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

func (p *puller) takePart(body []byte, s *stage) error {
	var row [][]byte
	return eachLine(body, func(line []byte) error {
		name, rest, _ := bytes.Cut(line, []byte{'\t'})
		if len(name) == 0 {
			return p.takeEnd(rest, s)
		}
		kind, rest, _ := bytes.Cut(rest, []byte{'\t'})
		if relation.Get(string(name)) == nil {
			return fmt.Errorf("no relation %q", name)
		}
		var err error
		if row, err = snapfile.ParseLine(rest, row); err != nil {
			return err
		}
		return p.addAgain(string(name), row, rowKind(kind))
	})
}

// takeEnd takes over what a batch was.
func (p *puller) takeEnd(body []byte, s *stage) error {
	var end batchEnd
	if err := json.Unmarshal(body, &end); err != nil {
		return err
	}
	for _, id := range end.IDs {
		s.ids.Add(id)
	}
	if end.Key != "" {
		s.answers[end.Key] = end.Answer
	}
	for _, l := range end.Left {
		p.builder.Skip(l)
	}
	for _, id := range end.Touched {
		p.carry.touch(id)
	}
	for _, id := range end.Suspects {
		p.suspects.add(id)
	}
	for tag, event := range end.Holes {
		p.holes.add(tag, event)
	}
	return nil
}

// addAgain adds a row of a part, and notes what came with it.
func (p *puller) addAgain(name string, row [][]byte, kind rowKind) error {
	rel := relation.Get(name)
	if len(row) != len(rel.Columns) {
		return fmt.Errorf("%s: a row of %d fields", name, len(row))
	}
	if err := takes(rel, row); err != nil {
		return err
	}
	if draft := rel.Index("draft"); draft >= 0 {
		of, note := rel.Index("build_id"), p.drafts.rpm
		if name == "build" {
			of, note = 0, p.drafts.build
		}
		if row[of] != nil {
			id, err := idset.Parse(row[of])
			if err != nil {
				return err
			}
			note(id, string(row[draft]) == "t")
		}
	}
	if kind != rowInView && p.carry != nil {
		p.carry.revoke(rel, row)
	}
	if kind == rowGone {
		return nil
	}
	return p.addRow(name, row, kind == rowRevoked)
}
