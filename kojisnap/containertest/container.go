// Package containertest starts the servers of tests in containers, where a Docker engine runs. An Image is built of
// files of this machine, so nothing need be pulled.
package containertest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
)

var quiet = log.New(io.Discard, "", 0)

// Start starts a container, which Stop removes. Its error says why there is none.
func Start(ctx context.Context, req testcontainers.ContainerRequest) (c testcontainers.Container, err error) {
	err = withEngine(ctx, func(*testcontainers.DockerProvider) error {
		c, err = testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{ContainerRequest: req, Started: true, Logger: quiet})
		if err != nil && c != nil {
			_ = testcontainers.TerminateContainer(c)
		}
		return err
	})
	return c, err
}

// Stop removes a container. If that fails, it says so on standard error.
func Stop(c testcontainers.Container) {
	if err := testcontainers.TerminateContainer(c); err != nil {
		fmt.Fprintln(os.Stderr, "remove a test's container:", err)
	}
}

// Addresses returns the addresses by which a port of a container may be reached. What testcontainers says is wrong
// where this program runs in a container beside an engine of its own, so there are others to try first.
func Addresses(ctx context.Context, c testcontainers.Container, port string) ([]string, error) {
	mapped, err := c.MappedPort(ctx, port+"/tcp")
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	var all []string
	if ip, err := c.ContainerIP(ctx); err == nil { // without Docker's proxy, where this is the engine's host
		all = append(all, net.JoinHostPort(ip, port))
	}
	all = append(all, net.JoinHostPort("127.0.0.1", mapped.Port()))
	if host, err := c.Host(ctx); err == nil {
		all = append(all, net.JoinHostPort(host, mapped.Port()))
	}
	return all, nil
}

// withEngine calls fn if there is a Docker engine.
func withEngine(ctx context.Context, fn func(*testcontainers.DockerProvider) error) (err error) {
	// The reaper is an image to pull, too; Stop removes the container instead.
	if os.Getenv("TESTCONTAINERS_RYUK_DISABLED") == "" {
		os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	}
	defer func() {
		if r := recover(); r != nil { // testcontainers panics if there is no Docker at all
			err = fmt.Errorf("docker: %v", r)
		}
	}()
	tclog.SetDefault(quiet)
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(quiet))
	if err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	defer provider.Close()
	if err := provider.Health(ctx); err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	if err := fn(provider); err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	return nil
}
