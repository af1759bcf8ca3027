package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/lockfile"
)

// hookApp is an app whose hooks can be run, and what it writes to standard error.
func hookApp() (*app, *strings.Builder) {
	var errs strings.Builder
	a := &app{stderr: &errs, env: "stg", command: "sync", logFormat: "text"}
	a.log = a.standardError().Log()
	return a, &errs
}

// TestHookChosen: the exit code chooses the hook; none is run for a lock, or in a dry run.
func TestHookChosen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	for code, want := range map[int]string{
		exit.Done: "success", exit.Error: "failure", exit.Usage: "failure", exit.NotReady: "not-ready", exit.Locked: "", exit.Later: "failure", exit.Digest: "not-ready",
	} {
		for _, dry := range []bool{false, true} {
			a, errs := hookApp()
			command := func(name string) string {
				return `echo "` + name + ` $KOJISNAP_HOOK $KOJISNAP_EXIT $KOJISNAP_ENV $KOJISNAP_COMMAND" > ` + file
			}
			a.hooks, a.dryRun = &endHooks{command("success"), command("failure"), command("not-ready"), time.Minute}, dry
			hookRunner{a}.runEndHook(t.Context(), nil, code)
			ran, _ := os.ReadFile(file)
			_ = os.Remove(file)
			text := ""
			if want != "" && !dry {
				text = fmt.Sprintf("%s on-%s %d stg sync\n", want, want, code)
			}
			if string(ran) != text || errs.Len() > 0 {
				t.Errorf("exit code %d, dry run %v: %q, %s", code, dry, ran, errs)
			}
		}
	}
}

// TestHookDocument: a hook gets the document of --json, whatever names it has, and what it loaded as variables.
func TestHookDocument(t *testing.T) {
	dir := t.TempDir()
	hostile := "</script>\"'\n$(touch " + dir + "/pwned)`../"
	result := &kojisnap.SyncResult{Load: &book.LoadReport{Snapshot: "419-0123456789ab", Event: 419, Conflicts: []book.Entry{{Relation: "tag", Key: hostile, What: "https://me:s3cr3t@host/"}}}}
	a, errs := hookApp()
	a.outcome = result
	a.hooks = &endHooks{notReady: "cat > " + dir + "/doc; env | grep ^KOJISNAP_ > " + dir + "/vars", timeout: time.Minute}
	hookRunner{a}.runEndHook(t.Context(), exit.AsNotReady(errors.New("not ready: "+hostile)), exit.NotReady)
	body, err := os.ReadFile(filepath.Join(dir, "doc"))
	if err != nil || errs.Len() > 0 {
		t.Fatalf("%v, %s", err, errs)
	}
	var doc struct {
		kojisnap.SyncResult
		output.Failure
	}
	if err := json.Unmarshal(body, &doc); err != nil || doc.Exit != exit.NotReady || doc.Format != output.Format || doc.Load.Conflicts[0].Key != hostile || !strings.HasPrefix(doc.Error, "not ready: </script>") {
		t.Errorf("%v: %s", err, body)
	}
	if strings.Contains(string(body), "s3cr3t") {
		t.Errorf("a password: %s", body)
	}
	vars, err := os.ReadFile(filepath.Join(dir, "vars"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"KOJISNAP_SNAPSHOT=419-0123456789ab\n", "KOJISNAP_EVENT=419\n", "KOJISNAP_EXIT=3\n", "KOJISNAP_ENV=stg\n", "KOJISNAP_HOOK=on-not-ready\n"} {
		if !strings.Contains(string(vars), want) {
			t.Errorf("no %s in %s", want, vars)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("a name was run")
	}
	// A run that failed before it had a result.
	a.outcome = nil
	a.hooks = &endHooks{failure: "cat > " + dir + "/doc", timeout: time.Minute}
	hookRunner{a}.runEndHook(t.Context(), errors.New("no hub"), exit.Later)
	body, err = os.ReadFile(filepath.Join(dir, "doc"))
	var end output.Failure
	if err != nil || json.Unmarshal(body, &end) != nil || end != (output.Failure{Format: output.Format, Error: "no hub", Exit: exit.Later}) {
		t.Errorf("%v: %s", err, body)
	}
}

// TestHookOutput: what a hook prints is on standard error, by line and with its name, with nothing that could control
// a terminal; a hook that fails is a warning.
func TestHookOutput(t *testing.T) {
	a, errs := hookApp()
	h := hook{"on-success", `echo one; echo two >&2; printf 'a\033[31m\tb\r\n\n'; printf unfinished`, time.Minute}
	if err := (hookRunner{a}).runHook(t.Context(), h, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := errs.String(), "kojisnap: on-success: one\nkojisnap: on-success: two\nkojisnap: on-success: a\uFFFD[31m b\nkojisnap: on-success: unfinished\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	a, errs = hookApp()
	a.logFormat = "json"
	if err := (hookRunner{a}).runHook(t.Context(), hook{"post-load", `echo '"}'`, time.Minute}, nil, nil); err != nil {
		t.Fatal(err)
	}
	var line struct{ Msg, Hook string }
	if err := json.Unmarshal([]byte(errs.String()), &line); err != nil || line.Msg != `"}` || line.Hook != "post-load" {
		t.Errorf("as JSON: %v, %s", err, errs)
	}
	a, errs = hookApp()
	if err := (hookRunner{a}).runHook(t.Context(), hook{"on-success", "yes | head -n 5000; head -c 100000 /dev/zero", time.Minute}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := lines(errs.String()); len(got) != maxHookLines+1 || !strings.Contains(got[maxHookLines], "more than 1000 lines") {
		t.Errorf("%d lines", len(got))
	}
	a, errs = hookApp()
	a.hooks = &endHooks{success: "exit 3", timeout: time.Minute}
	hookRunner{a}.runEndHook(t.Context(), nil, exit.Done)
	if got := errs.String(); !strings.Contains(got, "warning") && !strings.Contains(got, "warn") || !strings.Contains(got, "hook on-success: exit status 3") || len(lines(got)) != 1 {
		t.Errorf("a hook that fails: %s", got)
	}
}

// TestHookReadsNothing: a hook need not read its standard input, however long the document is.
func TestHookReadsNothing(t *testing.T) {
	document := []byte(strings.Repeat("x", 1<<20))
	for _, command := range []string{"exec <&-; exit 0", "true", "head -c 1 >/dev/null"} {
		a, errs := hookApp()
		if err := (hookRunner{a}).runHook(t.Context(), hook{"on-success", command, time.Minute}, document, nil); err != nil || errs.Len() > 0 {
			t.Errorf("%s: %v, %s", command, err, errs)
		}
	}
}

// TestHookHangs: a hook that takes too long is stopped with all that it started, also if it does not want to, and the
// error names the flag.
func TestHookHangs(t *testing.T) {
	grace := hookGrace
	hookGrace = 200 * time.Millisecond
	t.Cleanup(func() { hookGrace = grace })
	for _, command := range []string{"sleep 1000 & echo $! > PID; wait", "trap '' TERM; (trap '' TERM; sleep 1000) & echo $! > PID; sleep 1000; sleep 1000"} {
		file := filepath.Join(t.TempDir(), "pid")
		a, _ := hookApp()
		err := hookRunner{a}.runHook(t.Context(), hook{"on-failure", strings.ReplaceAll(command, "PID", file), 500 * time.Millisecond}, nil, nil)
		if err == nil || !strings.Contains(err.Error(), "hook on-failure was stopped, as it took longer than 500ms: --hook-timeout") {
			t.Errorf("%s: %v", command, err)
		}
		body, _ := os.ReadFile(file)
		pid, err := strconv.Atoi(strings.TrimSpace(string(body)))
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		for alive(pid) { // the test's own time limit ends this
			time.Sleep(10 * time.Millisecond)
		}
	}
	// What it leaves running on purpose does not hold it up, and is left alone.
	file := filepath.Join(t.TempDir(), "pid")
	a, _ := hookApp()
	if err := (hookRunner{a}).runHook(t.Context(), hook{"on-success", "sleep 1000 & echo $! > " + file, time.Minute}, nil, nil); err != nil {
		t.Error(err)
	}
	body, _ := os.ReadFile(file)
	pid, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil || !alive(pid) {
		t.Errorf("%v: what the hook left running is gone", err)
	}
	if pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// TestHooksOfCommands: a load that fails runs on-failure with its exit code; one that is locked, or wants a dry run,
// runs nothing; a time limit of nothing is refused.
func TestHooksOfCommands(t *testing.T) {
	dir := t.TempDir()
	lock := filepath.Join(dir, "lock")
	unlock, err := lockfile.Lock(t.Context(), lock, false)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	file := filepath.Join(dir, "c.toml")
	write(t, file, "[load]\non-failure = 'echo \"failed $KOJISNAP_EXIT\" >> "+dir+"/ran; cat >/dev/null'\npre-load = 'touch "+dir+"/pre'\n")
	args := []string{"load", "-c", file, "--db", "dbname=koji", "--store", dir + "/missing"}
	for _, test := range []struct {
		code int
		ran  string
		more []string
	}{
		{exit.Error, "failed 1\n", nil},
		{exit.Error, "", []string{"--dry-run"}},
		{exit.Locked, "", []string{"--lock-file", lock, "--exit-on-lock"}},
		{exit.Usage, "failed 2\n", []string{"--hub-moved", "x"}},
		{exit.Usage, "", []string{"--hook-timeout", "0s"}},
	} {
		_, errs, code := kojisnapRun(t, append(args, test.more...)...)
		ran, _ := os.ReadFile(dir + "/ran")
		_ = os.Remove(dir + "/ran")
		if code != test.code || string(ran) != test.ran {
			t.Errorf("%q: exit code %d, %s, ran %q", test.more, code, errs, ran)
		}
	}
	if _, err := os.Stat(dir + "/pre"); err == nil {
		t.Error("pre-load was run without a load")
	}
}

// TestHookInterrupted: a run that was interrupted stops the hook of its load, and still runs the one for its end.
func TestHookInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	a, _ := hookApp()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for { // until the hook has begun
			if body, err := os.ReadFile(file); err == nil && strings.HasSuffix(string(body), "\n") {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	err := hookRunner{a}.runHook(ctx, hook{"pre-load", "echo $$ > " + file + "; sleep 1000", time.Hour}, nil, nil)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "hook pre-load was stopped") {
		t.Errorf("%v", err)
	}
	body, _ := os.ReadFile(file)
	pid, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	for alive(pid) {
		time.Sleep(10 * time.Millisecond)
	}
	a.hooks = &endHooks{failure: "echo $KOJISNAP_EXIT > " + file, timeout: time.Minute}
	hookRunner{a}.runEndHook(ctx, ctx.Err(), exit.Error)
	if body, _ := os.ReadFile(file); string(body) != "1\n" {
		t.Errorf("the hook for the end: %q", body)
	}
}
