package hardlink_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"kojisnap/hardlink"
	"kojisnap/hardlink/content"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/retry"
	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

const (
	bashDir    = "packages/bash/5.3.0/2.fc42"
	bashSigned = "data/signed/41526f0e/x86_64/bash-5.3.0-2.fc42.x86_64.rpm"
	bashSig    = "data/sigcache/41526f0e/x86_64/bash-5.3.0-2.fc42.x86_64.rpm.sig"
	bashRPM    = "x86_64/bash-5.3.0-2.fc42.x86_64.rpm"
)

// onlyBash is a site of which one build is copied.
func onlyBash(t testing.TB) *site {
	s := newSite(t, "bash", "glibc")
	s.input = volumestest.Split(s.input, func(b volumes.BuildFiles) bool { return b.NVR() == "bash-5.3.0-2.fc42" })
	return s
}

// damage puts another file in a file's place, with the same time.
func damage(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
}

// Each damage at the source is found, names the file, and leaves the build out while
// the others are made.
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
			if c.file == bashSigned { // nor can another be made
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

// What one source does not give as it has to be another does; a signed copy is made of its
// parts, be they from several.
func TestNextSource(t *testing.T) {
	remove := func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	unreadable := func(t *testing.T, path string) {
		remove(t, path)
		if err := os.Symlink(filepath.Base(path), path); err != nil { // ELOOP
			t.Fatal(err)
		}
	}
	cases := map[string]func(t *testing.T, first, second string){
		"damaged": func(t *testing.T, first, _ string) { damage(t, filepath.Join(first, bashRPM), flip(-1)) },
		"cut short": func(t *testing.T, first, _ string) {
			damage(t, filepath.Join(first, bashRPM), func(b []byte) []byte { return b[:50] })
		},
		"missing":    func(t *testing.T, first, _ string) { remove(t, filepath.Join(first, bashRPM)) },
		"unreadable": func(t *testing.T, first, _ string) { unreadable(t, filepath.Join(first, bashRPM)) },
		"signed copy damaged at both": func(t *testing.T, first, second string) {
			damage(t, filepath.Join(first, bashSigned), flip(-1))
			damage(t, filepath.Join(second, bashSigned), flip(0))
		},
		"no signed copy, one part each": func(t *testing.T, first, second string) {
			remove(t, filepath.Join(first, bashSigned))
			remove(t, filepath.Join(second, bashSigned))
			damage(t, filepath.Join(first, bashSig), flip(200))
			damage(t, filepath.Join(second, bashRPM), flip(-1))
		},
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			second := filepath.Join(t.TempDir(), "second")
			if err := os.Mkdir(second, 0o755); err != nil {
				t.Fatal(err)
			}
			cloneTree(t, second, []string{"bash"})
			first := s.prod
			spoil(t, filepath.Join(first, bashDir), filepath.Join(second, bashDir))
			s.mustCopy(t, func(o *hardlink.Options) { o.Sources = []string{first, second} })
			good, err := extracted()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []string{bashRPM, bashSigned, bashSig} {
				if sum(t, filepath.Join(s.top, "vol/staged", bashDir, p)) != sum(t, filepath.Join(good, bashDir, p)) {
					t.Errorf("%s is not production's", p)
				}
			}
		})
	}
}

// One error tells what each source said.
func TestNoSourceGivesIt(t *testing.T) {
	s := onlyBash(t)
	second := t.TempDir()
	damage(t, filepath.Join(s.prod, bashDir, bashRPM), flip(-1))
	_, err := s.copy(t, func(o *hardlink.Options) { o.Sources = []string{s.prod, second} })
	var source *source.Error
	var digest *content.DigestError
	if !errors.As(err, &source) || !errors.As(err, &digest) || source.Build != "bash-5.3.0-2.fc42" || source.Path != bashRPM || len(source.Errs) != 2 {
		t.Fatalf("error %v, want a source.Error with a DigestError", err)
	}
	if !strings.Contains(err.Error(), s.prod) || !strings.Contains(err.Error(), second) {
		t.Errorf("error %q does not name both sources", err)
	}
	s.staysOnProd(t, bashDir)
}

var otherKey []byte

// sigmd5Changed changes the SIGMD5 tag's value, wherever in the signature header it is.
func sigmd5Changed(b []byte) []byte {
	b[sigmd5At(b)] ^= 1
	return b
}

// sigmd5At is where an rpm has the value of its SIGMD5 tag (1004, binary).
func sigmd5At(b []byte) int {
	i := bytes.Index(b[96:5000], []byte{0, 0, 3, 0xec, 0, 0, 0, 7})
	entries := int(b[96+10])<<8 + int(b[96+11])
	offset := int(b[96+i+10])<<8 + int(b[96+i+11])
	return 96 + 16 + 16*entries + offset
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Production pruned all signed copies: what is made of headers and unsigned rpms is
// byte for byte what production had.
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
			// Production may never have written the copy that its database allows.
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

// A file that no source has: the build is left out and named, in Diff already.
func TestMissingFile(t *testing.T) {
	s := onlyBash(t)
	if err := os.Remove(filepath.Join(s.prod, bashDir, bashRPM)); err != nil {
		t.Fatal(err)
	}
	_, err := s.copy(t)
	var missing *source.MissingError
	if !errors.As(err, &missing) || missing.Build != "bash-5.3.0-2.fc42" || missing.Path != bashRPM || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one about %s", err, bashRPM)
	}
	if got := files(t, filepath.Join(s.top, "vol/staged/packages")); len(got) != 0 {
		t.Errorf("files %q", got)
	}
	s.staysOnProd(t, bashDir)
}

// staysOnProd checks that a build that was left out is found on the read-only volume.
func (s *site) staysOnProd(t *testing.T, dir string) {
	t.Helper()
	if target, err := os.Readlink(filepath.Join(s.top, dir)); target != "../../../vol/prod/"+dir {
		t.Errorf("DEFAULT: -> %q, %v", target, err)
	}
}

// Names in production's tree that no ledger and no report can hold.
func TestHostileFileNames(t *testing.T) {
	s := onlyBash(t)
	for _, name := range []string{"new\nline", "tab\t", "esc\x1b[31m", "bad\xffutf8"} {
		if err := os.WriteFile(filepath.Join(s.prod, bashDir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 { // each is told at every run
		r, err := s.copy(t)
		var left *hardlink.LeftOutError
		if !errors.As(err, &left) || len(left.Errs) != 4 || r.Builds != 1-i {
			t.Fatalf("report %+v, %v", r, err)
		}
		for _, e := range left.Errs {
			if strings.ContainsAny(e.Error(), "\n\t\x1b") || !utf8.ValidString(e.Error()) {
				t.Errorf("told as %q", e)
			}
		}
	}
	for _, p := range files(t, filepath.Join(s.top, "vol/staged")) {
		if volumes.CheckPath("path", p) != nil {
			t.Errorf("file %q", p)
		}
	}
}

// More is wanted later: new files come singly, symlinks become files.
func TestWantedLater(t *testing.T) {
	s := onlyBash(t)
	s.want.SigKeys = []string{"41526f0e"}
	s.want.Arches = []string{"aarch64"}
	s.mustCopy(t)
	s.check(t)
	inode := stat(t, filepath.Join(s.top, "vol/staged", bashDir))
	s.want.SigKeys = []string{"41526f0e", "ba2992d4", ""}
	s.want.Arches = nil
	r := s.mustCopy(t)
	s.check(t)
	if r.Builds != 1 || r.Linked == 0 || r.Present == 0 {
		t.Errorf("report %+v", r)
	}
	if again := stat(t, filepath.Join(s.top, "vol/staged", bashDir)); !os.SameFile(inode, again) {
		t.Error("the build's directory was replaced")
	}
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// A file on topdir rots: only VerifyDigest sees it, and Repair makes it anew.
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

// What staging made or changed stays, and is reported.
func TestStagingsOwnStays(t *testing.T) {
	s := newSite(t)
	own := filepath.Join(s.top, "packages/bash/5.2.37/3.fc42/x86_64/mine.rpm") // a real directory on DEFAULT
	foreign := filepath.Join(s.top, "vol/staged/packages/glibc/2.41/5.fc42/mine.rpm")
	link := filepath.Join(s.top, "packages/curl/8.11.1/4.fc42") // moved by staging's hub to a volume of its own
	for _, p := range []string{own, foreign, link} {
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{own, foreign} {
		if err := os.WriteFile(p, []byte("staging's"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mustSymlink(t, "../../../vol/stg_ssd/packages/curl/8.11.1/4.fc42", link)
	r := s.mustCopy(t)
	want := []hardlink.Kept{
		{Path: "vol/staged/packages/glibc/2.41/5.fc42", Why: "not made by kojisnap", Wanted: true},
		{Path: "packages/bash/5.2.37/3.fc42", Why: "staging's own"},
		{Path: "packages/curl/8.11.1/4.fc42", Why: `staging's own symlink to "../../../vol/stg_ssd/packages/curl/8.11.1/4.fc42"`},
	}
	if !slices.Equal(r.Kept, want) {
		t.Errorf("kept %+v\nwant %+v", r.Kept, want)
	}
	s.staysOnProd(t, "packages/glibc/2.41/5.fc42")
	// A file of ours that staging changed, and one that it put into our build.
	changed := filepath.Join(s.top, "vol/staged", bashDir, bashRPM)
	other := mustRead(t, filepath.Join(s.top, "vol/staged/packages/nginx/1.28.0/1.fc42/x86_64/nginx-1.28.0-1.fc42.x86_64.rpm"))
	damage(t, changed, func([]byte) []byte { return other })
	r = s.mustCopy(t, func(o *hardlink.Options) { o.Audit = true })
	if !slices.Contains(r.Kept, hardlink.Kept{Path: "vol/staged/" + bashDir + "/" + bashRPM, Why: "not as kojisnap left it", Wanted: true}) || r.Builds != 0 {
		t.Errorf("report %+v", r)
	}
	added := filepath.Join(s.top, "vol/staged/packages/nginx/1.28.0/1.fc42/data/signed/deadbeef/mine.rpm")
	if err := os.MkdirAll(filepath.Dir(added), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(added, []byte("staging's"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.input = volumes.Input{}
	r = s.removeRest(t)
	if r.Removed != len(volumestest.Input(t).Builds)-3 { // and the foreign one
		t.Errorf("removed %d", r.Removed)
	}
	for _, p := range []string{own, foreign, added, changed} {
		if !strings.HasSuffix(string(mustRead(t, p)), "staging's") && p != changed {
			t.Errorf("%s was changed", p)
		}
	}
	if target, err := os.Readlink(link); err != nil || !strings.Contains(target, "stg_ssd") {
		t.Errorf("%s -> %s, %v", link, target, err)
	}
	if len(r.Kept) != 2 {
		t.Errorf("kept %+v, want the two builds that staging touched", r.Kept)
	}
}

// noRows is a database that names no build.
func noRows(context.Context, []volumes.Build) (map[string]string, error) { return nil, nil }

// removeRest does what a run does at its end.
func (s *site) removeRest(t testing.TB, change ...func(*hardlink.Options)) hardlink.Report {
	t.Helper()
	e := s.engine(t, change...)
	a, err := e.DiffRemove(t.Context(), s.plan(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Apply(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A newer build takes the place of an older one: the older one goes back to the
// read-only volume, its symlink first.
func TestWhatCanGoGoes(t *testing.T) {
	s := newSite(t)
	all := s.input
	s.mustCopy(t)
	s.input = volumestest.Split(all, func(b volumes.BuildFiles) bool { return b.Name != "bash" })
	r := s.mustCopy(t)
	bashes := len(s.input.Others)
	if r.Links != bashes || r.Builds != 0 || bashes < 2 {
		t.Errorf("report %+v, want %d links switched", r, bashes)
	}
	r = s.removeRest(t)
	if r.Removed != bashes || r.RemovedFiles == 0 || r.RemovedBytes == 0 || r.RemovedLinks != 0 {
		t.Errorf("report %+v, want %d builds removed", r, bashes)
	}
	s.check(t)
	if _, err := os.Lstat(filepath.Join(s.top, "vol/staged/packages/bash")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty directories stay: %v", err)
	}
	// A build that left the scope altogether keeps its symlink as long as the database may
	// name it.
	s.input.Others = nil
	if r = s.removeRest(t); r.RemovedLinks != 0 || r.Removed != 0 {
		t.Errorf("report %+v", r)
	}
	if r = s.removeRest(t, func(o *hardlink.Options) { o.Rows = noRows }); r.RemovedLinks != bashes || r.Removed != 0 {
		t.Errorf("report %+v", r)
	}
	s.input = all
	s.mustCopy(t)
	s.check(t)
}

// With another directory as the only source that has some of the files, and the web.
func TestSeveralSources(t *testing.T) {
	s := newSite(t)
	var asked []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		http.StripPrefix("/kojifiles", http.FileServer(http.Dir(s.prod))).ServeHTTP(w, r)
	}))
	defer web.Close()
	r := s.mustCopy(t, func(o *hardlink.Options) {
		o.Sources = []string{t.TempDir(), web.URL + "/kojifiles"}
		o.Jobs = 1
	})
	if n := s.check(t); r.Fetched != n || len(asked) < n {
		t.Errorf("fetched %d of %d", r.Fetched, n)
	}
}

func TestWebThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		handler   http.HandlerFunc
		temporary bool
	}{
		"overloaded": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "later", http.StatusServiceUnavailable) }, true},
		"cut short": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			w.Write(make([]byte, 10))
		}, true},
		"html":      {func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>welcome</html>")) }, false},
		"forbidden": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			web := httptest.NewServer(c.handler)
			defer web.Close()
			_, err := s.copy(t, func(o *hardlink.Options) { o.Sources, o.RetryInterval = []string{web.URL}, time.Millisecond })
			var temporary *retry.TemporaryError
			if err == nil || errors.As(err, &temporary) != c.temporary {
				t.Errorf("error %v; temporary should be %v", err, c.temporary)
			}
			s.wholeOrAbsent(t)
			if got := files(t, filepath.Join(s.top, "vol/staged/packages")); len(got) != 0 {
				t.Errorf("files %q", got)
			}
		})
	}
}

// Two at a time on one topdir.
func TestLocked(t *testing.T) {
	s := onlyBash(t)
	var inner error
	s.mustCopy(t, func(o *hardlink.Options) {
		o.Jobs = 1
		o.Progress = &canceller{after: 2, cancel: func() { _, inner = s.copy(t) }}
	})
	if !errors.Is(inner, lockfile.ErrLocked) {
		t.Errorf("error %v, want %v", inner, lockfile.ErrLocked)
	}
}

func TestBwLimit(t *testing.T) {
	s := onlyBash(t)
	e := s.engine(t)
	a, err := e.Diff(t.Context(), s.plan(t))
	if err != nil {
		t.Fatal(err)
	}
	const rate = 1 << 20
	begin := time.Now()
	s.mustCopy(t, func(o *hardlink.Options) { o.BwLimit = rate })
	least := time.Duration(float64(a.Bytes()) / rate * float64(time.Second))
	if took := time.Since(begin); took < least {
		t.Errorf("%d bytes in %v, at %d a second that takes %v", a.Bytes(), took, rate, least)
	}
}

// A source keeps to its own limit and to that of all, and to no other's: the first source here
// would need weeks for a file.
func TestSourceLimits(t *testing.T) {
	for _, test := range []struct {
		all   int64
		of    func(first, second string) map[string]int64
		asked func(first, second string) []string
	}{
		{0, func(first, _ string) map[string]int64 { return map[string]int64{first: 1} },
			func(_, _ string) []string { return nil }},
		{1 << 40, func(first, _ string) map[string]int64 { return map[string]int64{first: 1} },
			func(_, _ string) []string { return []string{"all"} }},
		{1 << 40, func(first, second string) map[string]int64 { return map[string]int64{first: 1, second: 1 << 40} },
			func(_, second string) []string { return []string{second, "all"} }},
		{0, func(first, second string) map[string]int64 { return map[string]int64{second: 1 << 40} },
			func(_, second string) []string { return []string{second} }},
	} {
		s := onlyBash(t)
		web := httptest.NewServer(http.FileServer(http.Dir(s.prod)))
		defer web.Close()
		for _, second := range []string{s.prod, web.URL} {
			first := t.TempDir()
			s.top = t.TempDir()
			e := s.engine(t, func(o *hardlink.Options) {
				o.Sources, o.BwLimit, o.SourceLimits = []string{first, second}, test.all, test.of(first, second)
			})
			a, err := e.Diff(t.Context(), s.plan(t))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Apply(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			s.check(t)
			if got, want := e.Limited(), test.asked(first, second); !slices.Equal(got, want) {
				t.Errorf("limits kept: %q, want %q", got, want)
			}
		}
	}
}

// A dry run is stable, complete and can be had as JSON.
func TestActionsPrinted(t *testing.T) {
	s := onlyBash(t)
	s.want.SigKeys = []string{"41526f0e"}
	if err := os.Remove(filepath.Join(s.prod, bashDir, bashSigned)); err != nil {
		t.Fatal(err)
	}
	e := s.engine(t)
	var printed [2]string
	for i := range printed {
		a, err := e.Diff(t.Context(), s.plan(t))
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		n, err := a.WriteTo(&b)
		if err != nil || n != int64(b.Len()) {
			t.Errorf("%d bytes of %d, %v", n, b.Len(), err)
		}
		printed[i] = strings.ReplaceAll(b.String(), s.prod, "PROD")
		if j, err := json.Marshal(a); err != nil || !json.Valid(j) {
			t.Error(err)
		}
	}
	if printed[0] != printed[1] {
		t.Errorf("two dry runs differ:\n%s\n%s", printed[0], printed[1])
	}
	lines := strings.Split(printed[0], "\n")
	for _, want := range []string{
		"link vol/prod/packages -> PROD/packages",
		"link vol/prod_archive01/packages -> PROD/vol/archive01/packages",
		"splice vol/staged/" + bashDir + "/" + bashSigned + " 6439 bytes",
		"hardlink vol/staged/" + bashDir + "/" + bashSig + " 4408 bytes",
		"symlink vol/staged/" + bashDir + "/" + bashRPM + " -> " + s.top + "/vol/prod/" + bashDir + "/" + bashRPM,
		"link " + bashDir + " -> ../../../vol/staged/" + bashDir,
		"link packages/glibc/2.41/1.fc42 -> ../../../vol/prod_archive01/packages/glibc/2.41/1.fc42",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, printed[0])
		}
	}
	if len(files(t, s.top)) != 0 {
		t.Error("a dry run wrote something")
	}
}
