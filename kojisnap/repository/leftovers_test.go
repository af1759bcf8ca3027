package repository_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/s3/s3test"
)

// TestLeftByOthers pulls and prunes where another machine left what it had begun, and where
// somebody keeps what is none of ours.
func TestLeftByOthers(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	want := pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, scope())
	eachStoreInTime(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := open(t)
		put := func(name, body string) {
			t.Helper()
			pulltest.Must(t, s.Put(t.Context(), name, strings.NewReader(body)))
		}
		put("locks/write-", "\x00\xff garbage")
		put("locks/of-whom", "")
		put("segments/"+strings.Repeat("0", 64)+".zst", "no segment")
		put(want.Relation("build").Segments[0].Object(), "half of") // as no store of ours leaves it
		put("segments/notes.txt", "somebody's own")
		put("snapshots/300-nothing.json", "{")
		put("snapshots/notes.txt", "somebody's own")
		put("pulls/state", "{}")
		put("pulls/0123456789abcdef/state", "of another version")
		before := objects(t, s, "")
		id := pullTo(t, s, pulltest.LastEvent, nil)
		snap, err := repository.Open(t.Context(), s, id)
		pulltest.Must(t, err)
		if !reflect.DeepEqual(snap.Manifest.Relations, want.Manifest.Relations) {
			t.Error("not what a pull into an empty store gives")
		}
		needed := checkWhole(t, s)
		for _, name := range before {
			if !slices.Contains(objects(t, s, ""), name) {
				t.Errorf("the pull removed %s", name)
			}
		}
		// The holder of the lease may still write.
		r, err := repository.Prune(t.Context(), &tampered{Store: s, age: 48 * time.Hour}, repository.PruneOptions{Keep: 1})
		if err != nil || !r.Writing || len(r.Segments) > 0 || !slices.Equal(r.Parts, []string{"pulls/0123456789abcdef/state", "pulls/state"}) {
			t.Errorf("prune: %+v, %v", r, err)
		}
		pulltest.Must(t, s.Delete(t.Context(), "locks/write-"))
		r, err = repository.Prune(t.Context(), &tampered{Store: s, age: 48 * time.Hour}, repository.PruneOptions{Keep: 1})
		if err != nil || r.Writing || !slices.Equal(r.Segments, []string{"segments/" + strings.Repeat("0", 64) + ".zst"}) {
			t.Errorf("prune: %+v, %v", r, err)
		}
		left := append([]string{"locks/of-whom", "segments/notes.txt", "snapshots/300-nothing.json", "snapshots/" + id + ".json", "snapshots/notes.txt"}, needed...)
		slices.Sort(left)
		if got := objects(t, s, ""); !slices.Equal(got, left) {
			t.Errorf("left:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(left, "\n"))
		}
	})
}

// TestLeasesOfTheFuture: a host whose clock was wrong hinders nobody.
func TestLeasesOfTheFuture(t *testing.T) {
	s := pulltest.NewStore(t)
	pullTo(t, s, 300, nil)
	for _, name := range []string{"locks/write-future", "locks/prune-future"} {
		pulltest.Must(t, s.Put(t.Context(), name, strings.NewReader("gone 1\n")))
		then := time.Now().AddDate(10, 0, 0)
		pulltest.Must(t, os.Chtimes(filepath.Join(s.String(), name), then, then))
	}
	pullTo(t, s, pulltest.LastEvent, nil) // does not wait
	r, err := repository.Prune(t.Context(), &tampered{Store: s, age: 48 * time.Hour}, repository.PruneOptions{Keep: 1})
	if err != nil || r.Writing || len(r.Segments) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if left := objects(t, s, "locks/"); len(left) > 0 {
		t.Errorf("leases left: %q", left)
	}
}

// TestPruneLeftovers: parts of pulls that nobody goes on with, and what writers that were killed
// left half-written, go when they are 24 hours old.
func TestPruneLeftovers(t *testing.T) {
	test := func(t *testing.T, at store.Store, leave func(name string) string) {
		s, warned := &tampered{Store: at}, new(warnings)
		pullTo(t, s, 300, nil)
		parts := []string{"pulls/0123456789abcdef/history-00", "pulls/0123456789abcdef/state"}
		for _, name := range parts {
			pulltest.Must(t, s.Put(t.Context(), name, strings.NewReader("of a pull that was cut off")))
		}
		half := []string{leave("pulls/0123456789abcdef/history-01"), leave("segments/" + strings.Repeat("0", 64) + ".zst"), leave("snapshots/300-0123456789ab.json")}
		all := objects(t, s, "")
		prune := func(age time.Duration, dryRun bool) *repository.PruneResult {
			t.Helper()
			s.age = age
			r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 2, DryRun: dryRun, Log: slog.New(warned)})
			pulltest.Must(t, err)
			return r
		}
		if r := prune(23*time.Hour, false); len(r.Parts)+len(r.Unfinished) > 0 || !slices.Equal(objects(t, s, ""), all) {
			t.Errorf("after 23 hours: %+v", r)
		}
		said := prune(25*time.Hour, true)
		if !slices.Equal(said.Parts, parts) || !slices.Equal(said.Unfinished, half) || !slices.Equal(objects(t, s, ""), all) {
			t.Errorf("after 25 hours: %+v, want %q and %q", said, parts, half)
		}
		if done := prune(25*time.Hour, false); !reflect.DeepEqual(done, said) {
			t.Errorf("done: %+v\nsaid: %+v", done, said)
		}
		if left := objects(t, s, "pulls/"); len(left) > 0 {
			t.Errorf("parts left: %q", left)
		}
		// A pull takes away what is half-written too.
		leave("segments/" + strings.Repeat("1", 64) + ".zst")
		pullTo(t, s, pulltest.LastEvent, nil)
		if r := prune(25*time.Hour, false); len(r.Unfinished) > 0 {
			t.Errorf("after a pull: %q", r.Unfinished)
		}
		checkWhole(t, s)
		warned.check(t)
	}
	t.Run("dir", func(t *testing.T) {
		s := pulltest.NewStore(t)
		test(t, s, func(name string) string {
			t.Helper()
			name = filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".tmp-kojisnap-0123456789abcdef")
			pulltest.Must(t, os.WriteFile(filepath.Join(s.String(), name), []byte("half of"), 0o600))
			return name
		})
	})
	t.Run("s3", func(t *testing.T) {
		srv := s3test.Start(t)
		if srv.Endpoint == "" {
			t.Skip("KOJISNAP_TEST_S3 is given: no uploads are begun there that another could not end")
		}
		s := srv.Open(t)
		bucket, prefix, _ := strings.Cut(strings.TrimPrefix(s.String(), "s3://"), "/")
		test(t, s, func(name string) string {
			t.Helper()
			_, err := srv.Client().CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: &bucket, Key: aws.String(prefix + "/" + name)})
			pulltest.Must(t, err)
			return name + " uploaded in part"
		})
	})
}

// TestTwoWriters: two pulls of the same tags at once, and one of others, do each other no harm.
func TestTwoWriters(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := open(t)
		c, _ := pulltest.Production(t, hubtest.Options{})
		var wg sync.WaitGroup
		for _, tag := range []string{scope(), scope(), "f43-build"} {
			wg.Go(func() {
				_, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: []string{tag}, Event: pulltest.LastEvent, Program: "test"})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		checkWhole(t, s)
		rows := map[string]string{}
		all, err := repository.Snapshots(t.Context(), s)
		pulltest.Must(t, err)
		for _, snap := range all {
			tag := snap.Manifest.Scope.Tags[0]
			of := strings.Join(pulltest.SnapshotRows(t, snap, "tag_listing"), "\n")
			if was, ok := rows[tag]; ok && was != of {
				t.Errorf("two snapshots of %s differ", tag)
			}
			rows[tag] = of
		}
		if len(rows) != 2 {
			t.Errorf("snapshots of %d scopes", len(rows))
		}
		if left := append(objects(t, s, "locks/"), objects(t, s, "pulls/")...); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
}
