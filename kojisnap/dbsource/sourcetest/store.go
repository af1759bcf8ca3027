package sourcetest

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/store/dir"
)

// InStore returns all that a store has, decompressed: to look for what must not be there.
func InStore(t testing.TB, s *dir.Store) (all []byte) {
	t.Helper()
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	entries, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		r, err := s.Get(t.Context(), entry.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		r.Close()
		if err == nil && filepath.Ext(entry.Name) == ".zst" {
			body, err = decoder.DecodeAll(body, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, body...)
	}
	return all
}
