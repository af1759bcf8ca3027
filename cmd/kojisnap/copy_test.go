package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/store/s3/s3test"
)

// bucketSite is production with its files in a bucket, and a store with a snapshot of it.
type bucketSite struct{ prod, at, store string }

// loggedBuild is a file of the bucket that no row names.
const loggedBuild = "packages/bash/5.3.0/2.fc42/data/logs/x86_64/build.log"

// TestCopyFromBucket: a bucket is a source like others.
func TestCopyFromBucket(t *testing.T) {
	hub := httptest.NewServer(hubtest.New(modularRows(t), hubtest.Options{}))
	defer hub.Close()
	srv := s3test.Start(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	s := bucketSite{prod: t.TempDir(), store: t.TempDir()}
	if err := kojiprod.ExtractTree(s.prod); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(s.prod, loggedBuild)), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.prod, loggedBuild), "built")
	kojisnapOK(t, "pull", "--hub", hub.URL+"/kojihub", "--tag", "f42-compose", "--store", s.store)
	s.at = srv.Upload(t, s.prod)
	t.Run("shards", s.shards)
	t.Run("builds", s.builds)
}

// ownStore is a copy of the store: a store knows what was copied of it.
func (s bucketSite) ownStore(t *testing.T) string {
	t.Helper()
	own := t.TempDir()
	if err := os.CopyFS(own, os.DirFS(s.store)); err != nil {
		t.Fatal(err)
	}
	return own
}

// builds: all that a compose takes is copied from the bucket, whose trouble has its exit code and a line.
func (s bucketSite) builds(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	store := s.ownStore(t)
	copies := func(topdir string, more ...string) []string {
		return append([]string{"copy", "--store", store, "--topdir", topdir, "--builds", "latest", "--writable-source"}, more...)
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--source", "s3://no-such-bucket-of-kojisnap/p"}, exit.Error, "the bucket no-such-bucket-of-kojisnap does not exist"},
		{[]string{"--source", "s3://bucket/p?endpoint=" + gone.URL}, exit.Later, "cannot be reached"},
		{[]string{"--source", "s3://bucket/p?what=ever"}, exit.Usage, "no option"},
		{[]string{"--source", "gs://bucket/p"}, exit.Usage, "no way to read from gs://"},
		{[]string{"--source", "http://"}, exit.Usage, "want http://HOST/PATH"},
	} {
		topdir := t.TempDir()
		link := filepath.Join(topdir, "vol/prod")
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(s.prod, link); err != nil {
			t.Fatal(err)
		}
		out, errs, code := kojisnapRun(t, copies(topdir, test.args...)...)
		if code != test.code || out != "" || !strings.Contains(errs, test.want) || len(lines(errs)) > 12 || strings.Count(errs, "left out") > 1 {
			t.Errorf("%q: %d, %q, %q", test.args, code, out, errs)
		}
	}
	topdir := t.TempDir()
	kojisnapOK(t, copies(topdir, "--source", s.at, "--env", "good")...)
	made, err := filepath.Glob(filepath.Join(topdir, "vol/staged/packages/bash/*/*/x86_64/*.rpm"))
	if err != nil || len(made) == 0 {
		t.Errorf("files %q, %v", made, err)
	}
	if out := kojisnapOK(t, copies(topdir, "--source", s.at, "--env", "good", "--dry-run")...); strings.Contains(out, "fetch ") {
		t.Errorf("left to do: %s", out)
	}
}

// shards: the command's flags, exit codes and documents; a bucket as source lists what no row names.
func (s bucketSite) shards(t *testing.T) {
	topdir, store := t.TempDir(), s.ownStore(t)
	shards := func(more ...string) []string {
		return append([]string{"copy", "--store", store, "--topdir", topdir, "--source", s.at, "--builds", "all"}, more...)
	}
	for _, bad := range []string{"0/4", "5/4", "x/y", "1", "4+1/4"} {
		if out, errs, code := kojisnapRun(t, shards("--shard", bad)...); code != exit.Usage || out != "" || !strings.Contains(errs, "--shard") {
			t.Errorf("--shard %s: %d, %q, %q", bad, code, out, errs)
		}
	}
	if _, errs, code := kojisnapRun(t, "copy", "--store", store, "--topdir", topdir, "--source", s.at, "--shard", "1/2"); code != exit.Usage || !strings.Contains(errs, "--builds all") {
		t.Errorf("--shard alone: %d, %q", code, errs)
	}
	if _, errs, code := kojisnapRun(t, shards("--status")...); code != exit.Error || !strings.Contains(errs, "there is no plan") {
		t.Errorf("status before: %d, %q", code, errs)
	}
	out, errs, code := kojisnapRun(t, shards("--dry-run")...)
	if list, err := os.ReadDir(topdir); code != exit.NotReady || !strings.Contains(out, "files to make") || err != nil || len(list) > 0 {
		t.Errorf("dry run: %d, %q, %q, topdir has %v", code, out, errs, list)
	}
	kojisnapOK(t, shards("--shard", "2/2")...) // there is one shard, and it is the first worker's
	if out, errs, code = kojisnapRun(t, shards("--status")...); code != exit.NotReady || !strings.Contains(errs, "1 of 1 shards are not whole") || !strings.Contains(out, "0 of 1 shards whole") {
		t.Errorf("status of nothing: %d, %q, %q", code, out, errs)
	}
	kojisnapOK(t, shards("--shard", "0+1/2")...)
	if text, err := os.ReadFile(filepath.Join(topdir, "vol/staged", loggedBuild)); string(text) != "built" {
		t.Errorf("the log: %q, %v", text, err)
	}
	if out := kojisnapOK(t, shards("--status", "--json")...); !strings.Contains(out, `"done": 1`) && !strings.Contains(out, `"done":1`) {
		t.Errorf("status: %s", out)
	}
}
