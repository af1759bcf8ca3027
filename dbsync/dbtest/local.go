package dbtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// local starts a private server below a temporary directory.
func local() (dsn string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "kojisnap-pg-")
	if err != nil {
		return "", nil, err
	}
	if dsn, err = StartLocal(dir); err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return dsn, func() {
		if err := StopLocal(dir); err != nil {
			fmt.Fprintln(os.Stderr, "dbtest:", err)
		}
	}, nil
}

// StartLocal starts a server from the machine's PostgreSQL binaries, with its data and its
// socket below dir, an empty directory. It outlives the process, until StopLocal. PostgreSQL
// refuses to run as root, so root starts it as the user postgres.
func StartLocal(dir string) (dsn string, err error) { return startLocal(dir, "") }

// StartLocalAt is StartLocal for a server that other network namespaces reach, at an address of this machine; clients
// are those of the address's network, a prefix such as 10.9.0.0/16.
func StartLocalAt(dir, address, clients string, port int) (dsn string, err error) {
	if _, err := startLocal(dir, fmt.Sprintf("-c listen_addresses=%s -c port=%d", address, port)); err != nil {
		return "", err
	}
	hba, err := os.OpenFile(filepath.Join(dir, "data", "pg_hba.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintf(hba, "host all all %s trust\n", clients)
	if err := errors.Join(err, hba.Close(), control(dir, "reload")); err != nil {
		return "", err
	}
	return fmt.Sprintf("postgres://postgres@%s:%d/postgres?sslmode=disable", address, port), nil
}

// startLocal is StartLocal with more settings.
func startLocal(dir, more string) (dsn string, err error) {
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	cred, err := credential(dir)
	if err != nil {
		return "", err
	}
	data := filepath.Join(dir, "data")
	if err := runAs(cred, dir, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"); err != nil {
		return "", err
	}
	options := fmt.Sprintf("-k %s -c listen_addresses='' %s %s", dir, strings.Join(settings, " "), more)
	if err := control(dir, "-l", filepath.Join(dir, "log"), "-o", options, "start"); err != nil {
		return "", err
	}
	return fmt.Sprintf("postgres://postgres@/postgres?host=%s", dir), nil
}

// RestartLocal ends the server at once, as a crash does, and starts it again.
func RestartLocal(dir string) error {
	return control(dir, "-l", filepath.Join(dir, "log"), "-m", "immediate", "restart")
}

// StopLocal stops what StartLocal started, and removes dir.
func StopLocal(dir string) error {
	return errors.Join(control(dir, "-m", "immediate", "stop"), os.RemoveAll(dir))
}

// control runs pg_ctl for the server below dir, and waits for what it is to do.
func control(dir string, args ...string) error {
	bin, err := binaries()
	if err != nil {
		return err
	}
	cred, err := credential(dir)
	if err != nil {
		return err
	}
	return runAs(cred, dir, filepath.Join(bin, "pg_ctl"), append([]string{"-D", filepath.Join(dir, "data"), "-w"}, args...)...)
}

func runAs(cred *syscall.Credential, dir, program string, args ...string) error {
	// Not a pipe: the server would keep it open.
	log, err := os.CreateTemp("", "kojisnap-pg-log-")
	if err != nil {
		return err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC")
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, bytes.TrimSpace(said))
	}
	return nil
}

// binaries finds the directory that holds the server's programs: the newest of a
// distribution's, else the one of PATH.
func binaries() (string, error) {
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"} {
		dirs, _ := filepath.Glob(pattern)
		for _, d := range dirs {
			if _, err := os.Stat(filepath.Join(d, "initdb")); err == nil {
				found = append(found, d)
			}
		}
	}
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
		return found[len(found)-1], nil
	}
	p, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("no PostgreSQL server installed: initdb is not in PATH")
	}
	if p, err = filepath.EvalSymlinks(p); err != nil {
		return "", err
	}
	return filepath.Dir(p), nil
}

func version(bin string) int {
	digits := strings.TrimLeft(filepath.Base(filepath.Dir(bin)), "pgsql-")
	n, _ := strconv.Atoi(digits)
	return n
}

// credential gives dir to the user that the server runs as, nil for the current one.
func credential(dir string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("root cannot run PostgreSQL, and there is no user postgres: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
