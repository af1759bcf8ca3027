package repository_test

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/store/s3/s3test"
)

// TestReadOnlyStore: who may only read a store can do all that only reads, and a pull finds out
// before it asks the hub for anything but its version.
func TestReadOnlyStore(t *testing.T) {
	test := func(t *testing.T, writer, reader store.Store, protect func(), want string) {
		rows, err := hubtest.Rows(kojiprod.Rows())
		pulltest.Must(t, err)
		server := hubtest.New(rows, hubtest.Options{})
		c := pulltest.Client(t, server)
		early, late := pullFrom(t, c, writer, 300, nil), pullFrom(t, c, writer, 390, nil)
		before, asked := objects(t, writer, ""), server.Calls()
		protect()
		opt := pull.Options{Tags: []string{scope()}, Event: pulltest.LastEvent, Program: "test"}
		for _, full := range []bool{false, true} {
			opt.Full = full
			_, err := pull.Pull(t.Context(), c, reader, opt)
			oneLine(t, err, reader.String(), "the store takes nothing", want)
		}
		for method, n := range server.Calls() {
			if n -= asked[method]; n > 0 && method != "getKojiVersion" {
				t.Errorf("the hub was asked %s, %d times", method, n)
			}
		}
		opt.Full, opt.DryRun = false, true
		if r, err := pull.Pull(t.Context(), c, reader, opt); err != nil || r.Base != late {
			t.Errorf("a dry run: %+v, %v", r, err)
		}
		all, err := repository.Snapshots(t.Context(), reader)
		if err != nil || len(all) != 2 || all[0].ID != late || all[1].ID != early {
			t.Fatalf("snapshots: %v, %v", all, err)
		}
		checkWhole(t, reader)
		if d, err := repository.Diff(t.Context(), all[1], all[0], nil); err != nil || len(d.Relations) == 0 {
			t.Errorf("diff: %+v, %v", d, err)
		}
		if r, err := repository.Prune(t.Context(), reader, repository.PruneOptions{Keep: 1, DryRun: true}); err != nil || len(r.Removed) != 1 {
			t.Errorf("what a prune would do: %+v, %v", r, err)
		}
		_, err = repository.Prune(t.Context(), reader, repository.PruneOptions{Keep: 1})
		oneLine(t, err, reader.String(), "the store takes nothing", want)
		if after := objects(t, reader, ""); !slices.Equal(after, before) {
			t.Errorf("%q, before: %q", after, before)
		}
	}
	t.Run("dir", func(t *testing.T) {
		mount := pulltest.Tmpfs(t, "4m")
		s, err := dir.Open(mount)
		pulltest.Must(t, err)
		protect := func() { pulltest.Must(t, unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")) }
		test(t, s, s, protect, "read-only file system")
	})
	t.Run("s3", func(t *testing.T) {
		srv := s3test.Start(t)
		at := srv.URL(t)
		writer, err := s3.Open(t.Context(), at, s3.Options{})
		pulltest.Must(t, err)
		reader := srv.OpenAs(t, at, "s3:GetObject", "s3:ListBucket")
		test(t, writer, reader, func() {}, "access denied")
	})
}

// TestPruneDenied: a prune that may not remove tells so, and removes nothing; one that may not
// list uploads removes all else.
func TestPruneDenied(t *testing.T) {
	srv := s3test.Start(t)
	for _, may := range []struct {
		name    string
		actions []string
		denied  bool
	}{
		{"put only", []string{"s3:GetObject", "s3:PutObject", "s3:ListBucket"}, true},
		{"no uploads", []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}, false},
	} {
		t.Run(may.name, func(t *testing.T) {
			at := srv.URL(t)
			admin, err := s3.Open(t.Context(), at, s3.Options{})
			pulltest.Must(t, err)
			early := pullTo(t, admin, 300, nil)
			pullTo(t, admin, pulltest.LastEvent, nil)
			warned := new(warnings)
			s := &tampered{Store: srv.OpenAs(t, at, may.actions...), age: 48 * time.Hour}
			r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1, Log: slog.New(warned)})
			checkWhole(t, admin)
			if may.denied {
				oneLine(t, err, "delete snapshots/"+early+".json in "+s.String(), "access denied")
				if got := objects(t, admin, "snapshots/"); len(got) != 2 {
					t.Errorf("snapshots: %q", got)
				}
				warned.check(t, "stays until it lapses")
				return
			}
			if err != nil || !slices.Equal(r.Removed, []string{early}) || len(r.Segments) == 0 {
				t.Errorf("%+v, %v", r, err)
			}
			warned.check(t, "half-written stays")
		})
	}
}
