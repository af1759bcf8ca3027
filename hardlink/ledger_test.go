package hardlink_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

func TestLedger(t *testing.T) {
	s := newSite(t, "bash")
	s.mustCopy(t)
	path := filepath.Join(s.top, ".kojisnap/ledger")
	text := mustRead(t, path)
	known, err := ledger.Read(s.top)
	if err != nil {
		t.Fatal(err)
	}
	staged := known.Staged()
	if len(staged) != 3 || staged[2].Build != (volumes.Build{Name: "bash", Version: "5.3.0", Release: "2.fc42", Volume: "staged"}) {
		t.Errorf("staged %+v", staged)
	}
	for _, b := range staged {
		for _, e := range b.Entries {
			info, err := os.Lstat(filepath.Join(s.top, dir(t, b.Build), e.Path))
			if err != nil {
				t.Error(err)
				continue
			}
			if e.Target == "" && (info.Size() != e.Size || info.ModTime().UnixNano() != e.MTime || !strings.Contains(e.Digest, "md5:")) {
				t.Errorf("%+v: is %d bytes of %v", e, info.Size(), info.ModTime())
			}
		}
	}
	if got := known.Links["vol/prod/packages"]; !reflect.DeepEqual(got, []string{s.prod + "/packages"}) {
		t.Errorf("vol/prod in the ledger: %q", got)
	}

	// The shortest form has the same state, and its own shortest form is itself.
	var short, again bytes.Buffer
	if _, err := known.WriteTo(&short); err != nil {
		t.Fatal(err)
	}
	copied, err := ledger.Parse(bytes.NewReader(short.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(copied, known) {
		t.Error("the ledger read back is another")
	}
	copied.WriteTo(&again)
	if !bytes.Equal(short.Bytes(), again.Bytes()) {
		t.Error("two forms of one ledger")
	}

	// A ledger that a kill has cut off anywhere reads as it was before the last batch, or is refused. It
	// never reads as another state.
	for cut := 0; cut < len(text); cut += 97 {
		l, err := ledger.Parse(bytes.NewReader(text[:cut]))
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if len(l.Builds) > len(known.Builds) || len(l.Staged()) > 3 {
			t.Errorf("cut at %d: %+v", cut, l)
		}
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"one bit":      {flip(len(text) / 2), "ledger is damaged"},
		"not a ledger": {func([]byte) []byte { return []byte("hello\nworld\n") }, `ledger is damaged: begins with "hello"`},
		"newer":        {func([]byte) []byte { return []byte("kojisnap-ledger\t6\nZ\n") }, `ledger has format "6"`},
		"lines gone":   {func(b []byte) []byte { return append(b[:200:200], b[400:]...) }, "ledger is damaged"},
	} {
		bad := c.change(bytes.Clone(text))
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		before := snapshot(t, s.top)
		_, err := s.copy(t)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if name != "newer" && !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: error %v, want %v", name, err, ledger.ErrDamaged)
		}
		if snapshot(t, s.top) != before {
			t.Errorf("%s: something changed", name)
		}
	}

	// The next run that writes cuts off an incomplete end.
	if err := os.WriteFile(path, append(bytes.Clone(text), "B\tstaged\tx\t1\t1\nF\tx86"...), 0o644); err != nil {
		t.Fatal(err)
	}
	s.want.SigKeys = append(s.want.SigKeys, "ba2992d4")
	s.mustCopy(t)
	s.check(t)
	if after := mustRead(t, path); !bytes.HasPrefix(after, text) || bytes.Contains(after, []byte("\tx\t1\t1\n")) {
		t.Error("the torn end stays, or more than it is gone")
	}
}

// A symlink in the ledger's place does not redirect a write.
func TestLedgerIsNotWrittenThroughASymlink(t *testing.T) {
	s := newSite(t, "bash")
	outside := filepath.Join(s.prod, "ledger")
	mustSymlink(t, outside, filepath.Join(s.top, ".kojisnap/ledger"))
	s.mustCopy(t)
	if _, err := os.Lstat(outside); err == nil {
		t.Error("it was written through the symlink")
	}
	if err := os.Rename(filepath.Join(s.top, ".kojisnap/ledger"), outside); err != nil {
		t.Fatal(err)
	}
	mustSymlink(t, outside, filepath.Join(s.top, ".kojisnap/ledger"))
	before := mustRead(t, outside)
	s.want.SigKeys = []string{"ba2992d4"}
	if _, err := s.copy(t); err == nil {
		t.Error("no error")
	}
	if !bytes.Equal(mustRead(t, outside), before) {
		t.Error("it was appended to through the symlink")
	}
}

// A ledger that was read ahead counts only while topdir's is the same.
func TestPrefetchLedger(t *testing.T) {
	s := onlyBash(t)
	e := s.engine(t)
	all := func(what string) {
		t.Helper()
		a, err := e.Diff(t.Context(), s.plan(t))
		must(t, err)
		if n := s.check(t); a.Present != n || a.Pending() || len(a.Kept) > 0 {
			t.Errorf("%s: %d of %d files are present, pending %v, kept %v", what, a.Present, n, a.Pending(), a.Kept)
		}
	}
	e.PrefetchLedger() // there is none yet
	s.mustCopy(t)
	all("a ledger that another run wrote since")
	e.PrefetchLedger()
	all("a ledger as it was")
	e.PrefetchLedger()
	s.input = newSite(t, "bash").input
	s.mustCopy(t)
	all("a ledger that another run has added to since")
}
