package s3test

import (
	"context"
	"fmt"
	"os"

	"github.com/testcontainers/testcontainers-go"

	"kojisnap/kojisnap/containertest"
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

const port = "7070"

// container starts the gateway in a container, with its data in memory. Its error says why there is none.
func container(ctx context.Context, binary string) (candidates []string, stop func(), err error) {
	req := testcontainers.ContainerRequest{
		Cmd:          append([]string{"/versitygw"}, arguments(":"+port, "/data", "/sidecar", "/tmp")...),
		ExposedPorts: []string{port + "/tcp"},
		Tmpfs:        map[string]string{"/data": "", "/sidecar": "", "/tmp": ""},
	}
	image := containertest.Image{
		Repo: "kojisnap-test-versitygw", Tag: gatewayVersion,
		Dirs:  []string{"/tmp", "/data", "/sidecar"},
		Files: func() (map[string]string, error) { return map[string]string{"/versitygw": binary}, nil },
	}
	if err := image.For(ctx, &req); err != nil {
		return nil, nil, err
	}
	c, err := containertest.Start(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	stop = func() { containertest.Stop(c) }
	if candidates, err = containertest.Addresses(ctx, c, port); err != nil {
		stop()
		return nil, nil, err
	}
	return candidates, stop, nil
}
