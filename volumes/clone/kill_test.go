package clone_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kojisnap/volumes/clone"
	"kojisnap/volumes/clone/clonetest"
)

// killEnv names the step at which a child kills itself; its arguments follow.
const killEnv = "KOJISNAP_TEST_CLONE_KILL"

func TestMain(m *testing.M) {
	if step := os.Getenv(killEnv); step != "" {
		child(step)
		return
	}
	os.Exit(m.Run())
}

// child makes or retires clones, and kills itself (SIGKILL) after a step, the first if it is "1".
func child(step string) {
	n := 0
	k := keeperOf(os.Args[1], os.Args[2], os.Args[3], os.Args[4], func(name string) error {
		if n++; fmt.Sprint(n) == step {
			fmt.Println(name)
			p, _ := os.FindProcess(os.Getpid())
			p.Kill()
			time.Sleep(time.Hour)
		}
		return nil
	})
	var err error
	if os.Args[5] == "retire" {
		k.Keep = 0
		var d *clone.Discarded
		if d, err = k.Retire(context.Background()); err == nil && len(d.Busy)+len(d.Failed) > 0 {
			os.Exit(exitBusy)
		}
	} else {
		_, err = k.Make(context.Background(), 20, "")
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// exitBusy is the child's exit code if it could not discard a clone: a container or another test that starts at that
// moment takes a copy of all mounts along, for as long as it lives in its own namespace.
const exitBusy = 9

// retire retires clones, and again while something else holds one.
func retire(t *testing.T, k *clone.Keeper) *clone.Discarded {
	t.Helper()
	var d *clone.Discarded
	for range 50 {
		var err error
		d, err = k.Retire(t.Context())
		must(t, err)
		if len(d.Busy)+len(d.Failed) == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return d
}

// killAt runs the child until it kills itself at a step, whose name it returns; "": it came to its end.
func (s *site) killAt(t *testing.T, step int, what string) string {
	t.Helper()
	var cmd *exec.Cmd
	var out []byte
	var err error
	for range 50 {
		cmd = exec.Command(os.Args[0], s.top, s.source, s.tree, filepath.Join(s.disk, "clones"), what)
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", killEnv, step))
		if out, err = cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != exitBusy {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err == nil {
		return ""
	}
	if cmd.ProcessState.Exited() {
		t.Fatalf("step %d: %v: %s", step, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Killed after each step of the making of a clone, and of its discarding: what the volume shows is always whole, the
// next run goes on with the same clone, and nothing is left in the end. Production's tree never changes.
func TestKilledAnywhere(t *testing.T) {
	s := newSite(t)
	before := clonetest.List(t, s.tree)
	first, err := s.keeper(t, nil).Make(t.Context(), 19, "")
	must(t, err)
	kill := func(what string, check func(step string)) []string {
		var steps []string
		for n := 1; ; n++ {
			step := s.killAt(t, n, what)
			if step == "" {
				break
			}
			steps = append(steps, step)
			shown := s.shows(t)
			if _, err := os.ReadFile(filepath.Join(s.top, "vol/prod", s.rpms[0])); err != nil || shown == "" {
				t.Errorf("killed after %s: the volume shows %q: %v", step, shown, err)
			}
			check(step)
			if t.Failed() {
				t.FailNow()
			}
		}
		return steps
	}
	steps := kill("make", func(step string) {
		shown := s.shows(t)
		if after := step == "switch" || step == "ready" || step == "pointer"; after == (shown == first.ID) {
			t.Errorf("killed after %s: the volume shows %s", step, shown)
		}
		// The next run makes the same clone, and shows it, or makes another if the first was shown already.
		m, err := s.keeper(t, nil).Make(t.Context(), 20, "")
		must(t, err)
		if m.Resumed != (step != "switch" && step != "ready" && step != "pointer") {
			t.Errorf("killed after %s: %+v", step, m)
		}
		k := s.keeper(t, nil)
		must(t, os.RemoveAll(filepath.Join(m.Compose, "x")))
		k.Keep = 0
		d := retire(t, k)
		if len(d.Busy)+len(d.Failed) > 0 {
			t.Errorf("killed after %s: retired %+v", step, d)
		}
		if entries, err := os.ReadDir(filepath.Join(s.disk, "clones")); err != nil || len(entries) != 1 || entries[0].Name() != m.ID {
			t.Errorf("killed after %s: there are %v, %v", step, entries, err)
		}
		next, err := s.keeper(t, nil).Make(t.Context(), 19, "")
		must(t, err)
		must(t, k.Discard(t.Context(), m.ID, false))
		first = next
	})
	for _, want := range []string{"note", "directory", "about", "directories", "probe", "mode", "create", "mount", "compose", "built", "intent", "switch", "ready", "pointer"} {
		if !strings.Contains(" "+strings.Join(steps, " ")+" ", " "+want+" ") {
			t.Errorf("never killed after %s: %q", want, steps)
		}
	}
	k := s.keeper(t, nil)
	k.Keep = 0
	_, err = k.Retire(t.Context())
	must(t, err)
	_, err = s.keeper(t, nil).Make(t.Context(), 21, "")
	must(t, err)
	shown := s.shows(t)
	steps = append(steps, kill("retire", func(string) {
		d := retire(t, k)
		if notes, err := clone.Notes(s.top); err != nil || len(notes) != 1 || len(d.Busy)+len(d.Failed) > 0 {
			t.Errorf("notes %v, %v; retired %+v", notes, err, d)
		}
		_, err = s.keeper(t, nil).Make(t.Context(), 21, "")
		must(t, err)
	})...)
	for _, want := range []string{"leaving", "unmounted", "removed upper", "removed about.json", "discarded", "forgotten"} {
		if !strings.Contains(strings.Join(steps, ","), want) {
			t.Errorf("never killed after %s: %q", want, steps)
		}
	}
	if s.shows(t) == shown {
		t.Error("the test did nothing")
	}
	if clonetest.List(t, s.tree) != before {
		t.Error("production's tree changed")
	}
}
