// Command withserver runs a command, such as go test, with one PostgreSQL server and, with -s3, one S3 server for all
// its processes:
//
//	withserver [-s3] COMMAND [ARGUMENT…]
//
// They are those that packages dbtest and s3test would start for each process, and go when the command has ended. The
// command finds them by KOJISNAP_TEST_DSN and KOJISNAP_TEST_S3_ENDPOINT. What the environment names already is not
// started. The exit code is the command's.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/store/s3/s3test"
)

func main() {
	args := os.Args[1:]
	withS3 := len(args) > 0 && args[0] == "-s3"
	if withS3 {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: withserver [-s3] COMMAND [ARGUMENT…]")
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
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "KOJISNAP_TEST_DSN="+dsn)
	stopS3 := func() {}
	if withS3 && os.Getenv("KOJISNAP_TEST_S3") == "" && os.Getenv("KOJISNAP_TEST_S3_ENDPOINT") == "" {
		var endpoint string
		if endpoint, stopS3, err = s3test.StartServer(context.Background()); err != nil {
			stop()
			fmt.Fprintln(os.Stderr, "withserver:", err)
			os.Exit(1)
		}
		cmd.Env = append(cmd.Env, "KOJISNAP_TEST_S3_ENDPOINT="+endpoint)
	}
	if err = cmd.Start(); err == nil {
		go func() {
			for s := range signals {
				_ = cmd.Process.Signal(s) // it may have ended
			}
		}()
		err = cmd.Wait()
	}
	stop()
	stopS3()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended) && ended.Exited():
		os.Exit(ended.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "withserver:", err)
		os.Exit(1)
	}
}
