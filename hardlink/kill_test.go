package hardlink_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/progress"
	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

// runAndKill runs the job in a child process and kills it (SIGKILL) after some units of work, when the next
// one has just begun. It reports whether the process ended by itself before.
func runAndKill(t *testing.T, j job, after int) (finished bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	j.tell(t, cmd)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for n := 0; lines.Scan(); n++ {
		io.WriteString(stdin, "go\n")
		if n == after {
			cmd.Process.Kill()
			cmd.Wait()
			return false
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("child: %v\n%s", err, stderr.String())
	}
	return true
}

// A run is killed again and again, each time a little later. After each kill each build is whole or absent,
// and the next run continues.
func TestKilledAndRunAgain(t *testing.T) {
	s := newSite(t)
	ro := filepath.Join(t.TempDir(), "ro")
	bindReadOnly(t, s.prod, ro) // so that files are copied
	some := map[string]bool{"bash": true, "glibc": true, "kernel": true, "postgresql-stream": true, "curl": true, "draftpkg": true}
	s.input = volumestest.Split(s.input, func(b volumes.BuildFiles) bool { return some[b.Name] })
	plan := s.plan(t)
	j := job{Options: hardlink.Options{Topdir: s.top, ReadOnly: ro, Jobs: 1, BatchFiles: 10}, Plan: plan}
	finished := false
	kills, whole := 0, 0
	for after := 5; !finished; after += 9 {
		finished = runAndKill(t, j, after)
		if !finished {
			kills++
			whole += s.wholeOrTemp(t)
			ledger, err := ledger.Read(s.top)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range ledger.Staged() {
				if _, err := os.Lstat(filepath.Join(s.top, dir(t, b.Build))); err != nil {
					t.Errorf("complete by the ledger: %v", err)
				}
			}
		}
	}
	if kills < 3 || whole == 0 {
		t.Errorf("%d kills, %d whole builds seen after them: the test is too weak", kills, whole)
	}
	s.check(t)
	if _, err := os.Lstat(filepath.Join(s.top, "vol/staged/.kojisnap-tmp")); err == nil {
		t.Error("temporary files are left")
	}
	e := s.engine(t, func(o *hardlink.Options) { o.ReadOnly = ro })
	a, err := e.Diff(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if a.Pending() || len(a.Kept) != 0 {
		t.Errorf("something is left to do or is taken for staging's: %+v", a)
	}
}

func TestKilledWhileRemoving(t *testing.T) {
	s := newSite(t)
	s.mustCopy(t)
	empty := s.plan(t)
	empty.Staged, empty.Linked = nil, nil
	j := job{Options: hardlink.Options{Topdir: s.top, ReadOnly: s.prod, WritableSource: true, Jobs: 1}, Plan: empty, Remove: true}
	kills := 0
	for after := 3; !runAndKill(t, j, after); after += 40 {
		kills++
	}
	if kills == 0 {
		t.Error("it was never killed")
	}
	if left := files(t, filepath.Join(s.top, "vol/staged/packages")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	ledger, err := ledger.Read(s.top)
	if err != nil || len(ledger.Builds) != 0 {
		t.Errorf("the ledger has %d builds, %v", len(ledger.Builds), err)
	}
}

// The process dies after each single operation on topdir in turn: while it copies, adds files to an existing
// build, or removes. Each time nothing is half visible; the next run completes, and takes nothing for
// staging's own.
func TestCrashAnywhere(t *testing.T) {
	base := newSite(t, "win-tool", "emptypkg")
	little := volumes.Want{Arches: []string{"s390x"}, BTypes: []string{"none"}}
	scenarios := []string{"copy", "add", "remove", "leave", "rebuild"}
	if os.Geteuid() == 0 {
		scenarios = append(scenarios, "owner")
	}
	for i, scenario := range scenarios {
		opts := func(o *hardlink.Options) {
			o.Rows, o.Leave, o.Audit = noRows, scenario == "leave", scenario == "rebuild"
			if scenario == "owner" {
				ofSomeone(o)
			}
		}
		crashes := 0
		for n := int64(i % every()); ; n += int64(every()) {
			s := &site{prod: base.prod, top: t.TempDir(), input: base.input, want: base.want}
			plan := s.plan(t)
			switch scenario {
			case "add":
				s.want = little
				s.mustCopy(t)
				s.want = base.want
			case "remove", "leave":
				s.mustCopy(t)
				plan.Staged, plan.Linked = nil, nil
			case "rebuild":
				s.mustCopy(t)
				if err := os.WriteFile(filepath.Join(s.top, ".kojisnap/ledger"), []byte("rubbish\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			diff := func(e *hardlink.Engine) (hardlink.Actions, error) {
				if scenario == "remove" {
					return e.DiffRemove(t.Context(), plan)
				}
				return e.Diff(t.Context(), plan)
			}
			e := s.engine(t, opts)
			a, err := diff(e)
			if err != nil {
				t.Fatal(err)
			}
			e.CrashAfter(n)
			if _, err := e.Apply(t.Context(), a); err == nil {
				break // the run completed
			} else if !errors.Is(err, hardlink.ErrCrash) {
				t.Fatalf("%s, crash after %d: %v", scenario, n, err)
			}
			crashes++
			if scenario == "copy" || scenario == "owner" {
				s.wholeOrTemp(t)
			}
			e = s.engine(t, opts)
			if a, err = diff(e); err == nil {
				_, err = e.Apply(t.Context(), a)
			}
			if err != nil || len(a.Kept) != 0 {
				t.Fatalf("%s again, after a crash after %d: %v, kept %v", scenario, n, err, a.Kept)
			}
			if a, err = diff(e); err != nil || a.Pending() {
				t.Fatalf("%s, crash after %d: left to do: %+v, %v", scenario, n, a, err)
			}
			if scenario == "leave" {
				if wanted, there := s.staged(t); wanted != 0 || there != len(s.input.Builds) {
					t.Errorf("%d builds are wanted of %d", wanted, there)
				}
				for _, b := range s.input.Builds {
					s.staysOnProd(t, dir(t, b.Build))
				}
			} else if scenario != "remove" {
				s.check(t)
			} else if left := append(files(t, filepath.Join(s.top, "vol/staged/packages")), files(t, filepath.Join(s.top, "packages"))...); len(left) != 0 {
				t.Errorf("remove, crash after %d: left %q", n, left)
			}
			if scenario == "owner" {
				s.owned(t, 0o644, 0o755)
			}
			if t.Failed() {
				t.Fatalf("%s, crash after %d", scenario, n)
			}
		}
		t.Logf("%s: %d crashes", scenario, crashes)
		least := 10
		if scenario == "rebuild" {
			least = 4 // it only writes the ledger
		}
		if crashes < least/every() {
			t.Errorf("%s: only %d crashes: the test is too weak", scenario, crashes)
		}
	}
}

func TestCancelledIsNotFinished(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	e := s.engine(t, func(o *hardlink.Options) { o.Progress = &canceller{cancel: cancel, after: 100} })
	a, err := e.Diff(t.Context(), s.plan(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Apply(ctx, a)
	if err != context.Canceled {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	s.wholeOrAbsent(t)
	s.mustCopy(t)
	s.check(t)
}

type canceller struct {
	cancel func()
	after  int32
	n      atomic.Int32
}

func (c *canceller) Begin(string, int64) progress.Counter { return c }
func (c *canceller) End()                                 {}
func (c *canceller) Add(int64) {
	if c.n.Add(1) == c.after {
		c.cancel()
	}
}
