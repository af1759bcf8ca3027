package kojisnap_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/store/dir"
)

// stored is the ledger that a store has.
func stored(t testing.TB, s *dir.Store) string {
	t.Helper()
	r, err := s.Get(t.Context(), "ledgers/staging")
	pulltest.Must(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	pulltest.Must(t, err)
	return string(b)
}

// shortLedger is topdir's ledger as the store is to have it.
func shortLedger(t testing.TB, top string) string {
	t.Helper()
	l, err := ledger.Read(top)
	pulltest.Must(t, err)
	var b strings.Builder
	l.WriteTo(&b)
	return b.String()
}

// The store has the ledger after each change, and gives it back to a topdir that has lost its
// own. It is not overwritten by one that is empty or damaged.
func TestCopyKeepsTheLedgerInTheStore(t *testing.T) {
	from := pulltest.NewSource(t, "f42")
	s := pulltest.NewStore(t)
	o := kojisnap.CopyOptions{Topdir: filepath.Join(t.TempDir(), "koji"), Sources: []string{from.Prod}, WritableSource: true}
	pulltest.Must(t, os.Mkdir(o.Topdir, 0o755))
	cp := func() *kojisnap.CopyResult {
		t.Helper()
		r, err := kojisnap.Copy(t.Context(), from.Snap, s, o)
		pulltest.Must(t, err)
		if stored(t, s) != shortLedger(t, o.Topdir) {
			t.Error("the store's ledger is another")
		}
		return r
	}
	first := cp()
	if first.Report.Builds == 0 || strings.Count(stored(t, s), "\nB\t") != first.Report.Builds {
		t.Errorf("%+v", first.Report)
	}
	path := filepath.Join(o.Topdir, ".kojisnap/ledger")
	nothing := func(r *kojisnap.CopyResult) {
		t.Helper()
		if r.Report.Builds+r.Report.Links > 0 || len(r.Actions.Kept) > 0 || r.Report.Present != first.Report.Linked+first.Report.Copied+first.Report.Reflinked {
			t.Errorf("%+v", r.Report)
		}
	}
	nothing(cp())
	pulltest.Must(t, s.Delete(t.Context(), "ledgers/staging"))
	nothing(cp()) // it is put there again

	pulltest.Must(t, os.Remove(path))
	r := cp()
	nothing(r)
	if r.Actions.Rebuilt == "" {
		t.Error("nothing tells that the ledger came from the store")
	}

	good := stored(t, s)
	pulltest.Must(t, os.WriteFile(path, []byte("rubbish\n"), 0o644))
	if _, err := kojisnap.Copy(t.Context(), from.Snap, s, o); !errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), "--audit") {
		t.Errorf("error %v", err)
	}
	if stored(t, s) != good {
		t.Error("the store's ledger was overwritten")
	}
	o.Audit = true
	nothing(cp())
	o.Audit = false

	// Sync's steps: none is wanted any longer.
	o.Builds, o.Leave, o.KeepFor = compose.BuildsNone, true, time.Hour
	r = cp()
	if len(r.Actions.Leaving) != first.Report.Builds || strings.Count(stored(t, s), "\nU\t") != first.Report.Builds {
		t.Errorf("%d leave: %s", len(r.Actions.Leaving), stored(t, s))
	}
	o.Remove = true
	if r = cp(); r.Report.Removed != 0 || r.Report.Grace != first.Report.Builds {
		t.Errorf("%+v", r.Report)
	}
	o.KeepFor = 0
	if r = cp(); r.Report.Removed != first.Report.Builds || strings.Contains(stored(t, s), "\nB\t") {
		t.Errorf("%+v\n%s", r.Report, stored(t, s))
	}
	if _, err := os.Stat(filepath.Join(o.Topdir, "vol/staged/packages/bash")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a package is there: %v", err)
	}
}

// A dry run writes nothing, and counts every planned file for its tags, content tags among them.
func TestCopyDryRun(t *testing.T) {
	from := pulltest.NewSource(t, "f42", "f42-compose")
	o := kojisnap.CopyOptions{Topdir: filepath.Join(t.TempDir(), "koji"), Sources: []string{from.Prod}, WritableSource: true, DryRun: true}
	pulltest.Must(t, os.Mkdir(o.Topdir, 0o755))
	r, err := kojisnap.Copy(t.Context(), from.Snap, pulltest.NewStore(t), o)
	pulltest.Must(t, err)
	var text strings.Builder
	n, err := r.WriteTo(&text)
	if err != nil || n != int64(text.Len()) {
		t.Errorf("%d bytes of %d, %v", n, text.Len(), err)
	}
	tags := map[string]bool{}
	for _, row := range r.Summary.Tags {
		tags[row.Tag] = true
		if !strings.Contains(text.String(), "tag "+row.Tag+" ") {
			t.Errorf("no line of %s", row.Tag)
		}
	}
	if len(tags) != 3 || r.Summary.Total.Files.Files == 0 || r.Summary.Total.Present.Files != 0 {
		t.Errorf("%v, %v", tags, r.Summary.Total)
	}
	if list, err := os.ReadDir(o.Topdir); err != nil || len(list) != 0 {
		t.Errorf("topdir has %v, %v", list, err)
	}
}
