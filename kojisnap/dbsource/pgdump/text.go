package pgdump

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// maxLine is how long a row of a wanted table may be. PostgreSQL's own limit is 1 GB.
const maxLine = 128 << 20

// text reads the text of a dump through a window, and counts bytes.
type text struct {
	r      io.Reader
	buf    []byte
	window []byte // of buf: what is not read yet
	at     int64  // offset of the window in the text
	err    error  // of r, when the window is all that is left
}

// textBuffer is how large a text's buffer is, unless a line is longer.
const textBuffer = 1 << 20

func newText(r io.Reader) *text { return &text{r: r, buf: make([]byte, textBuffer)} }

// fill reads more behind the window. It makes room by moving the window, and by a larger buffer if that is full.
func (t *text) fill() bool {
	if t.err != nil {
		return false
	}
	n := len(t.window)
	if n == len(t.buf) {
		larger := make([]byte, 2*len(t.buf))
		copy(larger, t.window)
		t.buf = larger
	} else if n > 0 {
		copy(t.buf, t.window)
	}
	for t.err == nil {
		var more int
		more, t.err = t.r.Read(t.buf[n:])
		if n += more; more > 0 {
			break
		}
	}
	more := n > len(t.window)
	t.window = t.buf[:n]
	return more
}

// skip takes n bytes of the window as read.
func (t *text) skip(n int) {
	t.window = t.window[n:]
	t.at += int64(n)
}

// peek returns the next byte, or false at the end.
func (t *text) peek() (byte, bool) {
	if len(t.window) == 0 && !t.fill() {
		return 0, false
	}
	return t.window[0], true
}

// next reads a byte.
func (t *text) next() (byte, bool) {
	c, ok := t.peek()
	if ok {
		t.skip(1)
	}
	return c, ok
}

// line reads a line, which is valid until the next call, without its newline, which stands behind it in the same array. At the end of the text, in a line or
// before one, it returns io.EOF; a line that is longer than most is an error.
func (t *text) line(most int) ([]byte, error) {
	for from := 0; ; {
		if end := bytes.IndexByte(t.window[from:], '\n'); end >= 0 {
			line := t.window[:from+end]
			t.skip(from + end + 1)
			return line, nil
		}
		if from = len(t.window); from > most {
			return nil, errLong
		}
		if !t.fill() {
			return nil, t.ended()
		}
	}
}

// skipBlock reads over the lines of a COPY block, of any length, and over the line that ends it. It is called where a
// line begins, and returns how many lines there were before that one. Rows are not looked at one by one: most of a
// dump may be tables that nobody wants. A line with nothing but \. is the block's end, since COPY doubles each backslash
// of a text.
func (t *text) skipBlock(ctx context.Context) (lines int64, err error) {
	begins := true // the window begins where a line begins
	for {
		for len(t.window) < len(endOfBlock) {
			if ctx.Err() != nil {
				return lines, context.Cause(ctx)
			}
			if !t.fill() {
				return lines, t.ended()
			}
		}
		if end := findEnd(t.window, begins); end >= 0 {
			lines += int64(bytes.Count(t.window[:end], newline))
			t.skip(end + len(endOfBlock))
			return lines, nil
		}
		read := len(t.window) - len(endOfBlock) + 1 // in what is left the end may begin
		lines += int64(bytes.Count(t.window[:read], newline))
		begins = t.window[read-1] == '\n'
		t.skip(read)
	}
}

// findEnd finds the line that ends a COPY block, -1 if it is not there.
func findEnd(window []byte, begins bool) int {
	for from := 0; ; {
		n := bytes.IndexByte(window[from:], '\\')
		if n < 0 {
			return -1
		}
		if from += n; (from == 0 && begins || from > 0 && window[from-1] == '\n') && bytes.HasPrefix(window[from:], endOfBlock) {
			return from
		}
		from++
	}
}

// ended is io.EOF, or what is wrong with the reader.
func (t *text) ended() error {
	t.at += int64(len(t.window))
	t.window = nil
	if t.err == nil {
		return io.EOF
	}
	return t.err
}

var (
	endOfBlock = []byte("\\.\n")
	newline    = []byte("\n")
	errLong    = fmt.Errorf("a row of more than %d MiB", maxLine>>20)
)

// ahead reads from r in a goroutine, so that unpacking and parsing use a core each, and so that a pipe into which
// nobody writes does not outlast ctx. The goroutine ends with r, or with ctx after the read that it is in.
func ahead(ctx context.Context, r io.Reader) io.Reader {
	a := &aheadReader{ctx: ctx, full: make(chan chunk, 4), free: make(chan []byte, 6)}
	for range cap(a.free) {
		a.free <- make([]byte, 256<<10)
	}
	go func() {
		for {
			var buf []byte
			select {
			case <-ctx.Done():
				return
			case buf = <-a.free:
			}
			n, err := readFull(r, buf)
			select {
			case <-ctx.Done():
				return
			case a.full <- chunk{buf, buf[:n], err}:
			}
			if err != nil {
				return
			}
		}
	}()
	return a
}

// readFull fills buf, unless the reader ends: then the error is the reader's own.
func readFull(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}

type chunk struct {
	buf, text []byte
	err       error
}

type aheadReader struct {
	ctx        context.Context
	full       chan chunk
	free       chan []byte
	now        chunk
	sticky     error
	haveBuffer bool
}

func (a *aheadReader) Read(p []byte) (int, error) {
	for len(a.now.text) == 0 {
		if a.haveBuffer {
			a.free <- a.now.buf
			a.haveBuffer = false
		}
		if a.sticky != nil {
			return 0, a.sticky
		}
		select {
		case <-a.ctx.Done():
			return 0, context.Cause(a.ctx)
		case a.now = <-a.full:
			a.haveBuffer, a.sticky = true, a.now.err
		}
	}
	n := copy(p, a.now.text)
	a.now.text = a.now.text[n:]
	return n, nil
}
