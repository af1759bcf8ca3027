package snapfile_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"kojisnap/kojisnap/snapfile"
)

// FuzzManifest: a manifest is refused, or what it says can be written again, and reads as the same.
func FuzzManifest(f *testing.F) {
	manifests, err := filepath.Glob("testdata/v*/snapshots/*.json")
	if err != nil || len(manifests) == 0 {
		f.Fatal("no manifests", err)
	}
	for _, name := range manifests {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := snapfile.Decode(body)
		if err != nil {
			if m != nil {
				t.Error("a manifest and an error")
			}
			return
		}
		m.HistoryFrom(1)
		m.ParentEvent()
		m.Missing()
		m.Scope.Composed()
		for _, l := range m.LeftOut {
			_ = l.String()
		}
		again, id, err := m.Encode()
		if err != nil {
			t.Fatalf("it reads, but cannot be written: %v", err)
		}
		back, err := snapfile.Decode(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, again)
		}
		if !back.SameRows(m) || !m.TellsAll(back) {
			t.Error("what was written differs")
		}
		third, same, err := back.Encode()
		if err != nil || !bytes.Equal(third, again) || same != id {
			t.Errorf("written twice it differs: %v", err)
		}
		if _, err := snapfile.ManifestObject(id); err != nil && !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%s: %v", id, err)
		}
	})
}
