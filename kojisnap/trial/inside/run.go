package inside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"kojisnap/kojisnap/trial"
)

// Command is the hidden command of kojisnap that Run runs inside.
const Command = "__trial"

// Options say how trials are run.
type Options struct {
	Engine  string // Docker, Podman, Mock or Here
	Images  Images
	Timeout time.Duration // of a trial in one image; 0: an hour
	Program string        // of kojisnap; empty: the one that runs
	// ComposeRun is a command of the shell that a trial runs at its end, in its directory. Empty: none.
	ComposeRun string
}

// Mount is a directory of this machine that the trial has under the same path.
type Mount struct {
	Path     string
	ReadOnly bool
}

// Run runs a job in an image. Paths of the job must be below the mounts, and have no symlinks that lead elsewhere. A nil
// user is the process's. The steps that ended are returned with an error, too.
func (o Options) Run(ctx context.Context, image Found, job trial.Job, mounts []Mount, user *trial.User) ([]trial.Step, error) {
	r := &run{options: o, image: image, job: job, mounts: mounts, user: user, at: trial.Steps()[0]}
	var err error
	if r.program, r.loader, err = o.program(); err != nil {
		return nil, err
	}
	if r.user == nil {
		groups, _ := os.Getgroups()
		r.user = &trial.User{Name: fmt.Sprint(os.Geteuid()), UID: os.Geteuid(), GID: os.Getegid(), Groups: groups}
	}
	after := o.Timeout
	if after <= 0 {
		after = time.Hour
	}
	limited, cancel := context.WithTimeout(ctx, after)
	defer cancel()
	switch o.Engine {
	case Mock:
		err = r.inMock(limited)
	case Here:
		err = r.here(limited)
	default:
		err = r.inContainer(limited)
	}
	switch {
	case ctx.Err() != nil:
		return r.steps, ctx.Err()
	case r.done:
		return r.steps, nil
	case errors.Is(limited.Err(), context.DeadlineExceeded):
		return r.steps, &TimeoutError{image.Name, r.at, after}
	}
	return r.steps, r.explain(err)
}

// run is one trial.
type run struct {
	options         Options
	image           Found
	job             trial.Job
	mounts          []Mount
	user            *trial.User
	program, loader string

	steps []trial.Step // that ended
	at    string       // the step that runs
	done  bool
	tail  trial.Tail // what the engine and the trial wrote to standard error
	stray trial.Tail // what else they wrote
}

// execute runs the engine, which runs the trial, and reads what it reports.
func (r *run) execute(cmd *exec.Cmd, input bool) error {
	var in io.WriteCloser
	if input {
		var err error
		if in, err = cmd.StdinPipe(); err != nil {
			return err
		}
	}
	lines := &lineWriter{take: r.line}
	cmd.Stdout, cmd.Stderr = lines, &r.tail
	cmd.WaitDelay = 10 * time.Second
	// The engine must not get the terminal's interrupt before kojisnap has removed the container.
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return err
	}
	if input {
		go func() { // stays open while the trial runs: see trial.Serve
			if job, err := json.Marshal(r.job); err == nil {
				_, _ = in.Write(append(job, '\n'))
			}
		}()
	}
	return cmd.Wait()
}

// line takes a step from a line that a trial wrote, or keeps another line for messages.
func (r *run) line(line []byte) {
	var s trial.Step
	if bytes.HasPrefix(line, []byte("{")) && json.Unmarshal(line, &s) == nil && slices.Contains(trial.Steps(), s.Name) {
		r.take(s)
		return
	}
	_, _ = r.stray.Write(line)
}

// lineWriter gives lines to take.
type lineWriter struct {
	part []byte
	take func(line []byte)
}

// maxLine limits a line: what is longer is given in parts.
const maxLine = 64 << 20

func (w *lineWriter) Write(b []byte) (int, error) {
	w.part = append(w.part, b...)
	for {
		end := bytes.IndexByte(w.part, '\n')
		if end < 0 {
			if len(w.part) > maxLine {
				w.take(w.part)
				w.part = nil
			}
			return len(b), nil
		}
		w.take(w.part[:end+1])
		w.part = w.part[end+1:]
	}
}

func (r *run) take(s trial.Step) {
	if s.Name == trial.StepDone {
		r.done = true
		return
	}
	r.steps = append(r.steps, s)
	all := trial.Steps()
	r.at = all[slices.Index(all, s.Name)+1]
	if r.at == trial.StepRun && len(r.job.Run) == 0 {
		r.at = trial.StepDone
	}
}

// explain says why a trial ended before its job.
func (r *run) explain(err error) error {
	status, code := "it reported no end", 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
		status = fmt.Sprintf("%s ended with code %d", r.options.Engine, code)
		if code == 137 {
			status = "it was killed"
		}
	} else if err != nil {
		status = err.Error()
	}
	tail := append(r.stray.Lines(), r.tail.Lines()...)
	text := strings.Join(tail, " / ")
	switch {
	case len(r.steps) > 0 || code == 137 || r.options.Engine == Here:
	case r.loader != "" && (code == 126 || code == 127 || code == 1):
		return unusable("kojisnap is not a static program: it needs %s and what that loads, and %s has not what it needs; build it with CGO_ENABLED=0, or install a package of kojisnap: %s", r.loader, r.image.Name, text)
	case code == 125, r.options.Engine == Mock:
		return unusable("%s cannot run %s: %s: %s", r.options.Engine, r.image.Name, status, text)
	}
	return &KilledError{Image: r.image.Name, Step: r.at, Status: status, Tail: tail}
}
