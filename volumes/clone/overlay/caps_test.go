package overlay_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// without calls do in a thread that has not CAP_SYS_ADMIN.
func without(t *testing.T, do func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			done <- err
			return
		}
		data[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
		if err := unix.Capset(&header, &data[0]); err != nil {
			done <- err
			return
		}
		done <- do()
	}()
	return <-done
}
