package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestMessages: a value that cannot be meant is refused in one line that names it and says what is wanted,
// in words of kojisnap's and not of the libraries that it was handed to, and no password is in it.
func TestMessages(t *testing.T) {
	store := t.TempDir()
	hub := []string{"pull", "--tag", "x", "--hub"}
	source := []string{"copy", "--topdir", store, "--source"}
	verify := []string{"verify", "--hub", "http://h/kojihub"}
	const db = "host=127.0.0.1 port=1 dbname=koji"
	for _, test := range []struct {
		code int
		says string
		args []string
	}{
		{2, `hub URL "1:2": want http://HOST/PATH`, append(hub, "1:2")},
		{2, `hub URL "ht tp://x": want http://HOST/PATH`, append(hub, "ht tp://x")},
		{2, `hub URL "http://h:port/kojihub": want http://HOST/PATH`, append(hub, "http://h:port/kojihub")},
		{2, `hub URL "http://[::1": want http://HOST/PATH`, append(hub, "http://[::1")},
		{2, `hub URL "http://h/%zz": want http://HOST/PATH`, append(hub, "http://h/%zz")},
		{2, `hub URL "http://:80/": want http://HOST/PATH`, append(hub, "http://:80/")},
		{2, `hub URL "http://…@h:x/kojihub": want http://HOST/PATH`, append(hub, "http://u:secret@h:x/kojihub")},
		{2, `hub URL "1:2": want http://HOST/PATH`, append(verify, "--against", "1:2")},
		{2, `--topurl "1:2": want http://HOST/PATH`, append(verify, "--topurl", "1:2")},
		{2, `--topurl "http://…@h:x/": want http://HOST/PATH`, append(verify, "--topurl", "http://u:secret@h:x/")},
		{2, `--hub-moved "koji.example.com": want http://HOST/PATH`, []string{"load", "--db", db, "--hub-moved", "koji.example.com"}},
		{2, `--max-rate NaN: want a number`, append(hub, "http://h/kojihub", "--max-rate", "NaN")},
		{2, `--max-rate +Inf: want a number`, append(hub, "http://h/kojihub", "--max-rate", "Inf")},
		{2, `--tag "": a name is wanted`, append(hub, "http://h/kojihub", "--tag", "")},
		{2, `--tag "!": a name or a pattern is wanted after it`, append(hub, "http://h/kojihub", "--tag", "!")},
		{2, `--tag !f42* !x: all of them leave out`, []string{"pull", "--hub", "http://h/kojihub", "--tag", "!f42*", "--tag", "!x"}},
		{2, `--tag "f\n42*": no tag has control characters`, append(hub, "http://h/kojihub", "--tag", "f\n42*")},
		{2, `--tag "f\x1b": no tag has control characters`, append(source, "/mnt", "--tag", "f\x1b")},
		{2, `--tag "!": a name`, append(verify, "--tag", "!")},
		{2, `--content-tags: want true or false, not "maybe"`, append(hub, "http://h/kojihub", "--content-tags=maybe")},
		{2, `--arch "": a name is wanted`, append(source, "/mnt", "--arch", "")},
		{2, `--volume: `, append(source, "/mnt", "--volume", "a/b")},
		{2, `--keep-days 99999999999: want 0 to`, append(source, "/mnt", "--keep-days", "99999999999")},
		{2, `this machine has no user "no-such"`, append(source, "/mnt", "--owner", "no-such")},
		{2, `this machine has no group "no-such"`, append(source, "/mnt", "--owner", "root:no-such")},
		{2, `--sequence-floor -1: ids count from 1`, []string{"init", "--db", db, "--sequence-floor", "-1"}},
		{2, `environment "../x"`, []string{"init", "--db", db, "--env", "../x"}},
		{2, `environment "../x"`, []string{"status", "--db", db, "--env", "../x"}},
		{2, `"x" is not a snapshot's id`, []string{"show", "x"}},
		{2, `"../x" is not a snapshot's id`, []string{"load", "--db", db, "--snapshot", "../x"}},
		{1, "there is no such directory; kojisnap pull makes it", []string{"snapshots", "--store", filepath.Join(store, "none")}},
		{1, "directory /no/such: no such file or directory", []string{"link", "/etc/hostname", "/no/such"}},
	} {
		out, errs, code := kojisnapRun(t, append([]string{test.args[0], "--store", store}, test.args[1:]...)...)
		if code != test.code || out != "" || len(lines(errs)) != 1 || !strings.Contains(errs, test.says) || strings.Contains(errs, "secret") {
			t.Errorf("%q: exit code %d, %q; want %d and %q", test.args, code, errs, test.code, test.says)
		}
	}
}
