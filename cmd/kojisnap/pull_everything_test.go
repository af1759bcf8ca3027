package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/pull"
)

// TestPullEverything: pull --everything, by a flag or by the configuration, makes a snapshot of all tags, which is the
// latest of its own scope beside those of single tags, and of which load takes single tags.
func TestPullEverything(t *testing.T) {
	dsn, store := dbtest.Production(t), t.TempDir()
	c := filepath.Join(t.TempDir(), "kojisnap.toml")
	write(t, c, "store = \""+store+"\"\n[pull]\nhub = \""+unreachable+"\"\nfrom-db = \""+dsn+"\"\neverything = true\n")
	if out := kojisnapOK(t, "config", "check", "-c", c); strings.Contains(out, "everything") {
		t.Errorf("config check: %q", out)
	}
	out := kojisnapOK(t, "pull", "-c", c, "--event", "419", "--json")
	var r pull.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || !r.Scope.Everything || len(r.Scope.Tags) > 0 || len(r.Scope.All) < 20 {
		t.Fatalf("%v, %s", err, out)
	}
	tagged := strings.TrimSpace(kojisnapOK(t, "pull", "--hub", unreachable, "--from-db", dsn, "--store", store, "--tag", "f42-infra", "--event", "419"))
	for _, test := range []struct{ args, says string }{
		{"show latest", r.Snapshot},
		{"snapshots", "--everything"},
		{"show " + r.Snapshot, "everything"},
		{"diff " + tagged + " " + r.Snapshot, "build"},
		{"pull --event 419", r.Snapshot},
	} {
		out, errs, code := kojisnapRun(t, append(strings.Fields(test.args), "-c", c)...)
		if (code != exit.Done && code != exit.NotReady) || !strings.Contains(out, test.says) {
			t.Errorf("%s: %d, %q, %q", test.args, code, out, errs)
		}
	}
}

// TestEverythingWantsTags: copy and verify of a snapshot of everything want the tags that composes take, and name what
// would tell them; with tags copy plans these alone.
func TestEverythingWantsTags(t *testing.T) {
	dsn, store := dbtest.Production(t), t.TempDir()
	kojisnapOK(t, "pull", "--hub", unreachable, "--from-db", dsn, "--store", store, "--everything", "--event", "419")
	copies := []string{"copy", "--store", store, "--topdir", t.TempDir(), "--source", "file://" + t.TempDir(), "--list0"}
	for _, args := range [][]string{copies, {"verify", "--store", store, "--hub", unreachable}} {
		if _, errs, code := kojisnapRun(t, args...); code != exit.Usage || !strings.Contains(errs, "is of everything") || !strings.Contains(errs, "--tag") {
			t.Errorf("%s: %d, %q", args[0], code, errs)
		}
	}
	if _, errs, code := kojisnapRun(t, append(copies, "--tag", "no-such-tag")...); code != exit.Usage || !strings.Contains(errs, "no-such-tag") {
		t.Errorf("an unknown tag: %d, %q", code, errs)
	}
	out, errs, code := kojisnapRun(t, append(copies, "--tag", "f42-infra")...)
	if code != exit.Done || !strings.Contains(out, ".rpm") {
		t.Errorf("a tag: %d, %q, %q", code, out, errs)
	}
	tagged := strings.TrimSpace(kojisnapOK(t, "pull", "--hub", unreachable, "--from-db", dsn, "--store", store, "--tag", "f42-infra", "--event", "419"))
	if want, _, _ := kojisnapRun(t, append(copies, "--snapshot", tagged)...); want != out {
		t.Errorf("of everything %q, of the tag %q", out, want)
	}
}

// TestSyncEverythingWantsTags: a sync of everything that tells copy or verify no tags ends before it pulls; with tags it
// goes on. A plan says how many tags there are, and does not list them.
func TestSyncEverythingWantsTags(t *testing.T) {
	dsn, store, src := dbtest.Production(t), t.TempDir(), t.TempDir()
	args := []string{"sync", "--hub", unreachable, "--from-db", dsn, "--store", store, "--everything", "--event", "419", "--db", dbtest.Fresh(t),
		"--topdir", t.TempDir(), "--source", "file://" + src, "--no-verify"}
	out, errs, code := kojisnapRun(t, args...)
	if code != exit.Usage || !strings.Contains(errs, "copy: everything is pulled") || len(lines(errs)) != 1 {
		t.Errorf("%d, %q, %q", code, out, errs)
	}
	if out := kojisnapOK(t, "snapshots", "--store", store); out != "" {
		t.Errorf("it pulled %q", out)
	}
	out, errs, code = kojisnapRun(t, append(args, "--builds", "none", "--dry-run")...)
	if code == exit.Usage || !strings.Contains(out, "everything: all 21 tags\n") || strings.Contains(out, "tag f42") {
		t.Errorf("%d, %q, %q", code, out, errs)
	}
}

// TestPullEverythingRefused: everything goes with nothing that chooses tags or builds.
func TestPullEverythingRefused(t *testing.T) {
	dsn, store := dbtest.Production(t), t.TempDir()
	args := []string{"pull", "--hub", unreachable, "--store", store, "--everything"}
	for _, test := range []struct{ args, says string }{
		{"--from-db " + dsn + " --tag f42", "--everything and --tag f42"},
		{"--from-db " + dsn + " --build 36", "--everything and --build 36"},
		{"--from-db " + dsn + " --content-tags=false", "--content-tags=false"},
		{"", "give --max-rate N"},
	} {
		_, errs, code := kojisnapRun(t, append(args, strings.Fields(test.args)...)...)
		if code != exit.Usage || !strings.Contains(errs, test.says) || len(lines(errs)) != 1 {
			t.Errorf("%s: %d, %q", test.args, code, errs)
		}
	}
	if _, errs, code := kojisnapRun(t, "pull", "--hub", unreachable, "--store", store, "--tag=--everything"); code != exit.Usage || !strings.Contains(errs, "without --tag") {
		t.Errorf("a tag of that name: %d, %q", code, errs)
	}
	c := filepath.Join(t.TempDir(), "kojisnap.toml")
	write(t, c, "store = \""+store+"\"\n[pull]\nhub = \""+unreachable+"\"\ntag = \"f42\"\neverything = true\n")
	if _, errs, code := kojisnapRun(t, "config", "check", "-c", c); code == exit.Done || !strings.Contains(errs, "--everything and --tag f42") {
		t.Errorf("config check: %d, %q", code, errs)
	}
}
