// Package program makes clones with a program of the operator's, for storage that kojisnap does not know: ZFS, LVM, CSI.
// PROTOCOL.md says what the program is given and what it answers.
package program

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kojisnap/volumes/clone"
)

// Name is the provider's name in the configuration.
const Name = "exec"

const (
	format      = 1
	mostOutput  = 1 << 20
	busyExit    = 75 // EX_TEMPFAIL of sysexits.h
	afterCancel = 5 * time.Second
	// DefaultTimeout is how long one call of the program may take.
	DefaultTimeout = 2 * time.Minute
)

// Options of a Provider.
type Options struct {
	Env     string
	Command []string      // the program and its arguments; the verb follows
	Source  string        // production's tree; told to the program
	Timeout time.Duration // of each call; 0: DefaultTimeout
}

// Provider calls a program.
type Provider struct{ Options }

// New returns a provider.
func New(o Options) (*Provider, error) {
	if len(o.Command) == 0 || o.Command[0] == "" {
		return nil, errors.New("clones by exec: no program is given (--program, or program in [clone])")
	}
	if o.Timeout < 0 {
		return nil, fmt.Errorf("clones by exec: time limit %v: want more than 0", o.Timeout)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return &Provider{o}, nil
}

// request is what the program reads.
type request struct {
	Format int          `json:"format"`
	Verb   string       `json:"verb"`
	Env    string       `json:"environment"`
	ID     string       `json:"id,omitempty"`
	Source string       `json:"source,omitempty"`
	Clone  *clone.Clone `json:"clone,omitempty"`
}

// answer is what it writes. Which fields it must have depends on the verb.
type answer struct {
	Clone  *clone.Clone  `json:"clone"`
	Clones []clone.Clone `json:"clones"`
	Path   string        `json:"path"`
}

// Check looks for the program.
func (p *Provider) Check(context.Context) error {
	if _, err := exec.LookPath(p.Command[0]); err != nil {
		return fmt.Errorf("clones by exec: %w", err)
	}
	return nil
}

// Create implements clone.Provider.
func (p *Provider) Create(ctx context.Context, id clone.ID) (clone.Clone, error) {
	a, err := p.call(ctx, request{Verb: "create", ID: id.String()})
	if err != nil {
		return clone.Clone{}, err
	}
	if a.Clone == nil || a.Clone.ID != id.String() {
		return clone.Clone{}, p.nonsense("create", `want {"clone": {"id": "`+id.String()+`"}}`)
	}
	a.Clone.Lower = nil // of kojisnap's own
	return *a.Clone, nil
}

// Mount implements clone.Provider.
func (p *Provider) Mount(ctx context.Context, c clone.Clone) (string, error) {
	a, err := p.call(ctx, request{Verb: "mount", ID: c.ID, Clone: &c})
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(a.Path) {
		return "", p.nonsense("mount", `want {"path": "/…"}, the absolute path of the clone`)
	}
	return a.Path, nil
}

// List implements clone.Provider.
func (p *Provider) List(ctx context.Context) ([]clone.Clone, error) {
	a, err := p.call(ctx, request{Verb: "list"})
	if err != nil {
		return nil, err
	}
	if a.Clones == nil {
		return nil, p.nonsense("list", `want {"clones": […]}`)
	}
	list := []clone.Clone{}
	for _, c := range a.Clones {
		if id, err := clone.ParseID(c.ID); err == nil && id.Env == p.Env {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b clone.Clone) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Discard implements clone.Provider.
func (p *Provider) Discard(ctx context.Context, c clone.Clone) error {
	id, err := clone.ParseID(c.ID)
	if err != nil {
		return err
	}
	if id.Env != p.Env {
		return fmt.Errorf("clone %s is of environment %s", c.ID, id.Env)
	}
	_, err = p.call(ctx, request{Verb: "discard", ID: c.ID, Clone: &c})
	return err
}

func (p *Provider) nonsense(verb, want string) error {
	return fmt.Errorf("%s %s: the program ended well, and its answer is not one: %s (see PROTOCOL.md)", p.Command[0], verb, want)
}

// call runs the program once. It and what it started are killed when the time is up.
func (p *Provider) call(ctx context.Context, r request) (a answer, err error) {
	r.Format, r.Env, r.Source = format, p.Env, p.Source
	body, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	limited, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, p.Command[0], append(append([]string{}, p.Command[1:]...), r.Verb)...)
	cmd.Stdin = bytes.NewReader(body)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = afterCancel // what it started may hold the pipes open
	out, errs := &capped{most: mostOutput}, &capped{most: 64 << 10}
	cmd.Stdout, cmd.Stderr = out, errs
	err = cmd.Run()
	said := func(what error) error {
		if line := lastLine(errs.String()); line != "" {
			return fmt.Errorf("%s %s: %w: %.300q", p.Command[0], r.Verb, what, line)
		}
		return fmt.Errorf("%s %s: %w", p.Command[0], r.Verb, what)
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return a, ctx.Err()
	case limited.Err() != nil:
		return a, said(fmt.Errorf("it did not end within %v, and was killed: --program-timeout, or program-timeout in [clone], gives it more time", p.Timeout))
	case errors.As(err, &exit) && exit.ExitCode() == busyExit && r.Verb == "discard":
		return a, said(clone.ErrBusy)
	case err != nil:
		return a, said(err)
	case out.over:
		return a, said(fmt.Errorf("it wrote more than %d bytes", mostOutput))
	}
	if r.Verb == "discard" && strings.TrimSpace(out.String()) == "" {
		return a, nil
	}
	d := json.NewDecoder(strings.NewReader(out.String()))
	if err := d.Decode(&a); err != nil {
		return a, said(fmt.Errorf("its answer is no JSON document: %w", err))
	}
	if _, err := d.Token(); err != io.EOF {
		return a, said(errors.New("it answered twice: one JSON document is wanted on standard output, and messages on standard error"))
	}
	return a, nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// capped keeps the first bytes that are written to it.
type capped struct {
	strings.Builder
	most int
	over bool
}

func (c *capped) Write(b []byte) (int, error) {
	if room := c.most - c.Len(); len(b) > room {
		c.over = true
		c.Builder.Write(b[:room])
	} else {
		c.Builder.Write(b)
	}
	return len(b), nil
}
