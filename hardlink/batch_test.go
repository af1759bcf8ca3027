package hardlink_test

import (
	"errors"
	"path/filepath"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/content"
	"kojisnap/hardlink/ledger"
)

// With one build a batch, a batch is synced and named while the next one is made. A damaged build is left
// out; all others are complete, according to the ledger, too.
func TestSmallBatches(t *testing.T) {
	s := newSite(t)
	damage(t, filepath.Join(s.prod, bashDir, bashRPM), flip(-1))
	small := func(o *hardlink.Options) { o.BatchFiles = 1 }
	var digest *content.DigestError
	r, err := s.copy(t, small)
	if !errors.As(err, &digest) {
		t.Fatalf("error %v, want a DigestError", err)
	}
	want := len(s.input.Builds) - 1
	if n := s.wholeOrAbsent(t); n != want || r.Builds != want {
		t.Errorf("%d builds are whole, %d reported, want %d", n, r.Builds, want)
	}
	s.staysOnProd(t, bashDir)
	ledger, err := ledger.Read(s.top)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ledger.Staged()); n != want {
		t.Errorf("%d builds are complete by the ledger, want %d", n, want)
	}
	damage(t, filepath.Join(s.prod, bashDir, bashRPM), flip(-1))
	if r := s.mustCopy(t, small); r.Builds != 1 {
		t.Errorf("again: %+v", r)
	}
	s.check(t)
}
