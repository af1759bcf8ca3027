package dbtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"kojisnap/kojisnap/containertest"
)

// publicImage is used where it can be pulled; elsewhere an image is built of the machine's
// own PostgreSQL.
const publicImage = "postgres:16-alpine"

// container starts PostgreSQL in a container that stop removes.
func container(ctx context.Context) (dsn string, stop func(), err error) {
	dsn, c, err := startContainer(ctx)
	return dsn, func() { containertest.Stop(c) }, err
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

const port = "5432"

func startContainer(ctx context.Context) (dsn string, c testcontainers.Container, err error) {
	c, err = containertest.Start(ctx, testcontainers.ContainerRequest{
		Image:        publicImage,
		Env:          map[string]string{"POSTGRES_HOST_AUTH_METHOD": "trust", "TZ": "UTC"},
		ExposedPorts: []string{port + "/tcp"},
		Cmd:          append([]string{"postgres"}, settings...),
		WaitingFor:   wait.ForLog("database system is ready to accept connections").WithOccurrence(2),
	})
	if err != nil {
		pull := err
		req, err := ownImage(ctx)
		if err != nil {
			return "", nil, fmt.Errorf("pull %s: %w; %w", publicImage, pull, err)
		}
		if c, err = containertest.Start(ctx, req); err != nil {
			return "", nil, fmt.Errorf("an image of this machine's PostgreSQL: %w", err)
		}
	}
	if dsn, err = address(ctx, c); err != nil {
		return "", nil, errors.Join(err, testcontainers.TerminateContainer(c))
	}
	return dsn, c, nil
}

// address finds how the container is reached.
func address(ctx context.Context, c testcontainers.Container) (string, error) {
	candidates, err := containertest.Addresses(ctx, c, port)
	if err != nil {
		return "", err
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
func ownImage(ctx context.Context) (testcontainers.ContainerRequest, error) {
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
		ExposedPorts: []string{port + "/tcp"},
		User:         "70:70",
		Cmd:          []string{"/bin/sh", "-c", start},
		Tmpfs:        map[string]string{data: "rw,uid=70,gid=70,mode=0700"},
		WaitingFor:   wait.ForLog("database system is ready to accept connections"),
	}
	err = containertest.Image{
		// The server's program stands for all of its package that is in the image; the number in front
		// changes with imageFiles.
		Repo: "kojisnap-test-postgres", Tag: fmt.Sprintf("3-%d-%d", info.ModTime().Unix(), info.Size()),
		Dirs: []string{"/tmp", "/var", "/var/lib", data},
		// The server looks its user up by name.
		Texts: map[string]string{"/etc/passwd": "postgres:x:70:70::/tmp:/bin/sh\n", "/etc/group": "postgres:x:70:\n"},
		Files: func() (map[string]string, error) { return imageFiles(bin) },
	}.For(ctx, &req)
	return req, err
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
