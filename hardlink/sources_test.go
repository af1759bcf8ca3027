package hardlink_test

import (
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

	"kojisnap/hardlink"
	"kojisnap/hardlink/content"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/retry"
)

// If one source does not give a good file, another does. A signed copy can be made of parts from several
// sources.
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

// One error has the errors of all sources.
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

// If no source has a file, the build is left out and named, also by Diff.
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

// Files come from a directory that has only some of them, and from the web.
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

// A source keeps its own limit and the common one, and no other source's: with the limit of the first source
// here, a file would take weeks.
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
