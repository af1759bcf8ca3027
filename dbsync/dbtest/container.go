package dbtest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/wait"
)

// publicImage is used where it can be pulled; elsewhere an image is built of the machine's
// own PostgreSQL.
const publicImage = "postgres:16-alpine"

// container starts PostgreSQL in a container that stop removes.
func container(ctx context.Context) (dsn string, stop func(), err error) {
	dsn, c, err := startContainer(ctx)
	return dsn, func() {
		if err := testcontainers.TerminateContainer(c); err != nil {
			fmt.Fprintln(os.Stderr, "dbtest:", err)
		}
	}, err
}

// StartContainer starts PostgreSQL in a container that outlives the process, until
// `docker rm -f ID`. Its error says why there is none.
func StartContainer(ctx context.Context) (dsn, id string, err error) {
	dsn, c, err := startContainer(ctx)
	if err != nil {
		return "", "", err
	}
	return dsn, c.GetContainerID(), nil
}

func startContainer(ctx context.Context) (dsn string, c testcontainers.Container, err error) {
	// The reaper is an image to pull too; Main removes the container instead.
	if os.Getenv("TESTCONTAINERS_RYUK_DISABLED") == "" {
		os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	}
	defer func() {
		if r := recover(); r != nil { // how testcontainers says that there is no Docker at all
			err = fmt.Errorf("docker: %v", r)
		}
	}()
	quiet := log.New(io.Discard, "", 0)
	tclog.SetDefault(quiet)
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(quiet))
	if err != nil {
		return "", nil, fmt.Errorf("docker: %w", err)
	}
	defer provider.Close()
	if err := provider.Health(ctx); err != nil {
		return "", nil, fmt.Errorf("docker: %w", err)
	}
	run := func(req testcontainers.ContainerRequest) (testcontainers.Container, error) {
		c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
			ContainerRequest: req, Started: true, Logger: quiet})
		if err != nil && c != nil {
			_ = testcontainers.TerminateContainer(c)
		}
		return c, err
	}
	c, err = run(testcontainers.ContainerRequest{
		Image:        publicImage,
		Env:          map[string]string{"POSTGRES_HOST_AUTH_METHOD": "trust", "TZ": "UTC"},
		ExposedPorts: []string{"5432/tcp"},
		Cmd:          append([]string{"postgres"}, settings...),
		WaitingFor:   wait.ForLog("database system is ready to accept connections").WithOccurrence(2),
	})
	if err != nil {
		pull := err
		req, err := ownImage(ctx, provider)
		if err != nil {
			return "", nil, fmt.Errorf("docker: pull %s: %w; %w", publicImage, pull, err)
		}
		if c, err = run(req); err != nil {
			return "", nil, fmt.Errorf("docker: an image of this machine's PostgreSQL: %w", err)
		}
	}
	if dsn, err = address(ctx, c); err != nil {
		return "", nil, errors.Join(err, testcontainers.TerminateContainer(c))
	}
	return dsn, c, nil
}

// address finds how the container is reached. What testcontainers says is wrong where this
// program runs in a container beside an engine of its own, so others are tried too.
func address(ctx context.Context, c testcontainers.Container) (string, error) {
	port, err := c.MappedPort(ctx, "5432/tcp")
	if err != nil {
		return "", err
	}
	var candidates []string
	if ip, err := c.ContainerIP(ctx); err == nil { // without Docker's proxy, where this is the engine's host
		candidates = append(candidates, net.JoinHostPort(ip, "5432"))
	}
	candidates = append(candidates, net.JoinHostPort("127.0.0.1", port.Port()))
	if host, err := c.Host(ctx); err == nil {
		candidates = append(candidates, net.JoinHostPort(host, port.Port()))
	}
	var errs []error
	for _, hostport := range candidates {
		dsn := fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable&connect_timeout=3", hostport)
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			return dsn, conn.Close(ctx)
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("docker: the container cannot be reached: %w", errors.Join(errs...))
}

// settings of a server whose data need not survive it. Statements of tests are too short to be compiled, and
// tables too short-lived for autovacuum, which would visit each of hundreds of databases.
var settings = []string{"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "jit=off", "-c", "autovacuum=off",
	"-c", "max_connections=200", "-c", "timezone=UTC"}

// ownImage is a container of the machine's own PostgreSQL: its programs, their libraries and a
// shell, in an image built from nothing, once for each version of the server.
func ownImage(ctx context.Context, provider *testcontainers.DockerProvider) (testcontainers.ContainerRequest, error) {
	bin, err := binaries()
	if err != nil {
		return testcontainers.ContainerRequest{}, err
	}
	info, err := os.Stat(filepath.Join(bin, "postgres"))
	if err != nil {
		return testcontainers.ContainerRequest{}, err
	}
	const data = "/var/lib/kojisnap-test"
	start := fmt.Sprintf(`%[1]s/initdb -D %[2]s -U postgres -A trust -E UTF8 --no-locale --no-sync >/dev/null &&
		echo 'host all all all trust' >> %[2]s/pg_hba.conf &&
		exec %[1]s/postgres -D %[2]s -c listen_addresses='*' -c unix_socket_directories=/tmp %[3]s`,
		bin, data, strings.Join(settings, " "))
	req := testcontainers.ContainerRequest{
		ExposedPorts: []string{"5432/tcp"},
		User:         "70:70",
		Cmd:          []string{"/bin/sh", "-c", start},
		Tmpfs:        map[string]string{data: "rw,uid=70,gid=70,mode=0700"},
		WaitingFor:   wait.ForLog("database system is ready to accept connections"),
	}
	// The server's program stands for all of its package that is in the image; the number in front
	// changes with imageFiles.
	repo, tag := "kojisnap-test-postgres", fmt.Sprintf("3-%d-%d", info.ModTime().Unix(), info.Size())
	if _, err := provider.Client().ImageInspect(ctx, repo+":"+tag); err == nil {
		req.Image = repo + ":" + tag
		return req, nil
	}
	archive, err := buildContext(bin)
	if err != nil {
		return testcontainers.ContainerRequest{}, err
	}
	req.FromDockerfile = testcontainers.FromDockerfile{
		ContextArchive: bytes.NewReader(archive), Repo: repo, Tag: tag, KeepImage: true,
	}
	return req, nil
}

const dockerfile = `FROM scratch
ADD root.tar /
`

// buildContext is a tar of a Dockerfile and the files of the image.
func buildContext(bin string) ([]byte, error) {
	files, err := imageFiles(bin)
	if err != nil {
		return nil, err
	}
	var root bytes.Buffer
	tw := tar.NewWriter(&root)
	for _, dir := range []string{"tmp/", "var/", "var/lib/", "var/lib/kojisnap-test/"} {
		if err := tw.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o777, Uid: 70, Gid: 70}); err != nil {
			return nil, err
		}
	}
	// The server looks its user up by name.
	for name, body := range map[string]string{"etc/passwd": "postgres:x:70:70::/tmp:/bin/sh\n", "etc/group": "postgres:x:70:\n"} {
		if err := addFile(tw, name, 0o644, []byte(body)); err != nil {
			return nil, err
		}
	}
	for name, from := range files {
		info, err := os.Stat(from)
		if err != nil {
			return nil, err
		}
		body, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		if err := addFile(tw, strings.TrimPrefix(name, "/"), int64(info.Mode().Perm()), body); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	tw = tar.NewWriter(&out)
	if err := errors.Join(addFile(tw, "Dockerfile", 0o644, []byte(dockerfile)), addFile(tw, "root.tar", 0o644, root.Bytes()), tw.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func addFile(tw *tar.Writer, name string, mode int64, body []byte) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(body))}); err != nil {
		return err
	}
	_, err := tw.Write(body)
	return err
}

// imageFiles maps each path of the image to the file that it comes from.
func imageFiles(bin string) (map[string]string, error) {
	programs := []string{"/bin/sh", filepath.Join(bin, "postgres"), filepath.Join(bin, "initdb")}
	files := map[string]string{}
	config := func(flag string) (string, error) {
		out, err := exec.Command(filepath.Join(bin, "pg_config"), flag).Output()
		return strings.TrimSpace(string(out)), err
	}
	share, err := config("--sharedir")
	if err != nil {
		// pg_config comes with the development package on some distributions.
		share = strings.Replace(filepath.Dir(bin), "/lib/", "/share/", 1)
	}
	lib, err := config("--pkglibdir")
	if err != nil {
		lib = filepath.Join(filepath.Dir(bin), "lib")
	}
	for _, name := range []string{"plpgsql.so", "dict_snowball.so"} {
		programs = append(programs, filepath.Join(lib, name))
	}
	// Other encodings of clients and databases.
	conversions, err := filepath.Glob(filepath.Join(lib, "utf8_and_*.so"))
	if err != nil {
		return nil, err
	}
	programs = append(programs, conversions...)
	for _, p := range programs {
		files[p] = p
		libs, err := sharedLibraries(p)
		if err != nil {
			return nil, err
		}
		for _, l := range libs {
			files[l] = l
		}
	}
	for _, dir := range []string{share, "/usr/share/zoneinfo/Etc", "/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/Asia/Tokyo", "/usr/share/zoneinfo/Asia/Kathmandu"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !strings.Contains(path, "/man/") {
				files[path] = path
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// sharedLibraries asks the dynamic loader what a program needs.
func sharedLibraries(program string) ([]string, error) {
	out, err := exec.Command("ldd", program).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w: %s", program, err, strings.TrimSpace(string(out)))
	}
	var libs []string
	for _, field := range strings.Fields(string(out)) {
		if strings.HasPrefix(field, "/") {
			libs = append(libs, field)
		}
	}
	return libs, nil
}
