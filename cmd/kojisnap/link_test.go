package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLinkCommand(t *testing.T) {
	dir := t.TempDir()
	src, to := filepath.Join(dir, "a.rpm"), filepath.Join(dir, "compose")
	if err := os.WriteFile(src, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"hardlink", "present"} {
		if got := kojisnapOK(t, "link", src, to); got != want+" "+src+"\n" {
			t.Errorf("standard output %q, want %s", got, want)
		}
	}
	if got := kojisnapOK(t, "link", "-q", src, to); got != "" {
		t.Errorf("-q prints %q", got)
	}
}
