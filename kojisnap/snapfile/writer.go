package snapfile

import (
	"bufio"
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"kojisnap/kojisnap/relation"
)

// sortBuffer is how many bytes of rows a Writer keeps in memory before it sorts them and writes them to a
// temporary file.
const sortBuffer = 4 << 20

// Writer takes a relation's rows in any order. It writes them as segments, sorted by the relation's key. Of
// several rows with one key it keeps the last one added. It is for one goroutine.
type Writer struct {
	rel     *relation.Relation
	key     sortKey
	tempDir string

	buf     []byte // key and line of each row, one after the other
	entries []entry
	runs    []*scratch
	drop    func(row [][]byte) bool
}

type entry struct{ at, key, line uint32 } // offset in buf, lengths

// NewWriter returns a writer for rows with all of rel's columns in order. Temporary files are made in
// tempDir, or in the system's directory if it is empty; they vanish with the process.
func NewWriter(rel *relation.Relation, tempDir string) *Writer {
	return &Writer{rel: rel, key: newSortKey(rel), tempDir: tempDir}
}

// Add takes a row; nil fields are NULL. The caller may reuse the row.
func (w *Writer) Add(row [][]byte) error {
	if err := check(w.rel, row); err != nil {
		return err
	}
	at := len(w.buf)
	buf, err := w.key.append(w.buf, row)
	if err != nil {
		return err
	}
	klen := len(buf) - at
	w.buf = AppendLine(buf, row)
	w.entries = append(w.entries, entry{uint32(at), uint32(klen), uint32(len(w.buf) - at - klen)})
	if len(w.buf) >= sortBuffer {
		return w.spill()
	}
	return nil
}

// Each calls fn with the rows so far, in the order of keys. A row is valid only during the call. More rows
// may be added afterwards.
func (w *Writer) Each(fn func(row [][]byte) error) error {
	var row [][]byte
	return w.sorted(func(_, line []byte) error {
		var err error
		if row, err = ParseLine(line[:len(line)-1], row); err != nil {
			return err
		}
		return fn(row)
	})
}

// Drop sets which rows are dropped when the relation is finished. drop must say the same about a row each
// time. A row is valid only during the call.
func (w *Writer) Drop(drop func(row [][]byte) bool) { w.drop = drop }

// ending is sorted without the dropped rows.
func (w *Writer) ending(fn func(key, line []byte) error) error {
	if w.drop == nil {
		return w.sorted(fn)
	}
	var row [][]byte
	return w.sorted(func(key, line []byte) error {
		var err error
		if row, err = ParseLine(line[:len(line)-1], row); err != nil {
			return err
		}
		if w.drop(row) {
			return nil
		}
		return fn(key, line)
	})
}

// check refuses a row that PostgreSQL would refuse later, while its origin is still known.
func check(rel *relation.Relation, row [][]byte) error {
	if len(row) != len(rel.Columns) {
		return fmt.Errorf("%s: row of %d fields, the relation has %d columns", rel.Name, len(row), len(rel.Columns))
	}
	for i, f := range row {
		if f == nil && !rel.Columns[i].Null {
			return fmt.Errorf("%s.%s: NULL in a column that has none", rel.Name, rel.Columns[i].Name)
		}
		if bytes.IndexByte(f, 0) >= 0 {
			return fmt.Errorf("%s.%s: %q holds a NUL", rel.Name, rel.Columns[i].Name, f)
		}
	}
	return nil
}

// Finish writes the segments of one layer and returns them. Without rows there are none. The writer cannot be
// used afterwards, whatever the outcome.
func (w *Writer) Finish(ctx context.Context, layer int, put PutFunc) ([]Segment, error) {
	defer w.Close()
	out := &segmentWriter{tempDir: w.tempDir, layer: layer, put: put}
	defer out.abort()
	err := w.ending(func(_, line []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return out.line(ctx, line)
	})
	if err == nil {
		err = out.finish(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", w.rel.Name, err)
	}
	return out.done, nil
}

// Close discards what was added. It has no effect after Finish.
func (w *Writer) Close() {
	for _, f := range w.runs {
		f.Close()
	}
	w.runs, w.buf, w.entries = nil, nil, nil
}

// sortEntries sorts the buffer by key, and drops all but the last row of each key.
func (w *Writer) sortEntries() {
	slices.SortStableFunc(w.entries, func(a, b entry) int { return bytes.Compare(w.keyOf(a), w.keyOf(b)) })
	kept := w.entries[:0]
	for i, e := range w.entries {
		if i+1 < len(w.entries) && bytes.Equal(w.keyOf(e), w.keyOf(w.entries[i+1])) {
			continue
		}
		kept = append(kept, e)
	}
	w.entries = kept
}

func (w *Writer) keyOf(e entry) []byte { return w.buf[e.at : e.at+e.key] }

// spill writes the sorted buffer to a file, as one run.
func (w *Writer) spill() error {
	w.sortEntries()
	f, err := tempFile(w.tempDir)
	if err != nil {
		return err
	}
	w.runs = append(w.runs, f)
	bw := bufio.NewWriterSize(f, 256<<10)
	var head []byte
	for _, e := range w.entries {
		head = binary.AppendUvarint(binary.AppendUvarint(head[:0], uint64(e.key)), uint64(e.line))
		if _, err := bw.Write(head); err != nil {
			return err
		}
		if _, err := bw.Write(w.buf[e.at : e.at+e.key+e.line]); err != nil {
			return err
		}
	}
	if cap(w.buf) > 2*sortBuffer { // one row was far larger than the others
		w.buf = nil
	}
	w.buf, w.entries = w.buf[:0], w.entries[:0]
	return bw.Flush()
}

// sorted calls fn for each line in the order of keys. It may be called again.
func (w *Writer) sorted(fn func(key, line []byte) error) error {
	if len(w.runs) == 0 {
		w.sortEntries()
		for _, e := range w.entries {
			if err := fn(w.keyOf(e), w.buf[e.at+e.key:e.at+e.key+e.line]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(w.entries) > 0 {
		if err := w.spill(); err != nil {
			return err
		}
	}
	var h runHeap
	for i, f := range w.runs {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		r := &run{age: i, br: bufio.NewReaderSize(f, 64<<10)}
		if ok, err := r.next(); err != nil {
			return err
		} else if ok {
			h = append(h, r)
		}
	}
	heap.Init(&h)
	var last, line []byte
	for first := true; len(h) > 0; first = false {
		r := h[0]
		// Of equal keys the newest run comes first, and the others are skipped.
		if first || !bytes.Equal(r.key, last) {
			var err error
			if line, err = r.line(line); err != nil {
				return err
			}
			if err := fn(r.key, line); err != nil {
				return err
			}
			last = append(last[:0], r.key...)
		}
		if ok, err := r.next(); err != nil {
			return err
		} else if ok {
			heap.Fix(&h, 0)
		} else {
			heap.Pop(&h)
		}
	}
	return nil
}

// run reads a spilled run. It reads a line only when the line is next, so that one line is in memory, not one
// of each run.
type run struct {
	age  int
	br   *bufio.Reader
	key  []byte
	left int // of the key's line, not read yet
}

// line reads the line of the current key, into buf if it fits.
func (r *run) line(buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], r.left)[:r.left]
	r.left = 0
	_, err := io.ReadFull(r.br, buf)
	return buf, err
}

// next advances to the next key.
func (r *run) next() (bool, error) {
	if _, err := r.br.Discard(r.left); err != nil {
		return false, err
	}
	k, err := binary.ReadUvarint(r.br)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l, err := binary.ReadUvarint(r.br)
	if err != nil {
		return false, err
	}
	r.key = slices.Grow(r.key[:0], int(k))[:k]
	r.left = int(l)
	_, err = io.ReadFull(r.br, r.key)
	return err == nil, err
}

// runHeap has the smallest key first, and of equal keys the newest.
type runHeap []*run

func (h runHeap) Len() int { return len(h) }
func (h runHeap) Less(i, j int) bool {
	if c := bytes.Compare(h[i].key, h[j].key); c != 0 {
		return c < 0
	}
	return h[i].age > h[j].age
}
func (h runHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)   { *h = append(*h, x.(*run)) }
func (h *runHeap) Pop() any     { old := *h; r := old[len(old)-1]; *h = old[:len(old)-1]; return r }
