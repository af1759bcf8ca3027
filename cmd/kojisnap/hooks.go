package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap"
)

// hooksHelp is the part of the help about hooks.
const hooksHelp = `
Hooks are commands of the site's, which /bin/sh -c runs: --pre-load before the load, --post-load when it has
committed, and when the run has ended --on-success (exit code 0), --on-not-ready (3 and 6) or --on-failure (all
others but 4, locked). Each gets the run's JSON document on standard input, as --json prints it; before the load
that names only the snapshot. The environment has KOJISNAP_HOOK, KOJISNAP_COMMAND, KOJISNAP_ENV, KOJISNAP_SNAPSHOT,
KOJISNAP_EVENT and, when it is known, KOJISNAP_EXIT. What a hook prints goes to standard error, line by line with
its name. After --hook-timeout it is stopped, with all that it started. If --pre-load fails, nothing is loaded, and
the exit code is 1; if --post-load fails, the load stands, and the exit code is 1. If one of the others fails, that is a
warning. --dry-run runs none. A run that fails before it has read its configuration, or for want of the lock, runs
none either.
`

// endHooks are the hooks that are run when a command has ended.
type endHooks struct {
	success, failure, notReady string
	timeout                    time.Duration
}

func (h *endHooks) add(fs *pflag.FlagSet) {
	fs.StringVar(&h.success, "on-success", "", "after success run `COMMAND` with the JSON document on standard input")
	fs.StringVar(&h.notReady, "on-not-ready", "", "if staging is not compose-ready (exit code 3 or 6) run `COMMAND` likewise")
	fs.StringVar(&h.failure, "on-failure", "", "after another failure (exit code 1, 2 or 5) run `COMMAND` likewise")
}

func addHookTimeout(fs *pflag.FlagSet, timeout *time.Duration) {
	config.DurationVar(fs, timeout, "hook-timeout", 5*time.Minute, "stop a hook after `TIME`")
}

// after returns the hook for an exit code; its command is empty if there is none.
func (h *endHooks) after(code int) hook {
	switch code {
	case exit.Done:
		return hook{"on-success", h.success, h.timeout}
	case exit.NotReady, exit.Digest:
		return hook{"on-not-ready", h.notReady, h.timeout}
	case exit.Locked:
		return hook{}
	}
	return hook{"on-failure", h.failure, h.timeout}
}

// hookRunner runs hooks for a command.
type hookRunner struct{ *app }

// runEndHook runs the hook for the end of a command. Its failure is only a warning.
func (a hookRunner) runEndHook(ctx context.Context, err error, code int) {
	if a.hooks == nil || a.dryRun {
		return
	}
	h := a.hooks.after(code)
	if h.command == "" {
		return
	}
	// A run that was interrupted has failed, too; another signal ends the hook.
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM)
	defer stop()
	snapshot, event := loadedBy(a.outcome)
	failed := a.runHook(ctx, h, a.outcomeDocument(err, code), append(hookVars(snapshot, event), fmt.Sprintf("KOJISNAP_EXIT=%d", code)))
	if failed != nil {
		a.log.Warn(failed.Error() + "; what it was told of stands")
	}
}

// outcomeDocument is the document that --json prints of the run.
func (a hookRunner) outcomeDocument(err error, code int) []byte {
	var b bytes.Buffer
	as := &app{stdout: output.Hiding{To: &b}, json: true}
	if a.outcome == nil || as.document.Open(as.stdout, a.outcome) != nil {
		b.Reset()
		as.document = output.Document{}
	}
	as.closeDocument(err, code)
	return b.Bytes()
}

// loadedBy returns which snapshot a command has loaded, or at least pulled.
func loadedBy(outcome any) (snapshot string, event int64) {
	switch r := outcome.(type) {
	case *book.LoadReport:
		return r.Snapshot, r.Event
	case *kojisnap.SyncResult:
		if r.Load != nil {
			return r.Load.Snapshot, r.Load.Event
		}
		return r.Snapshot, r.Event
	}
	return "", 0
}

func hookVars(snapshot string, event int64) []string {
	vars := []string{"KOJISNAP_SNAPSHOT=" + snapshot}
	if event > 0 {
		return append(vars, fmt.Sprintf("KOJISNAP_EVENT=%d", event))
	}
	return append(vars, "KOJISNAP_EVENT=")
}

// loadHooks are the hooks around a load.
type loadHooks struct {
	pre, post string
	timeout   time.Duration
	failed    error // of post-load
}

func (h *loadHooks) add(fs *pflag.FlagSet) {
	fs.StringVar(&h.pre, "pre-load", "", "before the load run `COMMAND`; if it fails, load nothing")
	fs.StringVar(&h.post, "post-load", "", "when the load has committed run `COMMAND` with its JSON document on standard input")
	addHookTimeout(fs, &h.timeout)
}

func (h *loadHooks) check() error { return checkHookTimeout(h.timeout) }

func checkHookTimeout(d time.Duration) error {
	if d <= 0 {
		return exit.Usagef("--hook-timeout %s: want a time such as 5m: a hook must end", d)
	}
	return nil
}

// around sets what a load calls before and after it.
func (h *loadHooks) around(a *app, o *kojisnap.LoadOptions) {
	if h.pre != "" {
		o.Before = func(ctx context.Context, snapshot string, event int64) error {
			as := hookRunner{&app{outcome: struct {
				Snapshot string `json:"snapshot"`
				Event    int64  `json:"event"`
			}{snapshot, event}}}
			if err := (hookRunner{a}).runHook(ctx, hook{"pre-load", h.pre, h.timeout}, as.outcomeDocument(nil, exit.Done), hookVars(snapshot, event)); err != nil {
				return fmt.Errorf("%w; nothing was loaded", err)
			}
			return nil
		}
	}
	if h.post != "" {
		o.After = func(ctx context.Context, r *book.LoadReport) {
			as := hookRunner{&app{outcome: r}}
			if err := (hookRunner{a}).runHook(ctx, hook{"post-load", h.post, h.timeout}, as.outcomeDocument(nil, exit.Done), hookVars(r.Snapshot, r.Event)); err != nil {
				h.failed = fmt.Errorf("%w; the load stands", err)
			}
		}
	}
}

// hook is a command of the site's.
type hook struct {
	name, command string
	timeout       time.Duration
}

// runHook runs a hook with a document on its standard input and some variables, and writes what it prints to standard
// error. What is still running of it when its time is over is killed.
func (a hookRunner) runHook(ctx context.Context, h hook, document []byte, vars []string) error {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	out := &hookLines{say: func(line string) { a.sayHook(h.name, line) }}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", h.command)
	cmd.Stdin = bytes.NewReader(document)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), append(vars, "KOJISNAP_HOOK="+h.name, "KOJISNAP_ENV="+a.env, "KOJISNAP_COMMAND="+a.command)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = hookGrace
	a.log.InfoContext(ctx, "hook", "name", h.name)
	err := cmd.Run()
	out.end()
	switch {
	case ctx.Err() != nil && err != nil:
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("hook %s was stopped, as it took longer than %s: --hook-timeout or hook-timeout gives it more", h.name, h.timeout)
		}
		return fmt.Errorf("hook %s was stopped: %w", h.name, ctx.Err())
	case errors.Is(err, exec.ErrWaitDelay): // it has ended well, and left something running
		return nil
	case err != nil:
		return fmt.Errorf("hook %s: %w", h.name, err)
	}
	return nil
}

// hookGrace is how long a hook has to end after it was asked to, and what it leaves running to close its output.
var hookGrace = 5 * time.Second

// sayHook writes a line that a hook printed.
func (a hookRunner) sayHook(name, line string) {
	switch {
	case a.quiet:
	case a.logFormat == "json":
		slog.New(slog.NewJSONHandler(a.stderr, nil)).Info(line, "hook", name)
	default:
		a.standardError().Line("kojisnap: " + name + ": " + output.Clean(line))
	}
}

// Limits of what is shown of a hook's output.
const (
	maxHookLine  = 4096
	maxHookLines = 1000
)

// hookLines is a writer that makes lines of a hook's output.
type hookLines struct {
	say   func(string)
	part  []byte
	lines int
}

var _ io.Writer = (*hookLines)(nil)

func (w *hookLines) Write(b []byte) (int, error) {
	n := len(b)
	for {
		line, rest, found := bytes.Cut(b, []byte("\n"))
		if room := maxHookLine - len(w.part); room > 0 {
			w.part = append(w.part, line[:min(len(line), room)]...)
		}
		if !found {
			return n, nil
		}
		w.end()
		b = rest
	}
}

// end writes the last line, if it is not empty.
func (w *hookLines) end() {
	line := strings.TrimRight(strings.ToValidUTF8(string(w.part), "\uFFFD"), "\r ")
	w.part = w.part[:0]
	if line == "" {
		return
	}
	switch w.lines++; {
	case w.lines <= maxHookLines:
		w.say(line)
	case w.lines == maxHookLines+1:
		w.say(fmt.Sprintf("… more than %d lines: the others are not shown", maxHookLines))
	}
}
