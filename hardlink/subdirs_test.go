package hardlink_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/volumes"
)

// generated is a site with a build of a content generator that has files in subdirectories. The database has
// only the last component of their paths.
func generated(t *testing.T, paths ...string) *site {
	t.Helper()
	s := &site{prod: filepath.Join(t.TempDir(), "prod"), top: filepath.Join(t.TempDir(), "koji")}
	b := volumes.BuildFiles{Build: volumes.Build{Name: "generated", Version: "1", Release: "1"}}
	root := s.prodDir(t, b.Build)
	type output struct {
		Filename     string `json:"filename"`
		Subdir       string `json:"subdir,omitempty"`
		Checksum     string `json:"checksum"`
		ChecksumType string `json:"checksum_type"`
	}
	var metadata struct {
		Output []output `json:"output"`
	}
	for _, p := range paths {
		text := []byte("content of " + p)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, "files/npm", p)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "files/npm", p), text, 0o644); err != nil {
			t.Fatal(err)
		}
		h := sha256.Sum256(text)
		sub, name := filepath.Split(p)
		metadata.Output = append(metadata.Output, output{name, strings.TrimSuffix(sub, "/"), hex.EncodeToString(h[:]), "sha256"})
		flat, err := volumes.TypePath("npm", name)
		if err != nil {
			t.Fatal(err)
		}
		b.Archives = append(b.Archives, volumes.ArchiveFile{Path: flat, BType: "npm", Size: int64(len(text)), Checksum: hex.EncodeToString(h[:]), ChecksumType: 2})
	}
	text, err := json.Marshal(metadata)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.WriteFile(filepath.Join(root, "metadata.json"), text, 0o644), os.Mkdir(s.top, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.input.Builds = []volumes.BuildFiles{b}
	return s
}

// Archives of content generators become regular files whatever their directory is: it is found in the
// metadata, or by a listing and the digests.
func TestArchivesInSubdirectories(t *testing.T) {
	paths := []string{"a/x.tgz", "b/c/x.tgz", "x.tgz", "y.tgz", "d/z.tgz"}
	for name, change := range map[string]func(metadata string) error{
		"by metadata":      func(string) error { return nil },
		"by listing":       os.Remove,
		"damaged metadata": func(p string) error { return os.WriteFile(p, []byte(`{"output": 7`), 0o644) },
		"hostile metadata": func(p string) error {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			b = []byte(strings.ReplaceAll(string(b), `"subdir":"`, `"subdir":"../../`))
			return os.WriteFile(p, b, 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := generated(t, paths...)
			root := s.prodDir(t, s.input.Builds[0].Build)
			if err := change(filepath.Join(root, "metadata.json")); err != nil {
				t.Fatal(err)
			}
			if r := s.mustCopy(t); r.Linked != len(paths) || r.Absent != 0 {
				t.Errorf("report %+v", r)
			}
			for _, p := range paths {
				path := filepath.Join(s.top, "vol/staged/packages/generated/1/1/files/npm", p)
				if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || string(mustRead(t, path)) != "content of "+p {
					t.Errorf("%s: %v", p, err)
				}
			}
			if _, err := os.Stat(filepath.Join(s.top, "vol/staged/packages/generated/1/1/metadata.json")); (err == nil) != (name != "by listing") {
				t.Errorf("metadata.json: %v", err)
			}
			if a := s.diff(t); a.Pending() || a.Present != len(paths) {
				t.Errorf("left to do: %+v", a)
			}
			if a := s.diff(t, audit); a.Pending() || a.Present != len(paths) || len(a.Kept) > 0 {
				t.Errorf("left to do for an audit: %+v", a)
			}
		})
	}
}

// If an archive or the metadata are damaged at one source, the next source's are used.
func TestArchivesInSubdirectoriesOfTheNextSource(t *testing.T) {
	paths := []string{"a/x.tgz", "b/c/x.tgz", "y.tgz"}
	for name, spoil := range map[string]func(t *testing.T, first, second string){
		"archive": func(t *testing.T, first, second string) {
			for _, root := range []string{first, second} {
				if err := os.Remove(filepath.Join(root, "metadata.json")); err != nil {
					t.Fatal(err)
				}
			}
			damage(t, filepath.Join(first, "files/npm/b/c/x.tgz"), flip(-1))
		},
		"metadata": func(t *testing.T, first, _ string) {
			damage(t, filepath.Join(first, "metadata.json"), func(b []byte) []byte { return b[:len(b)/2] })
			if err := os.RemoveAll(filepath.Join(first, "files")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := generated(t, paths...)
			second := filepath.Join(t.TempDir(), "second")
			if err := os.CopyFS(second, os.DirFS(s.prod)); err != nil {
				t.Fatal(err)
			}
			const build = "packages/generated/1/1"
			spoil(t, filepath.Join(s.prod, build), filepath.Join(second, build))
			r := s.mustCopy(t, func(o *hardlink.Options) { o.Sources = []string{s.prod, second} })
			if r.Linked+r.Copied+r.Reflinked != len(paths) || r.Absent != 0 {
				t.Errorf("report %+v", r)
			}
			for _, p := range paths {
				if string(mustRead(t, filepath.Join(s.top, "vol/staged", build, "files/npm", p))) != "content of "+p {
					t.Error(p)
				}
			}
		})
	}
}

// Over the web only the metadata show the directories. A file that is nowhere is not asked for again by each
// run.
func TestArchivesInSubdirectoriesOfTheWeb(t *testing.T) {
	s := generated(t, "a/x.tgz", "b/c/x.tgz", "y.tgz")
	asked := 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.FileServer(http.Dir(s.prod)).ServeHTTP(w, r)
	}))
	defer web.Close()
	gone := volumes.ArchiveFile{Path: "files/npm/gone.tgz", BType: "npm", Size: 1, Checksum: strings.Repeat("0", 64), ChecksumType: 2}
	s.input.Builds[0].Archives = append(s.input.Builds[0].Archives, gone)
	only := func(o *hardlink.Options) { o.ReadOnly, o.Sources, o.Jobs = "", []string{web.URL}, 1 }
	if r := s.mustCopy(t, only); r.Fetched != 3 || r.Absent != 1 {
		t.Errorf("report %+v", r)
	}
	for _, p := range []string{"a/x.tgz", "b/c/x.tgz", "y.tgz"} {
		if string(mustRead(t, filepath.Join(s.top, "vol/staged/packages/generated/1/1/files/npm", p))) != "content of "+p {
			t.Error(p)
		}
	}
	asked = 0
	if a := s.diff(t, only); a.Pending() || a.Present != 3 || a.Absent != 1 || asked > 0 {
		t.Errorf("asked %d times, left to do: %+v", asked, a)
	}
}
