package snapfile

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// MaxSegment is the largest size of a segment's rows in bytes, before compression. A single row that is
// longer has a segment to itself.
const MaxSegment = 64 << 20

// segmentTag begins each segment: a frame that zstd decoders skip. So the file names its format and version,
// while `zstd -dc` prints only the rows.
var segmentTag = func() []byte {
	const text = "kojisnap-segment 1\n"
	tag := binary.LittleEndian.AppendUint32(nil, 0x184D2A50)
	tag = binary.LittleEndian.AppendUint32(tag, uint32(len(text)))
	return append(tag, text...)
}()

// Segment is one object with sorted lines, as a manifest names it.
type Segment struct {
	// Layer counts from 0, oldest first. The segments of one layer do not overlap, and ascend.
	Layer int `json:"layer"`
	// Keys: the lines are keys of rows to remove (tombstones), not rows.
	Keys bool `json:"keys,omitempty"`
	// SHA256 is the digest of the uncompressed lines, in hex. It names the object.
	SHA256     string `json:"sha256"`
	Rows       int64  `json:"rows"`
	Bytes      int64  `json:"bytes"`      // of the lines
	Compressed int64  `json:"compressed"` // of the object
}

// Object is the name of the segment's object in a store.
func (s Segment) Object() string { return "segments/" + s.SHA256 + ".zst" }

// PutFunc stores an object, whole or not at all.
type PutFunc func(ctx context.Context, name string, src io.ReadSeeker) error

// GetFunc opens an object. It returns fs.ErrNotExist if there is none.
type GetFunc func(ctx context.Context, name string) (io.ReadCloser, error)

// encoders has those that no segment uses: a new one clears a megabyte and more, and most segments are small.
var encoders sync.Pool

// segmentWriter writes sorted lines into as many segments as needed.
type segmentWriter struct {
	tempDir string
	layer   int
	keys    bool
	put     PutFunc
	hold    bool // keep finished segments back until release is called
	held    []heldSegment

	file *scratch // of the segment that is being written, nil before its first line
	enc  *zstd.Encoder
	sum  hash.Hash
	cur  Segment
	done []Segment
}

func (w *segmentWriter) line(ctx context.Context, line []byte) error {
	if w.file != nil && w.cur.Bytes+int64(len(line)) > MaxSegment {
		if err := w.finish(ctx); err != nil {
			return err
		}
	}
	if w.file == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	w.sum.Write(line)
	w.cur.Rows++
	w.cur.Bytes += int64(len(line))
	_, err := w.enc.Write(line)
	return err
}

func (w *segmentWriter) begin() (err error) {
	if w.file, err = tempFile(w.tempDir); err != nil {
		return err
	}
	if _, err := w.file.Write(segmentTag); err != nil {
		return err
	}
	if idle, ok := encoders.Get().(*zstd.Encoder); ok {
		w.enc = idle
		w.enc.Reset(w.file)
	} else {
		w.enc, err = zstd.NewWriter(w.file, zstd.WithEncoderConcurrency(1))
	}
	w.sum = sha256.New()
	w.cur = Segment{Layer: w.layer, Keys: w.keys}
	return err
}

// finish completes the current segment, if any, and stores it.
func (w *segmentWriter) finish(ctx context.Context) error {
	if w.file == nil {
		return nil
	}
	defer w.drop()
	if err := w.enc.Close(); err != nil {
		return err
	}
	w.enc.Reset(nil)
	encoders.Put(w.enc)
	w.enc = nil
	size, err := w.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	w.cur.Compressed = size
	w.cur.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	if w.hold {
		w.held = append(w.held, heldSegment{w.cur, w.file})
		w.file = nil
		return nil
	}
	return w.store(ctx, w.cur, w.file)
}

func (w *segmentWriter) store(ctx context.Context, seg Segment, file *scratch) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := w.put(ctx, seg.Object(), file); err != nil {
		return err
	}
	w.done = append(w.done, seg)
	return nil
}

// drop discards the current segment.
func (w *segmentWriter) drop() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
}

// abort discards the current segment and those that are held back.
func (w *segmentWriter) abort() {
	w.drop()
	for _, h := range w.held {
		h.file.Close()
	}
	w.held = nil
}

// DamagedError says that an object differs from what the manifest says.
type DamagedError struct {
	Object, Reason string
}

func (e *DamagedError) Error() string { return fmt.Sprintf("%s is damaged: %s", e.Object, e.Reason) }

// segmentReader returns a segment's lines. Before it reports the end, it compares their number and digest
// with the manifest.
type segmentReader struct {
	seg  Segment
	src  *source
	dec  *zstd.Decoder
	br   *bufio.Reader
	sum  hash.Hash
	rows int64
	left int64 // how many bytes may still come
	long []byte
}

func openSegment(ctx context.Context, get GetFunc, seg Segment) (*segmentReader, error) {
	body, err := get(ctx, seg.Object())
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", seg.Object(), err)
	}
	src := &source{ReadCloser: body}
	dec, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		body.Close()
		return nil, err
	}
	return &segmentReader{seg: seg, src: src, dec: dec, br: bufio.NewReaderSize(dec, 64<<10), sum: sha256.New(), left: seg.Bytes}, nil
}

// next returns a line with its newline, or io.EOF. The line is valid until the next call.
func (r *segmentReader) next() ([]byte, error) {
	line, err := r.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		r.long = append(r.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) && int64(len(r.long)) <= min(r.left, MaxSegment) {
			line, err = r.br.ReadSlice('\n')
			r.long = append(r.long, line...)
		}
		line = r.long
	}
	// The digest is known only at the end, and a damaged object may decompress without end.
	if r.left -= int64(len(line)); r.left < 0 {
		return nil, r.damaged(fmt.Sprintf("more than %d bytes of rows, which the manifest says", r.seg.Bytes))
	}
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, r.damaged(fmt.Sprintf("a row of more than %d bytes", MaxSegment))
	case err == nil:
		r.sum.Write(line)
		r.rows++
		return line, nil
	case errors.Is(err, io.EOF) && len(line) == 0:
		if got := hex.EncodeToString(r.sum.Sum(nil)); got != r.seg.SHA256 {
			return nil, r.damaged("its SHA-256 is " + got)
		}
		if r.rows != r.seg.Rows {
			return nil, r.damaged(fmt.Sprintf("%d rows, the manifest says %d", r.rows, r.seg.Rows))
		}
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		return nil, r.damaged("the last line has no end")
	case r.src.err != nil:
		return nil, fmt.Errorf("segment %s: %w", r.seg.Object(), r.src.err)
	}
	return nil, r.damaged(err.Error())
}

// source remembers why reading an object failed: a fault of the store is not damage, but a decoder reports it
// as damage.
type source struct {
	io.ReadCloser
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (r *segmentReader) damaged(why string) error { return &DamagedError{r.seg.Object(), why} }

func (r *segmentReader) close() {
	r.dec.Close()
	r.src.Close()
}

// tempFile returns a file without a name. It is gone when it is closed, even if the process is killed.
func tempFile(dir string) (*scratch, error) {
	f, err := os.CreateTemp(dir, "kojisnap-sort-")
	if err != nil {
		return nil, scratchError(dir, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, scratchError(dir, err)
	}
	return &scratch{f, dir}, nil
}

// scratch is a file for data that is too large for memory.
type scratch struct {
	*os.File
	dir string // empty: the system's
}

func (s *scratch) Write(b []byte) (int, error) {
	n, err := s.File.Write(b)
	return n, scratchError(s.dir, err)
}

// scratchError explains where the directory comes from, if nobody named it.
func scratchError(dir string, err error) error {
	if err == nil || dir != "" {
		return err
	}
	return fmt.Errorf("%w: temporary files are in the directory that TMPDIR names, %s", err, os.TempDir())
}
