package kojisnap

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// A pull of everything takes its time. What it has it puts into the store on the way, as parts
// below pulls/, so that a pull that was cut off goes on at the same event and does not ask for
// those again. A part holds the rows of finished batches of one stage. When the snapshot is there
// the parts go. Pulls that carry rows over from a base are short, and make none.
const (
	pullPrefix = "pulls/"
	// resumeWithin is how old a pull that was cut off may be to be gone on with: what has no
	// events is as of reading.
	resumeWithin = 12 * time.Hour
	// partBytes is how much is gathered, before compression, until a part is put.
	partBytes = 4 << 20
	// batchBytes is how large a batch is kept at most.
	batchBytes = 32 << 20
)

// unfinished is a pull that was begun, as its object STATE says.
type unfinished struct {
	Version int       `json:"version"` // of the parts' form
	Hub     string    `json:"hub"`
	Koji    string    `json:"koji_version"`
	Tags    []string  `json:"tags"`
	Event   int64     `json:"event"`
	Base    string    `json:"base,omitempty"`
	Begun   time.Time `json:"begun"`
}

const partsVersion = 1

// parts is where a pull keeps what it has. A nil *parts keeps nothing.
type parts struct {
	store  store.Store
	prefix string
	was    *unfinished // what an earlier pull left; nil: nothing that serves
}

// openParts finds what an earlier pull of the same tags left.
func openParts(ctx context.Context, s store.Store, hub string, tags []string, now time.Time) (*parts, error) {
	sum := sha256.Sum256([]byte(hub + "\x00" + strings.Join(tags, "\x00")))
	p := &parts{store: s, prefix: pullPrefix + hex.EncodeToString(sum[:8]) + "/"}
	r, err := s.Get(ctx, p.prefix+"state")
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("a pull that was cut off: %w", err)
	}
	defer r.Close()
	var u unfinished
	body, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("a pull that was cut off: %w", err)
	}
	// What cannot be read is of no use, and no harm.
	if json.Unmarshal(body, &u) == nil && u.Version == partsVersion && u.Hub == hub && slices.Equal(u.Tags, tags) &&
		u.Event > 0 && now.Sub(u.Begun) < resumeWithin {
		p.was = &u
	}
	return p, nil
}

// begin settles whether the earlier pull is gone on with: if it was the same as this one.
func (p *parts) begin(ctx context.Context, this unfinished) error {
	this.Version = partsVersion
	if w := p.was; w != nil && w.Event == this.Event && w.Base == this.Base && w.Koji == this.Koji {
		return nil
	}
	p.was = nil
	if err := p.drop(ctx); err != nil {
		return err
	}
	body, err := json.Marshal(this)
	if err != nil {
		return err
	}
	return p.store.Put(ctx, p.prefix+"state", bytes.NewReader(body))
}

// drop removes all parts, and last what says that there are any.
func (p *parts) drop(ctx context.Context) error {
	all, err := p.store.List(ctx, p.prefix)
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(all) { // "state" sorts behind what stages are called
		if e.Name != p.prefix+"state" {
			if err := p.store.Delete(ctx, e.Name); err != nil {
				return err
			}
		}
	}
	return p.store.Delete(ctx, p.prefix+"state")
}

// finished is what a stage has from before.
type finished struct {
	ids  idSet
	keys map[string]bool
}

// rest returns those of ids that are not finished.
func (f *finished) rest(ids []int64) []int64 {
	return slices.DeleteFunc(slices.Clone(ids), f.ids.has)
}

// stage is a part of a pull under way whose batches are kept. Its methods may be called
// concurrently. A nil *stage keeps nothing.
type stage struct {
	parts *parts
	name  string

	mu  sync.Mutex
	buf bytes.Buffer
}

// inStage runs a stage: it takes over what an earlier pull finished of it, and keeps what this
// one finishes, also if it fails later.
func (p *puller) inStage(ctx context.Context, name string, run func(s *stage, done *finished) error) error {
	if p.parts == nil || name == "" {
		return run(nil, &finished{})
	}
	s := &stage{parts: p.parts, name: name}
	done := &finished{keys: map[string]bool{}}
	if p.parts.was != nil {
		if err := p.takeOver(ctx, name, done); err != nil {
			return fmt.Errorf("what an earlier pull has of the %s: %w", name, err)
		}
		p.log.InfoContext(ctx, "taken over from a pull that was cut off", "stage", name, "ids", done.ids.len(), "parts", len(done.keys))
	}
	err := run(s, done)
	putCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err, s.flush(putCtx))
}

// batch is what one batch of a stage added. Its methods may be called concurrently.
type batch struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	left []snapfile.LeftOut
	huge bool // too large to be kept
}

// The lines of a part: rows, behind a relation's name and whether they are revoked ones; and
// after those of a batch what the batch was.
type batchEnd struct {
	IDs  []int64            `json:"ids,omitempty"`
	Key  string             `json:"key,omitempty"`
	Left []snapfile.LeftOut `json:"left,omitempty"`
}

func (b *batch) row(name string, row [][]byte, revoked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.huge = b.huge || b.buf.Len() > batchBytes; b.huge {
		b.buf = bytes.Buffer{}
		return
	}
	fmt.Fprintf(&b.buf, "%s\t%t\t", name, revoked)
	b.buf.Write(snapfile.AppendLine(b.buf.AvailableBuffer(), row))
}

// begin returns a puller that notes what it adds, and what ends its work.
func (s *stage) begin(p *puller) (*puller, func(ctx context.Context, ids []int64, key string) error) {
	if s == nil {
		return p, func(context.Context, []int64, string) error { return nil }
	}
	q := *p
	q.batch = &batch{}
	return &q, func(ctx context.Context, ids []int64, key string) error {
		if q.batch.huge {
			return nil
		}
		end, err := json.Marshal(batchEnd{ids, key, q.batch.left})
		if err != nil {
			return err
		}
		s.mu.Lock()
		q.batch.buf.WriteTo(&s.buf)
		fmt.Fprintf(&s.buf, "\t%s\n", end)
		full := s.buf.Len() >= partBytes
		s.mu.Unlock()
		if full {
			return s.flush(ctx)
		}
		return nil
	}
}

// leave notes a row that the hub could not give.
func (p *puller) leave(relationName, row string, err error) {
	p.leftOut.add(relationName, row, err)
	if b := p.batch; b != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.left = append(b.left, snapfile.LeftOut{Relation: relationName, Row: row, Reason: err.Error()})
	}
}

// flush puts what was gathered.
func (s *stage) flush(ctx context.Context) error {
	s.mu.Lock()
	body := bytes.Clone(s.buf.Bytes())
	s.buf.Reset()
	s.mu.Unlock()
	if len(body) == 0 {
		return nil
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	name := s.parts.prefix + s.name + "-" + hex.EncodeToString(random[:])
	if err := s.parts.store.Put(ctx, name, bytes.NewReader(enc.EncodeAll(body, nil))); err != nil {
		return fmt.Errorf("keep a part of the pull: %w", err)
	}
	return nil
}

// takeOver adds the rows of a stage's parts. One that is damaged, or that another pull removed
// meanwhile, is passed over: what it held is asked for again.
func (p *puller) takeOver(ctx context.Context, name string, done *finished) error {
	all, err := p.parts.store.List(ctx, p.parts.prefix+name+"-")
	if err != nil {
		return err
	}
	for _, e := range all {
		body, err := p.wholePart(ctx, e.Name)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		if err := p.takePart(body, done); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	return nil
}

// wholePart reads a part and compares its checksum: no row of a damaged one counts.
func (p *puller) wholePart(ctx context.Context, name string) ([]byte, error) {
	r, err := p.parts.store.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	packed, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	body, err := dec.DecodeAll(packed, nil)
	if err != nil {
		p.log.WarnContext(ctx, "asking again for what a pull that was cut off had", "part", name, "err", err)
		return nil, nil
	}
	return body, nil
}

// takePart adds the rows of a part, each batch whole.
func (p *puller) takePart(body []byte, done *finished) error {
	in := bufio.NewReader(bytes.NewReader(body))
	var row [][]byte
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		line = line[:len(line)-1]
		relationName, rest, _ := bytes.Cut(line, []byte{'\t'})
		if len(relationName) == 0 {
			var end batchEnd
			if err := json.Unmarshal(rest, &end); err != nil {
				return err
			}
			for _, id := range end.IDs {
				done.ids.add(id)
			}
			done.keys[end.Key] = true
			for _, l := range end.Left {
				p.leftOut.add(l.Relation, l.Row, errors.New(l.Reason))
			}
			continue
		}
		revoked, rest, _ := bytes.Cut(rest, []byte{'\t'})
		if p.tables[string(relationName)] == nil {
			return fmt.Errorf("no relation %q", relationName)
		}
		if row, err = snapfile.ParseLine(rest, row); err != nil {
			return err
		}
		if err := p.addAgain(string(relationName), row, string(revoked) == "true"); err != nil {
			return err
		}
	}
}

// addAgain adds a row of a part, and notes what came with it.
func (p *puller) addAgain(name string, row [][]byte, revoked bool) error {
	rel := p.tables[name].rel
	if len(row) != len(rel.Columns) {
		return fmt.Errorf("%s: a row of %d fields", name, len(row))
	}
	if draft := rel.Index("draft"); draft >= 0 {
		of, note := rel.Index("build_id"), p.drafts.rpm
		if name == "build" {
			of, note = 0, p.drafts.build
		}
		if row[of] != nil {
			id, err := idOf(row[of])
			if err != nil {
				return err
			}
			note(id, string(row[draft]) == "t")
		}
	}
	return p.addRow(name, row, revoked)
}
