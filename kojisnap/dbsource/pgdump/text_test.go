package pgdump

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzBlock: what is read over of a COPY block is what is read line by line, wherever reads cut it.
func FuzzBlock(f *testing.F) {
	for _, text := range []string{"\\.\n", "a\tb\nc\\N\n\\.\nrest", "\\N\n\\\\.\n\\.\n", "\n\n\\.\n", "x\\.\n\\.\nSELECT 1;", "a\\\n\\.\n", "no end", "", "a\n\\.", "a\n\\.x\n\\.\n\\.\n"} {
		f.Add(text, uint8(3))
	}
	f.Fuzz(func(t *testing.T, given string, size uint8) {
		var want int64
		whole := newText(strings.NewReader(given))
		var ends error
		for {
			line, err := whole.line(maxLine)
			if ends = err; err != nil || string(line) == `\.` {
				break
			}
			want++
		}
		r := newText(&pieces{[]byte(given), int(size%7) + 1})
		got, err := r.skipBlock(t.Context())
		if ends == nil && (got != want || err != nil) || ends != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%q: %d lines, %v; want %d, %v", given, got, err, want, ends)
		}
		if r.at != whole.at {
			t.Errorf("%q: at byte %d; want %d", given, r.at, whole.at)
		}
		rest, _ := io.ReadAll(io.MultiReader(bytes.NewReader(r.window), r.r))
		if ends == nil && string(rest) != given[whole.at:] {
			t.Errorf("%q: %q is left; want %q", given, rest, given[whole.at:])
		}
	})
}

// pieces gives a text in pieces of some bytes.
type pieces struct {
	text []byte
	size int
}

func (p *pieces) Read(buf []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	n := copy(buf, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

// TestLongBlock: the end of a block is found behind lines that are longer than the buffer.
func TestLongBlock(t *testing.T) {
	long := strings.Repeat("x", textBuffer)
	for before := range 5 {
		given := long[before:] + "\n" + long + "\\N\n\\.\nrest"
		r := newText(iotest.HalfReader(strings.NewReader(given)))
		if n, err := r.skipBlock(t.Context()); n != 2 || err != nil || r.at != int64(len(given)-len("rest")) {
			t.Errorf("%d lines, at byte %d of %d: %v", n, r.at, len(given), err)
		}
	}
}

// TestProjection: of any line the fields that are taken come out, and a line with another number of fields is an error.
func TestProjection(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20_000 {
		fields, columns := 1+r.IntN(6), 1+r.IntN(6)
		var take []int
		for i := range columns {
			if r.IntN(3) > 0 {
				take = append(take, i)
			}
		}
		if take == nil {
			continue
		}
		line := make([]string, fields)
		for i := range line {
			line[i] = []string{"", "a", `\N`, "me@example.org", `x\ty`}[r.IntN(5)]
		}
		want := ""
		for _, i := range take {
			if fields == columns {
				want += line[i] + "\t"
			}
		}
		p := newProjection(columns, take)
		if r.IntN(2) == 0 {
			p.urls = make([]bool, len(take))
		}
		got, err := p.line([]byte(strings.Join(line, "\t") + "\n")[:len(strings.Join(line, "\t"))])
		if fields != columns {
			if err == nil || err.Error() != fmt.Sprintf("a row of %d fields, where COPY names %d columns", fields, columns) && !slices.Contains(take, fields-1) && fields > take[len(take)-1] {
				t.Fatalf("%q taken %v of %d columns: %q, %v", line, take, columns, got, err)
			}
			continue
		}
		if err != nil || string(got) != want[:len(want)-1]+"\n" {
			t.Fatalf("%q taken %v: %q, %v; want %q", line, take, got, err, want)
		}
	}
}
