package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

const (
	gatewayModule  = "github.com/versity/versitygw/cmd/versitygw"
	gatewayVersion = "v1.8.0"
)

// gateway returns the path of the gateway's program, which is statically linked. This module does not
// require it: the go command builds it separately.
func gateway(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "kojisnap-test", "versitygw-"+gatewayVersion)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "versitygw")
	// Tests of several packages run at once; one of them builds.
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	work, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	// As scripts/packaging/build builds, so that packages of both are compiled once.
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", gatewayModule+"@"+gatewayVersion)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "GOBIN="+work, "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod", "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s@%s: %w: %s", gatewayModule, gatewayVersion, err, bytes.TrimSpace(out))
	}
	return binary, os.Rename(filepath.Join(work, "versitygw"), binary)
}

// arguments of the gateway. Its metadata go beside the data: not every file system has extended attributes.
func arguments(listen, data, sidecar, users string) []string {
	return []string{"--access", AccessKey, "--secret", SecretKey, "--region", Region, "--port", listen, "--keep-alive", "--quiet",
		"--iam-dir", users, "posix", "--sidecar", sidecar, data}
}

// attend runs the gateway until the test binary ends, however that ends, or stops it: then the pipe that is the
// standard input breaks. It removes what the gateway kept.
const attend = `trap '' INT TERM HUP
dir=$1
shift
"$@" </dev/null &
cat >/dev/null
kill -9 $!
wait
rm -rf "$dir"`

// process starts the gateway, which keeps its data in a directory below dir.
func process(binary, dir string) (hostport, kept string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", nil, err
	}
	hostport = l.Addr().String()
	if err := l.Close(); err != nil {
		return "", "", nil, err
	}
	if dir, err = os.MkdirTemp(dir, "kojisnap-s3-"); err != nil {
		return "", "", nil, err
	}
	data, sidecar, users := filepath.Join(dir, "data"), filepath.Join(dir, "sidecar"), filepath.Join(dir, "users")
	if err := errors.Join(os.Mkdir(data, 0o755), os.Mkdir(sidecar, 0o755), os.Mkdir(users, 0o755)); err != nil {
		return "", "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	cmd := exec.Command("sh", append([]string{"-c", attend, "sh", dir, binary}, arguments(hostport, data, sidecar, users)...)...)
	end, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return hostport, dir, func() {
		end.Close()
		_ = cmd.Wait() // wait says that the gateway was killed
	}, nil
}
