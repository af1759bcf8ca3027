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

// TestCopyFromS3: a bucket is a source like others, and its trouble has its exit code and a line.
func TestCopyFromS3(t *testing.T) {
	rows := modularRows(t)
	hub := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	defer hub.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	srv := s3test.Start(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	prod, store := t.TempDir(), t.TempDir()
	if err := kojiprod.ExtractTree(prod); err != nil {
		t.Fatal(err)
	}
	kojisnapOK(t, "pull", "--hub", hub.URL+"/kojihub", "--tag", "f42-compose", "--store", store)
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
		if err := os.Symlink(prod, link); err != nil {
			t.Fatal(err)
		}
		out, errs, code := kojisnapRun(t, copies(topdir, test.args...)...)
		if code != test.code || out != "" || !strings.Contains(errs, test.want) || len(lines(errs)) > 12 || strings.Count(errs, "left out") > 1 {
			t.Errorf("%q: %d, %q, %q", test.args, code, out, errs)
		}
	}
	topdir := t.TempDir()
	at := srv.Upload(t, prod)
	kojisnapOK(t, copies(topdir, "--source", at, "--env", "good")...)
	made, err := filepath.Glob(filepath.Join(topdir, "vol/staged/packages/bash/*/*/x86_64/*.rpm"))
	if err != nil || len(made) == 0 {
		t.Errorf("files %q, %v", made, err)
	}
	if out := kojisnapOK(t, copies(topdir, "--source", at, "--env", "good", "--dry-run")...); strings.Contains(out, "fetch ") {
		t.Errorf("left to do: %s", out)
	}
}

// TestCopyShards: the command's flags, exit codes and documents; a bucket as source lists what no row names.
func TestCopyShards(t *testing.T) {
	rows := modularRows(t)
	hub := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	defer hub.Close()
	srv := s3test.Start(t)
	prod, store, topdir := t.TempDir(), t.TempDir(), t.TempDir()
	if err := kojiprod.ExtractTree(prod); err != nil {
		t.Fatal(err)
	}
	const log = "packages/bash/5.3.0/2.fc42/data/logs/x86_64/build.log"
	if err := os.MkdirAll(filepath.Dir(filepath.Join(prod, log)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(prod, log), []byte("built"), 0o644); err != nil {
		t.Fatal(err)
	}
	kojisnapOK(t, "pull", "--hub", hub.URL+"/kojihub", "--tag", "f42-compose", "--store", store)
	at := srv.Upload(t, prod)
	shards := func(more ...string) []string {
		return append([]string{"copy", "--store", store, "--topdir", topdir, "--source", at, "--builds", "all"}, more...)
	}
	for _, bad := range []string{"0/4", "5/4", "x/y", "1", "4+1/4"} {
		if out, errs, code := kojisnapRun(t, shards("--shard", bad)...); code != exit.Usage || out != "" || !strings.Contains(errs, "--shard") {
			t.Errorf("--shard %s: %d, %q, %q", bad, code, out, errs)
		}
	}
	if _, errs, code := kojisnapRun(t, "copy", "--store", store, "--topdir", topdir, "--source", at, "--shard", "1/2"); code != exit.Usage || !strings.Contains(errs, "--builds all") {
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
	if text, err := os.ReadFile(filepath.Join(topdir, "vol/staged", log)); string(text) != "built" {
		t.Errorf("the log: %q, %v", text, err)
	}
	if out := kojisnapOK(t, shards("--status", "--json")...); !strings.Contains(out, `"done": 1`) && !strings.Contains(out, `"done":1`) {
		t.Errorf("status: %s", out)
	}
}
