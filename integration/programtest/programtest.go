// Package programtest builds kojisnap for tests.
package programtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Build puts the program at a path, as packages have it. It is linked once for the tests of all packages: it stays in
// the user's cache directory, where the go command sees whether it is up to date.
func Build(path string) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	for ; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "scripts/packaging/build")); err == nil {
			break
		} else if root == filepath.Dir(root) {
			return errors.New("the tests do not run in a checkout: there is no scripts/packaging/build")
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "kojisnap-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Another package, or another checkout, may build at the same time.
	lock, err := os.OpenFile(filepath.Join(dir, "program.lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	built := filepath.Join(dir, "kojisnap")
	// Not written by this process: what it starts meanwhile would have the file open, and then nobody can run it.
	for _, command := range [][]string{{filepath.Join(root, "scripts/packaging/build"), built}, {"cp", built, path}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", command[0], err, out)
		}
	}
	return nil
}
