package inside

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// inMock runs the trial in a chroot of mock, which runs it as the user who runs mock. Mock gives programs no standard
// input, so that the job is in a file.
func (r *run) inMock(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "kojisnap-trial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	job, err := json.Marshal(r.job)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "job")
	if err := os.WriteFile(file, append(job, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	binds := []string{bind(r.program, programInside), bind(dir, dir)}
	for _, m := range r.mounts {
		binds = append(binds, bind(m.Path, m.Path))
	}
	cmd := exec.CommandContext(ctx, Mock, "--root", r.image.Name, "--quiet", "--unpriv", "--enable-plugin=bind_mount",
		"--plugin-option=bind_mount:dirs=["+strings.Join(binds, ", ")+"]", "--config-opts=rpmbuild_networking=False",
		"--chroot", "--", programInside, Command, file)
	cmd.SysProcAttr = r.attr()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // mock then unmounts what it mounted
	return r.execute(cmd, false)
}

// here runs the trial in a process of its own, without a container.
func (r *run) here(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, r.program, Command)
	cmd.SysProcAttr = r.attr()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // what it started, too: it leads a group
	return r.execute(cmd, true)
}

// attr makes a program run as the user.
func (r *run) attr() *syscall.SysProcAttr {
	if r.user.UID == os.Geteuid() {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(r.user.UID), Gid: uint32(r.user.GID), Groups: ids(r.user.Groups)}}
}

// bind is a pair of paths as mock's plugin bind_mount takes it, in Python.
func bind(from, to string) string {
	return fmt.Sprintf("(%s, %s)", strconv.QuoteToASCII(from), strconv.QuoteToASCII(to))
}

func ids(list []int) (all []uint32) {
	for _, id := range list {
		all = append(all, uint32(id))
	}
	return all
}
