package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Environment is what a trial runs in.
type Environment struct {
	ID         string `json:"id,omitempty"`         // of os-release
	Version    string `json:"version,omitempty"`    // VERSION_ID of os-release
	Createrepo string `json:"createrepo,omitempty"` // what createrepo_c says of its version; empty: see Missing
	RPM        string `json:"rpm,omitempty"`
	// Missing says what a compose needs and is not there, or does not run.
	Missing []string `json:"missing,omitempty"`
}

// ReadEnvironment reads os-release below a root, and asks createrepo_c and rpm in $PATH for their versions.
func ReadEnvironment(ctx context.Context, root string) *Environment {
	e := &Environment{}
	if err := e.readRelease(root); err != nil {
		e.Missing = append(e.Missing, err.Error())
	}
	for _, p := range []struct {
		name string
		to   *string
	}{{"createrepo_c", &e.Createrepo}, {"rpm", &e.RPM}} {
		out, err := exec.CommandContext(ctx, p.name, "--version").Output()
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		switch {
		case errors.Is(err, exec.ErrNotFound):
			e.Missing = append(e.Missing, p.name+" is not in $PATH")
		case err != nil:
			var exit *exec.ExitError
			text := err.Error()
			if errors.As(err, &exit) {
				text += ": " + strings.Join(strings.Fields(string(exit.Stderr)), " ")
			}
			e.Missing = append(e.Missing, fmt.Sprintf("%s --version: %.300s", p.name, text))
		default:
			*p.to = strings.ToValidUTF8(fmt.Sprintf("%.80s", strings.TrimPrefix(strings.TrimPrefix(first, "Version: "), "RPM version ")), "\uFFFD")
		}
	}
	return e
}

func (e *Environment) readRelease(root string) error {
	text, err := os.ReadFile(filepath.Join(root, "etc/os-release"))
	if errors.Is(err, os.ErrNotExist) {
		text, err = os.ReadFile(filepath.Join(root, "usr/lib/os-release"))
	}
	if err != nil {
		return errors.New("os-release is not there: " + err.Error())
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			e.ID = value
		case "VERSION_ID":
			e.Version = value
		}
	}
	return nil
}

// checkDigests lets rpm read whole rpms: their headers, and digests of all kinds that it knows. A version of rpm
// that cannot read an rpm, or does not know its digests, fails. It does not look at keys, which an image need not have.
func checkDigests(ctx context.Context, files []string) (s Step) {
	s.Count = len(files)
	program, err := exec.LookPath("rpm")
	if err != nil {
		return s.failed(errors.New("rpm is not in $PATH"))
	}
	for some := range slices.Chunk(files, 200) {
		cmd := exec.CommandContext(ctx, program, append([]string{"-K", "--nosignature", "--"}, some...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME=/tmp")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return s.failed(ctx.Err())
		}
		before := len(s.Bad)
		for line := range strings.Lines(stdout.String()) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasSuffix(line, ": digests OK") {
				s.Bad = append(s.Bad, line)
			}
		}
		if len(s.Bad) == before {
			var tail Tail
			_, _ = tail.Write(stderr.Bytes())
			s.Tail = tail.Lines()
			return s.failed(fmt.Errorf("rpm -K: %w", err))
		}
	}
	return s
}

// Arch is the arch of this machine, by the name that images have for it.
func Arch() string { return runtime.GOARCH }
