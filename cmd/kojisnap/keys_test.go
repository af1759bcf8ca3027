package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
)

// TestKeygen makes a key once, and never again in its place.
func TestKeygen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sign.key")
	out, errs, code := kojisnapRun(t, "keygen", file, "--dry-run")
	if code != exit.NotReady || out != "write "+file+"\nwrite "+file+".pub\n" || errs != "" {
		t.Errorf("dry run: %d, %q, %q", code, out, errs)
	}
	if _, err := os.Lstat(file); err == nil {
		t.Error("a dry run made a key")
	}
	id := strings.TrimSuffix(kojisnapOK(t, "keygen", file), "\n")
	if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(id) {
		t.Errorf("keygen printed %q", id)
	}
	for name, mode := range map[string]fs.FileMode{file: 0o600, file + ".pub": 0o644} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"--quiet", "--dry-run"} {
		out, errs, code := kojisnapRun(t, "keygen", file, more)
		if code != exit.Usage || out != "" || len(lines(errs)) != 1 || !strings.Contains(errs, file) {
			t.Errorf("again %s: %d, %q, %q", more, code, out, errs)
		}
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the key was written over: %v", err)
	}
	var made struct{ ID, Private, Public string }
	other := filepath.Join(t.TempDir(), "other")
	if err := json.Unmarshal([]byte(kojisnapOK(t, "keygen", other, "--json")), &made); err != nil || made.Private != other || made.Public != other+".pub" || made.ID == id || made.ID == "" {
		t.Errorf("%+v, %v", made, err)
	}
	if _, errs, code := kojisnapRun(t, "keygen", filepath.Join(t.TempDir(), "none", "key")); code != exit.Error || len(lines(errs)) != 1 {
		t.Errorf("into a directory that is not there: %d, %q", code, errs)
	}
}

// TestKeyFlags: a key that is of no use is wrong usage of every command that takes one, wherever it is
// given, before anything is done.
func TestKeyFlags(t *testing.T) {
	store := t.TempDir()
	private := filepath.Join(t.TempDir(), "key")
	kojisnapOK(t, "keygen", private)
	open := filepath.Join(t.TempDir(), "open")
	body, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, open, string(body))
	pull := []string{"pull", "--hub", "http://127.0.0.1:1/kojihub", "--tag", "f42", "--store", store}
	common := []string{"--store", store}
	config := func(section, key, file string) string {
		name := filepath.Join(t.TempDir(), "c.toml")
		write(t, name, section+"\n"+key+" = ["+`"`+file+`"`+"]\n")
		return name
	}
	one := filepath.Join(t.TempDir(), "one.toml")
	write(t, one, "[pull]\nsign-key = \""+open+"\"\n")
	for _, c := range []struct {
		args []string
		says string
	}{
		{append(pull, "--sign-key", open), "chmod o="},
		{append(pull, "-c", one), "chmod o="},
		{append(pull, "--sign-key", private+".pub"), "holds a PUBLIC KEY"},
		{append(pull, "--verify-key", private+".pub"), "--sign-key"},
		{append(pull, "-c", config("", "verify-key", private+".pub")), "--sign-key"},
		{append([]string{"load", "--db", "dbname=x", "--verify-key", private}, common...), "holds a private key"},
		{append([]string{"load", "--db", "dbname=x", "-c", config("[load]", "verify-key", private)}, common...), "holds a private key"},
		{append([]string{"copy", "--topdir", store, "--source", store, "-c", config("[copy]", "verify-key", private)}, common...), "holds a private key"},
		{append([]string{"verify", "--hub", "http://127.0.0.1:1/kojihub", "-c", config("[verify]", "verify-key", private)}, common...), "holds a private key"},
		{append([]string{"show", "latest", "--verify-key", store + "/none"}, common...), "no such file"},
		{append([]string{"diff", "latest", "latest", "-c", config("[diff]", "verify-key", private)}, common...), "holds a private key"},
		{append([]string{"status", "--db", "dbname=x", "-c", config("", "verify-key", private)}, common...), "holds a private key"},
		{append([]string{"sync", "--db", "dbname=x", "--hub", "http://127.0.0.1:1/kojihub", "--staging-hub", "http://127.0.0.1:2/kojihub", "--tag", "f42", "--topdir", store, "--source", store,
			"-c", config("[sync]", "verify-key", private)}, common...), "holds a private key"},
	} {
		out, errs, code := kojisnapRun(t, c.args...)
		if code != exit.Usage || out != "" || len(lines(errs)) != 1 || !strings.Contains(errs, c.says) || !strings.Contains(errs, "-key") {
			t.Errorf("%q: %d, %q, %q, want %q", c.args, code, out, errs, c.says)
		}
	}
	left, err := os.ReadDir(store)
	if err != nil || len(left) > 0 {
		t.Errorf("something was done: %v, %v", left, err)
	}
}
