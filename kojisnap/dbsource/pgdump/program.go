package pgdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// program is a program to run.
type program struct {
	name    string
	args    []string
	stdin   io.Reader
	missing string // what to say if it is not installed
}

// process is a program that runs. Reading gives its output; at the end it must have succeeded.
type process struct {
	name   string
	cmd    *exec.Cmd
	out    io.ReadCloser
	cancel func()
	stderr tail
	once   sync.Once
	err    error
}

// start starts a program. It ends with ctx, or by stop. Nobody reads from stdin any more when it has ended: so ctx, or
// what stdin reads from, must end a read in which nothing comes.
func start(ctx context.Context, p program) (*process, error) {
	path, err := exec.LookPath(p.name)
	if err != nil {
		return nil, errors.New(p.missing)
	}
	ctx, cancel := context.WithCancel(ctx)
	run := &process{name: p.name, cancel: cancel, cmd: exec.CommandContext(ctx, path, p.args...)}
	run.cmd.Env = append(os.Environ(), "LC_ALL=C")
	run.cmd.Stdin, run.cmd.Stderr = p.stdin, &run.stderr
	if run.out, err = run.cmd.StdoutPipe(); err == nil {
		err = run.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("cannot be read by %s: %w", p.name, err)
	}
	return run, nil
}

// Read implements io.Reader.
func (p *process) Read(buf []byte) (int, error) {
	n, err := p.out.Read(buf)
	if err == nil {
		return n, nil
	}
	if failed := p.wait(); failed != nil {
		return n, failed
	}
	return n, err
}

// wait waits for the program's end, and returns what it says of its failure.
func (p *process) wait() error {
	p.once.Do(func() {
		err := p.cmd.Wait()
		p.cancel()
		var failed *exec.ExitError
		switch text := p.stderr.String(); {
		case err == nil:
		case !errors.As(err, &failed):
			p.err = fmt.Errorf("%s: %w", p.name, err)
		case strings.Contains(text, "Unexpected end of input"): // xz
			p.err = fmt.Errorf("%s: %w", p.name, io.ErrUnexpectedEOF)
		default:
			p.err = &programError{p.name, failed.String(), text}
		}
	})
	return p.err
}

// stop ends the program, if it still runs.
func (p *process) stop() {
	p.cancel()
	p.once.Do(func() { p.err = errors.Join(p.cmd.Wait(), errors.New("stopped")) })
}

// programError is what a program says of its failure.
type programError struct{ name, status, text string }

func (e *programError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("%s: %s", e.name, e.status)
	}
	return fmt.Sprintf("%s: %s", e.name, strings.TrimPrefix(e.text, e.name+": "))
}

// tail keeps the last of what a program writes to its standard error, in one line.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 600
	if t.text = append(t.text, p...); len(t.text) > most {
		t.text = t.text[len(t.text)-most:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	return strings.ToValidUTF8(strings.Join(strings.Fields(string(t.text)), " "), "?")
}
