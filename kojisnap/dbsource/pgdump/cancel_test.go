package pgdump_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"testing"

	"kojisnap/kojisnap/dbsource/pgdump"
)

// TestCancel: when the context ends, reading ends, also of a pipe into which nobody writes any more, with whatever
// program in between; no temporary file is left.
func TestCancel(t *testing.T) {
	for _, w := range []way{{"plain", nil, "", true}, {"zstd", nil, "zstd", true}, {"xz", nil, "xz", true}, {"custom", []string{"-Fc"}, "", true}, {"custom in gzip", []string{"-Fc"}, "gzip", true}} {
		t.Run(w.name, func(t *testing.T) {
			text := read(t, w.recorded(t))
			r, pipe, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer pipe.Close()
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				pipe.Write(text[:len(text)/2]) // it returns when nearly all was read; the pipe stays open
				cancel()
			}()
			temp := t.TempDir()
			src, err := pgdump.Open(ctx, pgdump.Options{Path: "-", Stdin: r, TempDir: temp})
			if !errors.Is(err, context.Canceled) || src != nil {
				t.Errorf("got %v, %v", src, err)
			}
			stacks := make([]byte, 1<<20)
			if stacks = stacks[:runtime.Stack(stacks, true)]; bytes.Contains(stacks, []byte("s2.(*Writer)")) {
				t.Errorf("what compresses temporary files still runs:\n%s", stacks)
			}
			if files, _ := spilled(t, temp); files > 0 {
				t.Errorf("%d temporary files are left open", files)
			}
		})
	}
}
