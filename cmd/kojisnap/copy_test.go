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
