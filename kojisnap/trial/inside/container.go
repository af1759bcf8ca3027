package inside

import (
	"context"
	"crypto/rand"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// programInside is where the program of kojisnap is in a container.
const programInside = "/run/kojisnap-trial"

// inContainer runs the trial in a container, and removes that, however it ended.
func (r *run) inContainer(ctx context.Context) error {
	name := "kojisnap-trial-" + strings.ToLower(rand.Text()[:13])
	args := []string{"run", "--rm", "--interactive", "--name", name, "--pull", "never", "--network", "none", "--read-only",
		"--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--security-opt", "label=disable",
		"--user", fmt.Sprintf("%d:%d", r.user.UID, r.user.GID), "--tmpfs", "/tmp:rw,nosuid,nodev,mode=1777", "--env", "HOME=/tmp", "--env", "LC_ALL=C"}
	if r.options.Engine == Podman && os.Geteuid() != 0 {
		args = append(args, "--userns", "keep-id")
	} else {
		for _, id := range r.user.Groups {
			args = append(args, "--group-add", fmt.Sprint(id))
		}
	}
	args = append(args, "--mount", mountText(Mount{r.program, true}, programInside))
	for _, m := range r.mounts {
		args = append(args, "--mount", mountText(m, m.Path))
	}
	args = append(args, "--entrypoint", programInside, r.image.idOrName(), Command)
	cmd := exec.CommandContext(ctx, r.options.Engine, args...)
	defer func() {
		again, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		// It is gone already, unless kojisnap was ended.
		_ = exec.CommandContext(again, r.options.Engine, "rm", "--force", name).Run()
	}()
	return r.execute(cmd, true)
}

// idOrName is the image that was looked at, even if another one has its name now.
func (f Found) idOrName() string {
	if f.ID != "" {
		return f.ID
	}
	return f.Name
}

// mountText is a value of --mount, which engines read as a line of CSV.
func mountText(m Mount, to string) string {
	fields := []string{"type=bind", "source=" + m.Path, "target=" + to}
	if m.ReadOnly {
		fields = append(fields, "readonly")
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(fields) // a strings.Builder takes all
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}
