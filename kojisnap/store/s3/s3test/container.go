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
	"strings"

	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
)

// StartServer starts a gateway for the tests of several packages, in a container if there is a Docker engine, and
// returns its URL. The tests find it by KOJISNAP_TEST_S3_ENDPOINT.
func StartServer(ctx context.Context) (endpoint string, stop func(), err error) {
	binary, err := gateway(ctx)
	if err != nil {
		return "", nil, err
	}
	candidates, stop, docker := container(ctx, binary)
	if docker != nil {
		s, err := start(ctx, os.TempDir())
		if err != nil {
			return "", nil, fmt.Errorf("%w (in a container: %w)", err, docker)
		}
		return s.Endpoint, s.stop, nil
	}
	if endpoint, err = answering(ctx, candidates); err != nil {
		stop()
		return "", nil, err
	}
	return endpoint, stop, nil
}

// container starts the gateway in a container, with its data in memory. Its error says why there is none.
func container(ctx context.Context, binary string) (candidates []string, stop func(), err error) {
	// The reaper is an image to pull too; stop removes the container instead.
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
		Tmpfs:        map[string]string{"/data": "", "/sidecar": "", "/tmp": ""},
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
	if ip, err := c.ContainerIP(ctx); err == nil { // without Docker's proxy, where this is the engine's host
		candidates = append(candidates, net.JoinHostPort(ip, port))
	}
	// The address from testcontainers is wrong if this program runs in a container with its own engine.
	candidates = append(candidates, net.JoinHostPort("127.0.0.1", mapped.Port()))
	if host, err := c.Host(ctx); err == nil {
		candidates = append(candidates, net.JoinHostPort(host, mapped.Port()))
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
