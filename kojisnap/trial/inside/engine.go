package inside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"kojisnap/kojisnap/trial"
)

// The engines.
const (
	Docker = "docker"
	Podman = "podman"
	Mock   = "mock"
	// Here is no engine: kojisnap itself runs in the image, as in a pod of Kubernetes.
	Here = "here"
)

// Found is an image as the engine has it.
type Found struct {
	Image
	ID     string // digest of its configuration; empty with mock
	Digest string // of its manifest, by which a registry knows it; empty if it came from none
	Arch   string // as Go names it; empty: not known
}

// String names an image with its digest.
func (f Found) String() string {
	switch {
	case f.Digest != "":
		return f.Name + " (" + f.Digest + ")"
	case f.ID != "":
		return f.Name + " (" + f.ID + ")"
	}
	return f.Name
}

// CheckEngine returns an *UnusableError if the engine is not there.
func (o Options) CheckEngine(ctx context.Context) error {
	if o.Engine == Here {
		return nil
	}
	if _, err := exec.LookPath(o.Engine); err != nil {
		return unusable("%s is not in $PATH: install it, or choose another engine by --in", o.Engine)
	}
	if o.Engine == Mock {
		return nil
	}
	if out, err := ask(ctx, o.Engine, "version", "--format", "json"); err != nil {
		return unusable("%s does not answer: %s", o.Engine, says(out, err))
	}
	return nil
}

// Find asks the engine for an image. The error is *UnusableError if it does not have it.
func (o Options) Find(ctx context.Context, image Image) (Found, error) {
	f := Found{Image: image}
	if o.Engine == Mock || o.Engine == Here {
		return f, nil
	}
	out, err := ask(ctx, o.Engine, "image", "inspect", image.Name)
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	var list []struct {
		ID           string `json:"Id"`
		RepoDigests  []string
		Architecture string
	}
	if err != nil {
		return f, unusable("%s does not have the image %s: %s: kojisnap never pulls one; %s pull %s", o.Engine, image.Name, says(out, err), o.Engine, image.Name)
	}
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
		return f, fmt.Errorf("%s image inspect %s: an answer of one image was wanted: %w", o.Engine, image.Name, errors.Join(err, errors.New(head(out))))
	}
	f.ID, f.Arch = list[0].ID, list[0].Architecture
	if len(f.ID) == 64 { // podman leaves out the name of the hash
		f.ID = "sha256:" + f.ID
	}
	if len(list[0].RepoDigests) > 0 {
		_, f.Digest, _ = strings.Cut(slices.Min(list[0].RepoDigests), "@")
	}
	return f, nil
}

// Runs reports whether this machine can run an image's programs: they are of its arch, or binfmt_misc knows theirs.
func (f Found) Runs() bool {
	if f.Arch == "" || f.Arch == trial.Arch() || f.Arch == "386" && trial.Arch() == "amd64" {
		return true
	}
	name := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64", "386": "i386", "arm": "arm"}[f.Arch]
	state, err := os.ReadFile("/proc/sys/fs/binfmt_misc/qemu-" + name)
	return err == nil && bytes.HasPrefix(state, []byte("enabled"))
}

// ask runs a command of an engine that answers soon.
func ask(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second
	return cmd.Output()
}

// says is what a command that failed wrote, in a line.
func says(out []byte, err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(bytes.TrimSpace(exit.Stderr)) > 0 {
		out = exit.Stderr
	}
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(out), "\uFFFD")), " ")
	if text == "" || text == "[]" {
		return err.Error()
	}
	return fmt.Sprintf("%.300s", text)
}

func head(b []byte) string { return fmt.Sprintf("%.100q", b) }
