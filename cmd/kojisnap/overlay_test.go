package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
)

// TestOverlayFile: a line for each fault of an overlay, and its effect in a dry run.
func TestOverlayFile(t *testing.T) {
	h := newOddHub(t)
	file := filepath.Join(t.TempDir(), "overlay.toml")
	load := append(h.load(h.store, h.db), "--overlay", file)
	sync := append(h.pull(h.store), "--db", h.db, "--env", "stg", "--overlay", file, "--topdir", t.TempDir(), "--no-verify")
	sync[0] = "sync"

	faults := func(text string, want string, code int, args ...string) {
		t.Helper()
		write(t, file, text)
		out, errs, got := kojisnapRun(t, args...)
		if out != "" || errs != strings.ReplaceAll(want, "FILE", file) || got != code {
			t.Errorf("code %d, %q, %q, want %d, %q", got, out, errs, code, want)
		}
	}
	malformed := "kojisnap: FILE:2: \"user.name\": want a text in quotes, not a whole number\nkojisnap: FILE:3: unknown key \"hosts\"\n"
	faults("[[user]]\nname = 1\n[[hosts]]\n", malformed, exit.Usage, load...)
	faults("[[user]]\nname = 1\n[[hosts]]\n", malformed, exit.Usage, sync...)
	faults("[[user]]\nname = \"a\"\npermissions = [\"nix\", \"nox\"]\n", "kojisnap: FILE:3: user \"a\": there is no permission \"nix\"\nkojisnap: FILE:3: user \"a\": there is no permission \"nox\"\n", exit.Error, load...)

	write(t, file, "[[user]]\nname = \"alice\"\npermissions = [\"admin\"]\n")
	out, errs, code := kojisnapRun(t, append(load, "--dry-run")...)
	if code != exit.NotReady || errs != "" || !strings.Contains("\n"+out, "\ninsert 1 user_perms\n") || !strings.Contains(out, "\noverlay: add user alice: permission admin\n") {
		t.Errorf("dry run: %d, %q, %q", code, out, errs)
	}
	var rep book.LoadReport
	if err := json.Unmarshal([]byte(kojisnapOK(t, append(load, "--json")...)), &rep); err != nil {
		t.Fatal(err)
	}
	if want := (book.OverlayChange{Action: "add", Entry: "user alice: permission admin"}); len(rep.Overlay) != 1 || rep.Overlay[0] != want {
		t.Errorf("report: %+v", rep.Overlay)
	}
	if out := kojisnapOK(t, append(load, "--dry-run")...); strings.Contains(out, "overlay") {
		t.Errorf("again: %q", out)
	}
}

func TestMain(m *testing.M) {
	code := dbtest.Main(m)
	if served.store != "" {
		os.RemoveAll(served.store)
	}
	os.Exit(code)
}
