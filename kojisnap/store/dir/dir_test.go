package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/storetest"
)

func TestContract(t *testing.T) {
	open := func(t *testing.T) store.Store {
		s, err := dir.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	storetest.Run(t, open)
	storetest.RunCreator(t, open)
	storetest.RunCleaner(t, open, leave)
}

// leave leaves the temporary file of a process that is killed while it writes an object: this
// program is started again for that.
func leave(t *testing.T, s store.Store, name string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KOJISNAP_TEST_KILLED="+s.String(), "KOJISNAP_TEST_NAME="+name)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the writer was not killed: %v: %s", err, out)
	}
	at := filepath.Join(s.String(), filepath.Dir(name), "."+filepath.Base(name)+".*")
	left, err := filepath.Glob(at)
	if err != nil || len(left) != 1 {
		t.Fatalf("the writer left %q, %v", left, err)
	}
	left[0], err = filepath.Rel(s.String(), left[0])
	if err != nil {
		t.Fatal(err)
	}
	return left[0]
}

// TestMain is also the process that leave starts.
func TestMain(m *testing.M) {
	if at := os.Getenv("KOJISNAP_TEST_KILLED"); at != "" {
		s, err := dir.Open(at)
		if err == nil {
			err = s.Put(context.Background(), os.Getenv("KOJISNAP_TEST_NAME"), killing{strings.NewReader("half of it")})
		}
		fmt.Fprintln(os.Stderr, "not killed:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// killing ends the process when all is read.
type killing struct{ io.ReadSeeker }

func (k killing) Read(p []byte) (int, error) {
	n, err := k.ReadSeeker.Read(p)
	if errors.Is(err, io.EOF) {
		err = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return n, err
}

func TestOpen(t *testing.T) {
	tmp := t.TempDir()
	if _, err := dir.Open(filepath.Join(tmp, "missing", "store")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("parent missing: %v", err)
	}
	if _, err := dir.OpenExisting(filepath.Join(tmp, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("store missing: %v", err)
	}
	file := filepath.Join(tmp, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Open(file); err == nil {
		t.Error("a file was opened as a store")
	}
}
