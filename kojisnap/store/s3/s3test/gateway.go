package s3test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
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
	cmd := exec.CommandContext(ctx, "go", "install", gatewayModule+"@"+gatewayVersion)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "GOBIN="+work, "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod", "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s@%s: %w: %s", gatewayModule, gatewayVersion, err, bytes.TrimSpace(out))
	}
	return binary, os.Rename(filepath.Join(work, "versitygw"), binary)
}

// arguments of the gateway. Its metadata go beside the data: not every file system of a
// container has extended attributes.
func arguments(listen, data, sidecar, users string) []string {
	return []string{"--access", AccessKey, "--secret", SecretKey, "--region", Region, "--port", listen, "--keep-alive", "--quiet",
		"--iam-dir", users, "posix", "--sidecar", sidecar, data}
}

// process starts the gateway as a process that keeps its data in dir.
func process(binary, dir string) (candidates []string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	listen := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, nil, err
	}
	data, sidecar, users := filepath.Join(dir, "data"), filepath.Join(dir, "sidecar"), filepath.Join(dir, "users")
	if err := errors.Join(os.Mkdir(data, 0o755), os.Mkdir(sidecar, 0o755), os.Mkdir(users, 0o755)); err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(binary, arguments(listen, data, sidecar, users)...)
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return []string{listen}, func() {
		cmd.Process.Kill()
		cmd.Wait()
	}, nil
}

// container starts the gateway in a container. Its error says why there is none.
func container(ctx context.Context, binary string) (candidates []string, stop func(), err error) {
	// The reaper is an image to pull too; the test removes the container instead.
	if os.Getenv("TESTCONTAINERS_RYUK_DISABLED") == "" {
		os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	}
	defer func() {
		if r := recover(); r != nil { // testcontainers panics if there is no Docker at all
			err = fmt.Errorf("docker: %v", r)
		}
	}()
	quiet := log.New(io.Discard, "", 0)
	tclog.SetDefault(quiet)
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(quiet))
	if err != nil {
		return nil, nil, fmt.Errorf("docker: %w", err)
	}
	defer provider.Close()
	if err := provider.Health(ctx); err != nil {
		return nil, nil, fmt.Errorf("docker: %w", err)
	}
	const port = "7070"
	req := testcontainers.ContainerRequest{
		Cmd:          append([]string{"/versitygw"}, arguments(":"+port, "/data", "/sidecar", "/tmp")...),
		ExposedPorts: []string{port + "/tcp"},
	}
	repo := "kojisnap-test-versitygw"
	if _, err := provider.Client().ImageInspect(ctx, repo+":"+gatewayVersion); err == nil {
		req.Image = repo + ":" + gatewayVersion
	} else {
		archive, err := buildContext(binary)
		if err != nil {
			return nil, nil, err
		}
		req.FromDockerfile = testcontainers.FromDockerfile{
			ContextArchive: bytes.NewReader(archive), Repo: repo, Tag: gatewayVersion, KeepImage: true,
		}
	}
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{ContainerRequest: req, Started: true, Logger: quiet})
	if err != nil {
		if c != nil {
			_ = testcontainers.TerminateContainer(c)
		}
		return nil, nil, fmt.Errorf("docker: %w", err)
	}
	stop = func() {
		if err := testcontainers.TerminateContainer(c); err != nil {
			fmt.Fprintln(os.Stderr, "s3test:", err)
		}
	}
	mapped, err := c.MappedPort(ctx, port+"/tcp")
	if err != nil {
		stop()
		return nil, nil, fmt.Errorf("docker: %w", err)
	}
	// The address from testcontainers is wrong if this program runs in a container with its own engine,
	// so try others, too.
	candidates = []string{net.JoinHostPort("127.0.0.1", mapped.Port())}
	if host, err := c.Host(ctx); err == nil {
		candidates = append(candidates, net.JoinHostPort(host, mapped.Port()))
	}
	if ip, err := c.ContainerIP(ctx); err == nil {
		candidates = append(candidates, net.JoinHostPort(ip, port))
	}
	return candidates, stop, nil
}

const dockerfile = `FROM scratch
ADD root.tar /
`

// buildContext is a tar of a Dockerfile and the files of the image: the program and its
// directories.
func buildContext(binary string) ([]byte, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var root bytes.Buffer
	tw := tar.NewWriter(&root)
	for _, dir := range strings.Fields("tmp/ data/ sidecar/") {
		if err := tw.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(addFile(tw, "versitygw", 0o755, program), tw.Close()); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	tw = tar.NewWriter(&out)
	err = errors.Join(addFile(tw, "Dockerfile", 0o644, []byte(dockerfile)), addFile(tw, "root.tar", 0o644, root.Bytes()), tw.Close())
	return out.Bytes(), err
}

func addFile(tw *tar.Writer, name string, mode int64, body []byte) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(body))}); err != nil {
		return err
	}
	_, err := tw.Write(body)
	return err
}
