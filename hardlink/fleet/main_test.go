package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/hardlink/fleet"
)

// envWorker makes the test binary a worker: its value is a workerConfig.
const envWorker = "KOJISNAP_FLEET_TEST_WORKER"

// workerConfig is what a worker process is told.
type workerConfig struct {
	DSN, Dir string
	URL      string // of the server, as this worker reaches it; "": the site's
	Jobs     int
	JobTime  time.Duration
	Deaf     bool // its work does not end when it is canceled
}

func TestMain(m *testing.M) {
	if config := os.Getenv(envWorker); config != "" {
		os.Exit(workerMain(config))
	}
	// The tests wait, most of them: of seconds that the queue's protocol has. So more of them run than there are cores.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(dbtest.Main(m))
}

// workerMain is a worker's process. Its exit code is 0, or 5 for a *retry.TemporaryError, or 1.
func workerMain(text string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var c workerConfig
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = runWorker(ctx, c)
	}
	var temporary interface{ Temporary() bool }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &temporary) && temporary.Temporary():
		fmt.Fprintln(os.Stderr, err)
		return 5
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func runWorker(ctx context.Context, c workerConfig) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	q, err := fleet.Open(ctx, c.DSN, log)
	if err != nil {
		return err
	}
	defer q.Close()
	topdir, err := fleet.TopdirID(c.Dir, false)
	if err != nil {
		return err
	}
	s := site{dir: c.Dir, url: c.URL}
	work := s.work
	if c.Deaf {
		work = func(ctx context.Context, job fleet.ShardJob) error { return s.work(context.WithoutCancel(ctx), job) }
	}
	_, err = q.Run(ctx, fleet.Options{Topdir: topdir, Work: work, Jobs: c.Jobs, JobTime: c.JobTime, UntilDone: true, Grace: time.Second, Log: log})
	return err
}

// process is a worker process of a test.
type process struct {
	cmd *exec.Cmd
	out strings.Builder
	err chan error
}

// spawn starts a worker process; before are the words before its program, such as those of ip netns exec. It is killed
// when the test ends.
func spawn(t *testing.T, c workerConfig, before ...string) *process {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	words := append(before, os.Args[0], "-test.run=^$")
	p := &process{cmd: exec.Command(words[0], words[1:]...), err: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), envWorker+"="+string(text))
	p.cmd.Stderr = &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err <- p.cmd.Wait() }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// wait waits for the end, and returns the exit code; -1 after a signal.
func (p *process) wait(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.err:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("the worker did not end within %v", within)
	}
	return 0
}
