package program_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kojisnap/volumes/clone"
	"kojisnap/volumes/clone/clonetest"
	"kojisnap/volumes/clone/program"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// script makes a program of a shell script, in a directory that may have blanks and quotes.
func script(t testing.TB, text string) []string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "it's a program")
	must(t, os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "prog")
	// Not written by this process: what it starts meanwhile would have the file open, and then nobody can run it.
	write := exec.Command("cp", "/dev/stdin", path)
	write.Stdin = strings.NewReader("#!/bin/sh\n" + text + "\n")
	must(t, write.Run())
	must(t, os.Chmod(path, 0o755))
	return []string{path, "first argument"}
}

func open(t testing.TB, limit time.Duration, text string) *program.Provider {
	t.Helper()
	p, err := program.New(program.Options{Env: clonetest.Env, Command: script(t, text), Source: "/mnt/prod", Timeout: limit})
	must(t, err)
	return p
}

// What the program is given is what PROTOCOL.md says, and what it answers comes back with the note.
func TestProtocol(t *testing.T) {
	seen := filepath.Join(t.TempDir(), "seen")
	p := open(t, 0, `[ "$1" = "first argument" ] || exit 9
in=$(cat); printf '%s\n' "$2 $in" >>"`+seen+`"
case $2 in
create) echo '{"clone": {"id": "`+clonetest.ID(7).String()+`", "details": {"dataset": "tank/x"}, "lower": {"path": "/etc"}}, "more": 1}';;
mount) echo '{"path": "/mnt/x"}';;
list) echo '{"clones": [{"id": "`+clonetest.ID(7).String()+`"}, {"id": "prod-1-20261129t200000z"}, {"id": "../../etc"}]}';;
esac`)
	c, err := p.Create(t.Context(), clonetest.ID(7))
	must(t, err)
	if c.ID != clonetest.ID(7).String() || c.Details["dataset"] != "tank/x" || c.Lower != nil {
		t.Errorf("created %+v", c)
	}
	if path, err := p.Mount(t.Context(), c); err != nil || path != "/mnt/x" {
		t.Errorf("mounted %q, %v", path, err)
	}
	if list, err := p.List(t.Context()); err != nil || len(list) != 1 || list[0].ID != c.ID {
		t.Errorf("list %+v, %v", list, err)
	}
	must(t, p.Discard(t.Context(), c))
	text, err := os.ReadFile(seen)
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i, verb := range []string{"create", "mount", "list", "discard"} {
		if i >= len(lines) {
			t.Fatalf("calls %q", lines)
		}
		have, body, _ := strings.Cut(lines[i], " ")
		var r map[string]any
		must(t, json.Unmarshal([]byte(body), &r))
		if have != verb || r["verb"] != verb || r["format"] != 1.0 || r["environment"] != clonetest.Env || r["source"] != "/mnt/prod" {
			t.Errorf("%s: %s", verb, lines[i])
		}
		if given := r["id"] == c.ID; given == (verb == "list") {
			t.Errorf("%s: id %v", verb, r["id"])
		}
		given, _ := r["clone"].(map[string]any)
		if details, _ := given["details"].(map[string]any); (details["dataset"] == "tank/x") != (verb == "mount" || verb == "discard") {
			t.Errorf("%s: clone %v", verb, r["clone"])
		}
	}
}

// A program that hangs, answers nonsense, twice, too much, of another clone, or not at all, is an error that names it.
func TestBadAnswers(t *testing.T) {
	id := clonetest.ID(7).String()
	for text, want := range map[string]string{
		`sleep 60`:                      "did not end within",
		`sleep 60 & sleep 60`:           "did not end within",
		`trap '' TERM; sleep 60`:        "did not end within",
		`echo hello`:                    "no JSON document",
		`:`:                             "no JSON document",
		`echo '{"clone": {"id": "x"}}'`: "is not one",
		`echo '{"clone": {"id": "stg-2-8-20261129t200007z"}}'`: "is not one",
		`echo '{}'`: "is not one",
		`echo '[]'`: "no JSON document",
		`echo '{"clone": {"id": "` + id + `"}}{"clone": {"id": "` + id + `"}}'`: "answered twice",
		`echo '{"clone": {"id": "` + id + `"}} done'`:                           "answered twice",
		`head -c 3000000 /dev/zero`:                                             "more than",
		`echo no space left >&2; exit 1`:                                        `exit status 1: "no space left"`,
		`printf 'a\nb\033[31m\n' >&2; exit 3`:                                   `b\x1b[31m`,
		`kill -9 $$`:                                                            "killed",
		`exit 75`:                                                               "exit status 75",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			p := open(t, time.Second, text)
			began := time.Now()
			_, err := p.Create(t.Context(), clonetest.ID(7))
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "prog create") {
				t.Fatalf("%v, want %q", err, want)
			}
			if strings.ContainsAny(err.Error(), "\n\033") {
				t.Errorf("%q is not one line of text", err)
			}
			if took := time.Since(began); took > 30*time.Second { // the sleeps are longer
				t.Errorf("took %v", took)
			}
		})
	}
	for answer, want := range map[string]string{`{}`: "absolute path", `{"path": ""}`: "absolute path", `{"path": "mnt"}`: "absolute path"} {
		p := open(t, time.Second, `echo '`+answer+`'`)
		if _, err := p.Mount(t.Context(), clone.Clone{ID: id}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mount: %s: %v", answer, err)
		}
	}
	p := open(t, time.Second, `echo '{"clone": null}'`)
	if _, err := p.List(t.Context()); err == nil {
		t.Error("a list without clones")
	}
}

// What a program that is killed had started is killed, too.
func TestKillsGroup(t *testing.T) {
	t.Parallel()
	note := filepath.Join(t.TempDir(), "pid")
	p := open(t, 2*time.Second, `sleep 60 & echo $! > "`+note+`"; sleep 60`)
	if _, err := p.List(t.Context()); err == nil {
		t.Fatal("no error")
	}
	pid, err := os.ReadFile(note)
	must(t, err)
	// A process that was killed may not have been waited for yet: it has no command line any more.
	command := func() bool {
		text, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/cmdline")
		return err == nil && strings.HasPrefix(string(text), "sleep")
	}
	for began := time.Now(); command(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("what the program started goes on")
		}
	}
}

// Exit code 75 of discard is ErrBusy; cancelling ends the program.
func TestBusyAndCancelled(t *testing.T) {
	c := clone.Clone{ID: clonetest.ID(7).String()}
	p := open(t, time.Minute, `echo dataset is busy >&2; exit 75`)
	if err := p.Discard(t.Context(), c); !errors.Is(err, clone.ErrBusy) || !strings.Contains(err.Error(), "dataset is busy") {
		t.Errorf("busy: %v", err)
	}
	if err := p.Discard(t.Context(), clone.Clone{ID: "prod-7-20261129t200007z"}); err == nil || errors.Is(err, clone.ErrBusy) {
		t.Errorf("a clone of another environment: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	p = open(t, time.Minute, `sleep 60`)
	if _, err := p.Create(ctx, clonetest.ID(7)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
}

// Wrong options are refused, and a program that is not there is found beforehand.
func TestOptions(t *testing.T) {
	for _, o := range []program.Options{{}, {Command: []string{""}}, {Command: []string{"x"}, Timeout: -1}} {
		if _, err := program.New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	p, err := program.New(program.Options{Env: "stg", Command: []string{"/no/such/program"}})
	must(t, err)
	if err := p.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("not there: %v", err)
	}
}
