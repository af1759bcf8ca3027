// Command withserver runs a command, such as go test, with one PostgreSQL server for all its processes:
//
//	withserver COMMAND [ARGUMENT…]
//
// The server is the one that package dbtest would start for each process, and goes when the command has ended;
// the command finds it by KOJISNAP_TEST_DSN. If that is set already, nothing is started. The exit code is the
// command's.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"kojisnap/dbsync/dbtest"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: withserver COMMAND [ARGUMENT…]")
		os.Exit(2)
	}
	// A terminal sends its signals to the command, too: it ends, and then the server must be stopped.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	dsn, stop, err := dbtest.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "withserver:", err)
		os.Exit(1)
	}
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "KOJISNAP_TEST_DSN="+dsn)
	if err = cmd.Start(); err == nil {
		go func() {
			for s := range signals {
				_ = cmd.Process.Signal(s) // it may have ended
			}
		}()
		err = cmd.Wait()
	}
	stop()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended) && ended.Exited():
		os.Exit(ended.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "withserver:", err)
		os.Exit(1)
	}
}
