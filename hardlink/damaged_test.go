package hardlink_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/content"
	"kojisnap/volumes"
)

// Each kind of damage at the source is found and the file is named. The build is left out, and all others are
// made.
func TestDamagedSource(t *testing.T) {
	cases := map[string]struct {
		file   string
		change func([]byte) []byte
		what   string
	}{
		"payload":             {bashRPM, flip(-1), "sigmd5"},
		"main header":         {bashRPM, flip(5000), "sigmd5"},
		"first byte":          {bashRPM, flip(0), "format"},
		"sigmd5 itself":       {bashRPM, sigmd5Changed, "signature header"},
		"unsigned header":     {bashRPM, flip(400), "signature header"},
		"lead, version":       {bashRPM, func(b []byte) []byte { b[4] = 0; return b }, "lead"},
		"lead, padding":       {bashRPM, flip(70), "lead"},
		"lead, signed copy":   {bashSigned, flip(79), "lead"},
		"cut short":           {bashRPM, func(b []byte) []byte { return b[:len(b)-1] }, "size"},
		"empty":               {bashRPM, func(b []byte) []byte { return nil }, "format"},
		"longer":              {bashRPM, func(b []byte) []byte { return append(b, 0) }, "size"},
		"signed payload":      {bashSigned, flip(-1), "sigmd5"},
		"another key's":       {bashSigned, func([]byte) []byte { return otherKey }, "signing key"},
		"signature itself":    {bashSigned, flip(400), "signature header"},
		"signature header":    {bashSig, flip(100), "md5"},
		"html instead of rpm": {bashSigned, func([]byte) []byte { return bytes.Repeat([]byte("<html>404</html>"), 100) }, "format"},
	}
	s := newSite(t, "bash")
	otherKey = mustRead(t, filepath.Join(s.prod, bashDir, strings.Replace(bashSigned, "41526f0e", "ba2992d4", 1)))
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "bash", "win-tool")
			path := filepath.Join(s.prod, bashDir, c.file)
			damage(t, path, c.change)
			if c.file == bashSigned { // no other copy can be made, either
				s.want.SigKeys = []string{"41526f0e"}
				damage(t, filepath.Join(s.prod, bashDir, bashRPM), flip(-1))
			}
			r, err := s.copy(t)
			var digest *content.DigestError
			if !errors.As(err, &digest) {
				t.Fatalf("error %v, want a DigestError", err)
			}
			if digest.Path != path || digest.What != c.what {
				t.Errorf("%+v, want path %s and %s", digest, path, c.what)
			}
			if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q", err)
			}
			if _, err := os.Lstat(filepath.Join(s.top, "vol/staged", bashDir)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the build is there: %v", err)
			}
			s.staysOnProd(t, bashDir)
			if want := len(s.input.Builds) - 1; r.Builds != want || s.wholeOrAbsent(t) != want {
				t.Errorf("%d builds made, want %d", r.Builds, want)
			}
		})
	}
}

var otherKey []byte

// sigmd5Changed changes the value of the SIGMD5 tag, wherever it is in the signature header.
func sigmd5Changed(b []byte) []byte {
	b[sigmd5At(b)] ^= 1
	return b
}

// sigmd5At returns where an rpm has the value of its SIGMD5 tag (1004, binary).
func sigmd5At(b []byte) int {
	i := bytes.Index(b[96:5000], []byte{0, 0, 3, 0xec, 0, 0, 0, 7})
	entries := int(b[96+10])<<8 + int(b[96+11])
	offset := int(b[96+i+10])<<8 + int(b[96+i+11])
	return 96 + 16 + 16*entries + offset
}

// Production pruned all signed copies. Copies spliced from headers and unsigned rpms equal production's, byte
// for byte.
func TestSplicedEqualRealSignedCopies(t *testing.T) {
	s := newSite(t)
	had := map[string]string{}
	for _, p := range files(t, s.prod) {
		if strings.Contains(p, "/data/signed/") {
			had[p] = sum(t, filepath.Join(s.prod, p))
			if err := os.Remove(filepath.Join(s.prod, p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.want.SigKeys = []string{"41526f0e", "BA2992D4"}
	r := s.mustCopy(t)
	spliced := 0
	for _, b := range s.plan(t).Staged {
		for _, f := range b.Files {
			if f.Kind != volumes.KindSigned {
				continue
			}
			spliced++
			want := had[dir(t, b.Build)+"/"+f.Path]
			b.Build.Volume = "staged"
			path := filepath.Join(s.top, dir(t, b.Build), f.Path)
			// Production may never have written a copy that its database allows.
			if got := sum(t, path); want != "" && got != want {
				t.Errorf("%s is not what production had", path)
			}
			if info, err := os.Lstat(path); err != nil || info.Mode() != 0o644 {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
	}
	if r.Spliced != spliced || spliced < 200 || len(had) < 200 {
		t.Errorf("%d spliced of %d; production had %d", r.Spliced, spliced, len(had))
	}
	if e := s.engine(t); e != nil {
		a, err := e.Diff(t.Context(), s.plan(t))
		if err != nil || a.Pending() {
			t.Errorf("something is left to do: %v, %v", a.Builds, err)
		}
	}
}
func TestSpliceOfDamagedHeader(t *testing.T) {
	s := onlyBash(t)
	s.want.SigKeys = []string{"41526f0e"}
	if err := os.Remove(filepath.Join(s.prod, bashDir, bashSigned)); err != nil {
		t.Fatal(err)
	}
	sig := filepath.Join(s.prod, bashDir, bashSig)
	damage(t, sig, flip(200))
	_, err := s.copy(t)
	var digest *content.DigestError
	if !errors.As(err, &digest) || digest.Path != sig {
		t.Errorf("error %v, want one about %s", err, sig)
	}
}

// A file on topdir is damaged later: only VerifyDigest finds it, and Repair makes it again.
func TestRepair(t *testing.T) {
	s := onlyBash(t)
	s.mustCopy(t)
	path := filepath.Join(s.top, "vol/staged", bashDir, bashRPM)
	damage(t, path, flip(-1))
	if r := s.mustCopy(t); r.Builds != 0 {
		t.Errorf("seen by size: %+v", r)
	}
	digest := func(o *hardlink.Options) { o.Verify = hardlink.VerifyDigest }
	var damaged *content.DigestError
	if r, err := s.copy(t, digest); !errors.As(err, &damaged) || r.Builds != 0 {
		t.Errorf("report %+v, %v", r, err)
	}
	r := s.mustCopy(t, digest, func(o *hardlink.Options) { o.Repair = true })
	if r.Builds != 1 || r.Linked != 1 {
		t.Errorf("report %+v, want one file", r)
	}
	s.check(t)
}
