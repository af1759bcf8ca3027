package repository_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/s3/s3test"
)

// TestFullStore pulls into a real file system with so much room, then some pages more, until it is
// enough: the earlier snapshot stays readable each time, and with room the same pull completes.
func TestFullStore(t *testing.T) {
	mount := pulltest.Tmpfs(t, "4m")
	template := pulltest.NewStore(t)
	c, _ := pulltest.Production(t, hubtest.Options{})
	pullFrom(t, c, template, 300, nil)
	opt := pull.Options{Tags: []string{scope()}, Event: pulltest.LastEvent, Program: "test"}
	met := map[string]bool{}
	// try returns the kind of object that there was no room for.
	try := func(pages int, opt pull.Options) (where string) {
		t.Helper()
		at := filepath.Join(mount, "store")
		pulltest.Must(t, os.CopyFS(at, os.DirFS(template.String())))
		defer os.RemoveAll(at)
		s, err := dir.Open(at)
		pulltest.Must(t, err)
		before := objects(t, s, "snapshots/")
		filler := fill(t, mount, pages)
		defer os.Remove(filler)
		_, err = pull.Pull(t.Context(), c, s, opt)
		if err == nil {
			return ""
		}
		put := putRE.FindStringSubmatch(err.Error())
		if oneLine(t, err, at, "make room"); !errors.Is(err, syscall.ENOSPC) || put == nil {
			t.Fatalf("%d pages: %v", pages, err)
		}
		if got := objects(t, s, "snapshots/"); !slices.Equal(got, before) {
			t.Errorf("%d pages: snapshots %q", pages, got)
		}
		checkWhole(t, s)
		if left := objects(t, s, "locks/"); len(left) > 0 {
			t.Errorf("%d pages: %q is left", pages, left)
		}
		noTemps(t, at)
		if !met[put[1]] {
			met[put[1]] = true
			pulltest.Must(t, os.Remove(filler))
			if _, err := pull.Pull(t.Context(), c, s, opt); err != nil {
				t.Errorf("with room again: %v", err)
			}
			checkWhole(t, s)
		}
		return put[1]
	}
	// A manifest is of more than 4 pages.
	for pages := 0; try(pages, opt) != ""; pages += 4 {
	}
	if got, want := slices.Sorted(maps.Keys(met)), []string{"locks", "pulls", "segments", "snapshots"}; !slices.Equal(got, want) {
		t.Errorf("the file system was full at %q, want %q", got, want)
	}
	opt.Tags = []string{"f43-build"} // without a base
	if where := try(2, opt); where != "pulls" {
		t.Errorf("the file system was full at %q", where)
	}
}

var putRE = regexp.MustCompile(`(?:put|create) (\w+)/`)

// fill fills a file system but for some pages.
func fill(t testing.TB, mount string, pages int) (filler string) {
	t.Helper()
	filler = filepath.Join(mount, "filler")
	f, err := os.Create(filler)
	pulltest.Must(t, err)
	defer f.Close()
	page := make([]byte, os.Getpagesize())
	size := 0
	for err == nil {
		size++
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	pulltest.Must(t, f.Truncate(int64((size-1-pages)*len(page))))
	return filler
}
func noTemps(t testing.TB, at string) {
	t.Helper()
	pulltest.Must(t, filepath.WalkDir(at, func(path string, d fs.DirEntry, err error) error {
		if durable.IsTemp(filepath.Base(path)) {
			t.Errorf("%s is left", path)
		}
		return err
	}))
}

// TestFullServer is TestFullStore at two places, on a server.
func TestFullServer(t *testing.T) {
	mount := pulltest.Tmpfs(t, "4m")
	s := s3test.StartIn(t, mount).Open(t)
	c, _ := pulltest.Production(t, hubtest.Options{})
	pullFrom(t, c, s, 300, nil)
	before := objects(t, s, "snapshots/")
	for pages, where := range map[int]string{0: "put locks/", 12: "put pulls/"} {
		filler := fill(t, mount, pages)
		_, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: []string{scope()}, Event: pulltest.LastEvent, Program: "test"})
		if oneLine(t, err, where, s.String(), "no room", "make room"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d pages: %v", pages, err)
		}
		if got := objects(t, s, "snapshots/"); !slices.Equal(got, before) {
			t.Errorf("%d pages: snapshots %q", pages, got)
		}
		checkWhole(t, s)
		if left := objects(t, s, "locks/"); len(left) > 0 {
			t.Errorf("%d pages: %q is left", pages, left)
		}
		pulltest.Must(t, os.Remove(filler))
	}
	pullFrom(t, c, s, pulltest.LastEvent, nil)
	checkWhole(t, s)
}

// TestPruneFull: a prune makes room where there is none, not even for its lease.
func TestPruneFull(t *testing.T) {
	mount := pulltest.Tmpfs(t, "4m")
	at, err := dir.Open(mount)
	pulltest.Must(t, err)
	s := &tampered{Store: at, age: 48 * time.Hour}
	pullTo(t, s, 300, nil)
	latest := pullTo(t, s, pulltest.LastEvent, nil)
	fill(t, mount, 0)
	if err := s.Put(t.Context(), "ledgers/stg", strings.NewReader("1")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the file system is not full: %v", err)
	}
	r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Kept, []string{latest}) || len(r.Removed) != 1 || len(r.Segments) == 0 {
		t.Errorf("%+v", r)
	}
	checkWhole(t, s)
	pulltest.Must(t, s.Put(t.Context(), "ledgers/stg", strings.NewReader("1")))
}
