package trial

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Job is a trial that another process runs, in the target's environment: a line of JSON on its standard input.
type Job struct {
	Dir   string   `json:"dir"`
	Trees []Tree   `json:"trees"`
	Run   []string `json:"run,omitempty"` // a program and its arguments, to run in Dir at the end
}

// The steps of a job, in their order. Each is reported when it has ended. StepDone has no other content.
const (
	StepEnvironment = "environment"
	StepTrial       = "trial"
	StepDigests     = "rpm -K"
	StepClosure     = "closure"
	StepRun         = "compose-run"
	StepDone        = "done"
)

// Steps are all of them, in their order.
func Steps() []string {
	return []string{StepEnvironment, StepTrial, StepDigests, StepClosure, StepRun, StepDone}
}

// Step is what a step of a job found.
type Step struct {
	Name    string       `json:"step"`
	Error   string       `json:"error,omitempty"` // why the step could not be made; empty: it was made
	Facts   *Environment `json:"environment,omitempty"`
	Repos   []Repo       `json:"repos,omitempty"`
	Count   int          `json:"count,omitempty"` // things looked at
	Bad     []string     `json:"bad,omitempty"`   // of them those that are not as they should be
	Unknown int          `json:"unknown,omitempty"`
	Tail    []string     `json:"tail,omitempty"` // the last lines of a program that failed
	Seconds float64      `json:"seconds"`
}

// MaxJob limits the bytes of a job.
const MaxJob = 1 << 30

// Serve runs the job on the first line of in, and writes a line of JSON to out for each step. If in ends before the
// last step, nobody waits for the job, and Serve ends it: so leave in open. What a step finds wrong is no error of
// Serve.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	r := bufio.NewReader(io.LimitReader(in, MaxJob))
	line, err := r.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	var job Job
	if err := json.Unmarshal(line, &job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		_, _ = io.Copy(io.Discard, r)
		cancel(errors.New("nobody waits for the trial any longer"))
	}()
	if err := job.run(ctx, json.NewEncoder(out)); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// run runs the steps. A step whose ground an earlier one lacks says so.
func (j Job) run(ctx context.Context, out *json.Encoder) error {
	var repos []Repo
	steps := []struct {
		name string
		make func() Step
	}{
		{StepEnvironment, func() Step { return Step{Facts: ReadEnvironment(ctx, "/")} }},
		{StepTrial, func() (s Step) {
			var err error
			repos, err = Make(ctx, Options{Dir: j.Dir, Trees: j.Trees})
			s.Repos = repos
			return s.failed(err)
		}},
		{StepDigests, func() Step { return checkDigests(ctx, j.files()) }},
		{StepClosure, func() Step { return closureOf(ctx, repos) }},
		{StepRun, func() Step { return runProgram(ctx, j.Dir, j.Run) }},
	}
	for _, step := range steps {
		if step.name == StepRun && len(j.Run) == 0 {
			continue
		}
		began := time.Now()
		s := step.make()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.Name, s.Seconds = step.name, time.Since(began).Seconds()
		if err := out.Encode(s); err != nil {
			return fmt.Errorf("report a step: %w", err)
		}
	}
	return out.Encode(Step{Name: StepDone})
}

func (s Step) failed(err error) Step {
	if err != nil {
		s.Error = strings.Join(strings.Fields(err.Error()), " ")
	}
	return s
}

// files are the rpms of all trees, each once.
func (j Job) files() (files []string) {
	seen := map[string]bool{}
	for _, t := range j.Trees {
		for _, f := range t.RPMs {
			if !seen[f] {
				seen[f] = true
				files = append(files, f)
			}
		}
	}
	return files
}

// runProgram runs a program in a directory.
func runProgram(ctx context.Context, dir string, args []string) (s Step) {
	s.Count = 1
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var tail Tail
	cmd.Stdout, cmd.Stderr = &tail, &tail
	if err := cmd.Run(); err != nil {
		s = s.failed(fmt.Errorf("%q: %w", strings.Join(args, " "), err))
		s.Tail = tail.Lines()
	}
	return s
}

// Tail is a writer that keeps the last lines.
type Tail struct{ last []byte }

const tailBytes, tailLines = 4 << 10, 5

func (t *Tail) Write(b []byte) (int, error) {
	t.last = append(t.last, b...)
	if over := len(t.last) - tailBytes; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(b), nil
}

// Lines returns the last lines that are not empty.
func (t *Tail) Lines() (lines []string) {
	for line := range strings.Lines(strings.ToValidUTF8(string(t.last), "\uFFFD")) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-tailLines):]
}
