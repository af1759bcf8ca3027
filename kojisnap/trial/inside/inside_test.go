package inside_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/trial"
	"kojisnap/kojisnap/trial/inside"
	"kojisnap/kojisnap/trial/inside/insidetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a tree of files, a job that makes a repository of some, and a user.
type world struct {
	options inside.Options
	job     trial.Job
	mounts  []inside.Mount
	user    *trial.User
	top     string
}

// bash is where the rpms of newWorld's job are in production's tree.
const bash = "packages/bash/5.3.0/2.fc42/x86_64"

// newWorld has a job of bash's rpms, and a part of production's tree in which they are. The test binary is no kojisnap, so
// that the program is built.
func newWorld(t testing.TB, program, part string) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: chown")
	}
	top, err := os.MkdirTemp("", "kojisnap-inside-") // t.TempDir is closed to other users
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(top)) })
	must(t, os.Chmod(top, 0o755))
	tree, err := extracted()
	must(t, err)
	must(t, os.CopyFS(filepath.Join(top, part), os.DirFS(filepath.Join(tree, part))))
	rpms, err := filepath.Glob(filepath.Join(top, bash, "*.rpm"))
	must(t, err)
	if len(rpms) != 4 {
		t.Fatalf("%d rpms", len(rpms))
	}
	w := &world{top: top, user: &trial.User{Name: "somebody", UID: 1234, GID: 1234}}
	w.options = inside.Options{Engine: inside.Docker, Program: program, Timeout: 5 * time.Minute}
	w.job = trial.Job{Dir: filepath.Join(top, "compose"), Trees: []trial.Tree{{Dir: "f42/x86_64", RPMs: rpms}}}
	w.mounts = []inside.Mount{{Path: top}}
	must(t, os.Mkdir(w.job.Dir, 0o755))
	must(t, filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, w.user.UID, w.user.GID))
	}))
	return w
}

func (w *world) run(t testing.TB, ctx context.Context, image string) (map[string]trial.Step, error) {
	t.Helper()
	found, err := w.options.Find(ctx, inside.Image{Name: image})
	must(t, err)
	steps, err := w.options.Run(ctx, found, w.job, w.mounts, w.user)
	by := map[string]trial.Step{}
	for _, s := range steps {
		by[s.Name] = s
	}
	if engine := w.options.Engine; engine == inside.Docker || engine == inside.Podman {
		if left := insidetest.ContainersIn(t, engine, image); len(left) > 0 {
			t.Errorf("containers are left: %q", left)
		}
	}
	return by, err
}

// TestContainer: what a trial finds inside real containers, as another user, and what it leaves on this machine.
func TestContainer(t *testing.T) {
	program := programOf(t)
	complete := insidetest.Make(t, insidetest.Image{Release: "42"})
	right := func(t *testing.T, engine, image string) {
		w := newWorld(t, program, bash)
		w.options.Engine = engine
		// The command sees a root that it cannot write, no network and no capabilities.
		w.job.Run = []string{"/bin/sh", "-c", `
			test -d f42/x86_64/repodata || exit 21
			if ( : > /etc/x ) 2> /tmp/no; then exit 22; fi
			while read -r name rest; do case $name in lo:|Inter-*|face*) ;; *) exit 23;; esac; done < /proc/net/dev
			while read -r name set; do case $name in CapEff:|CapBnd:) test $set = 0000000000000000 || exit 24;; esac; done < /proc/self/status
			: > /tmp/x`}
		steps, err := w.run(t, t.Context(), image)
		must(t, err)
		if e := steps[trial.StepEnvironment].Facts; e == nil || e.ID != "fedora" || e.Version != "42" || len(e.Missing) > 0 || e.Createrepo == "" || e.RPM == "" {
			t.Errorf("environment %+v", e)
		}
		if s := steps[trial.StepTrial]; s.Error != "" || trial.Count(s.Repos) != (trial.Repo{RPMs: 4, Linked: 4}) {
			t.Errorf("trial %+v", s)
		}
		if s := steps[trial.StepDigests]; s.Error != "" || s.Count != 4 || len(s.Bad) > 0 {
			t.Errorf("rpm -K %+v", s)
		}
		if s := steps[trial.StepClosure]; s.Error != "" || s.Count == 0 {
			t.Errorf("closure %+v", s)
		}
		if s := steps[trial.StepRun]; s.Error != "" || s.Count != 1 {
			t.Errorf("compose-run %+v", s)
		}
		for _, rpm := range w.job.Trees[0].RPMs {
			a, err := os.Stat(rpm)
			must(t, err)
			b, err := os.Lstat(filepath.Join(w.job.Dir, "f42/x86_64/Packages/b", filepath.Base(rpm)))
			must(t, err)
			if !os.SameFile(a, b) {
				t.Errorf("%s was not linked", rpm)
			}
		}
	}
	t.Run("right", func(t *testing.T) {
		right(t, inside.Docker, complete)
	})
	t.Run("podman", func(t *testing.T) {
		insidetest.Podman(t)
		right(t, inside.Podman, insidetest.MakeIn(t, inside.Podman, insidetest.Image{Release: "42"}))
	})
	t.Run("two mounts", func(t *testing.T) {
		w := newWorld(t, program, bash)
		w.mounts = []inside.Mount{{Path: filepath.Join(w.top, "packages"), ReadOnly: true}, {Path: w.job.Dir}}
		steps, err := w.run(t, t.Context(), complete)
		must(t, err)
		if s := trial.Count(steps[trial.StepTrial].Repos); s.Linked != 0 || s.Copied != 4 {
			t.Errorf("trial %+v", s)
		}
	})
	t.Run("incomplete image", func(t *testing.T) {
		w := newWorld(t, program, bash)
		steps, err := w.run(t, t.Context(), insidetest.Make(t, insidetest.Image{Release: "43", Without: []string{"createrepo_c", "rpm"}}))
		must(t, err)
		if e := steps[trial.StepEnvironment].Facts; e.Version != "43" || !slices.Equal(e.Missing, []string{"createrepo_c is not in $PATH", "rpm is not in $PATH"}) {
			t.Errorf("environment %+v", e)
		}
		if s := steps[trial.StepTrial]; !strings.Contains(s.Error, "createrepo_c") {
			t.Errorf("trial %+v", s)
		}
		if s := steps[trial.StepDigests]; !strings.Contains(s.Error, "rpm is not in $PATH") {
			t.Errorf("rpm -K %+v", s)
		}
	})
	t.Run("damaged rpm and failing command", func(t *testing.T) {
		w := newWorld(t, program, bash)
		bad := w.job.Trees[0].RPMs[0]
		body, err := os.ReadFile(bad)
		must(t, err)
		body[len(body)-1] ^= 1
		must(t, os.WriteFile(bad, body, 0o644))
		w.job.Run = []string{"/bin/sh", "-c", "echo one; echo it broke >&2; exit 7"}
		steps, err := w.run(t, t.Context(), complete)
		must(t, err)
		if s := steps[trial.StepDigests]; len(s.Bad) != 1 || !strings.Contains(s.Bad[0], filepath.Base(bad)) {
			t.Errorf("rpm -K %+v", s)
		}
		if s := steps[trial.StepRun]; !strings.Contains(s.Error, "exit status 7") || !slices.Equal(s.Tail, []string{"one", "it broke"}) {
			t.Errorf("compose-run %+v", s)
		}
	})
}

// TestHere: the same trial without an engine, as another user; what it started ends with it.
func TestHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, programOf(t), bash)
	w.options.Engine = inside.Here
	w.job.Run = []string{"/bin/sh", "-c", "id -u > uid"}
	steps, err := w.run(t, t.Context(), "this environment")
	must(t, err)
	if s := steps[trial.StepTrial]; s.Error != "" || trial.Count(s.Repos) != (trial.Repo{RPMs: 4, Linked: 4}) {
		t.Errorf("trial %+v", s)
	}
	if uid, err := os.ReadFile(filepath.Join(w.job.Dir, "uid")); err != nil || string(uid) != "1234\n" {
		t.Errorf("user %q, %v; %+v", uid, err, steps[trial.StepRun])
	}
	w = newWorld(t, programOf(t), bash)
	w.options.Engine, w.options.Timeout = inside.Here, 5*time.Second
	w.job.Run = []string{"/bin/sh", "-c", "sleep 600 & echo $! > pid; wait"}
	_, err = w.run(t, t.Context(), "this environment")
	var late *inside.TimeoutError
	if !errors.As(err, &late) {
		t.Errorf("error %v", err)
	}
	pid, err := os.ReadFile(filepath.Join(w.job.Dir, "pid"))
	must(t, err)
	// It has been killed; on a busy machine it is there for another moment.
	for range 500 {
		cmdline, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/cmdline")
		if err != nil || !strings.Contains(string(cmdline), "sleep") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %s still runs", pid)
}

// TestEnded: however a container ends before its job, that is told, and no container is left.
func TestEnded(t *testing.T) {
	t.Parallel()
	program := programOf(t)
	hang := func(t *testing.T) *world {
		w := newWorld(t, program, bash)
		w.job.Run = []string{"/bin/sh", "-c", "echo > began; sleep 600"}
		return w
	}
	began := func(w *world, then func()) {
		for range 6000 {
			if _, err := os.Stat(filepath.Join(w.job.Dir, "began")); err == nil {
				then()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		image := insidetest.Make(t, insidetest.Image{Release: "42"})
		w := hang(t)
		go began(w, func() {
			_ = exec.Command("docker", append([]string{"kill"}, insidetest.Containers(t, image)...)...).Run()
		})
		_, err := w.run(t, t.Context(), image)
		var killed *inside.KilledError
		if !errors.As(err, &killed) || killed.Step != trial.StepRun || !strings.Contains(err.Error(), "killed") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		image := insidetest.Make(t, insidetest.Image{Release: "42"})
		w := hang(t)
		ctx, cancel := context.WithCancel(t.Context())
		go began(w, cancel)
		if _, err := w.run(t, ctx, image); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("too long", func(t *testing.T) {
		t.Parallel()
		image := insidetest.Make(t, insidetest.Image{Release: "42"})
		w := hang(t)
		w.options.Timeout = 10 * time.Second
		_, err := w.run(t, t.Context(), image)
		var late *inside.TimeoutError
		if !errors.As(err, &late) || !strings.Contains(err.Error(), "--compose-timeout") {
			t.Errorf("error %v", err)
		}
	})
}

// TestUnusable: what has to be changed before a trial can begin.
func TestUnusable(t *testing.T) {
	isUnusable := func(t *testing.T, err error, text string) {
		t.Helper()
		var unusable *inside.UnusableError
		if !errors.As(err, &unusable) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want %q", err, text)
		}
	}
	o := inside.Options{Engine: inside.Docker}
	t.Run("no image", func(t *testing.T) {
		insidetest.Docker(t)
		_, err := o.Find(t.Context(), inside.Image{Name: "kojisnap-inside-test:is-not-there"})
		isUnusable(t, err, "docker pull kojisnap-inside-test:is-not-there")
	})
	t.Run("no engine", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		isUnusable(t, o.CheckEngine(t.Context()), "docker is not in $PATH")
	})
	t.Run("engine does not answer", func(t *testing.T) {
		insidetest.Docker(t)
		t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none"))
		isUnusable(t, o.CheckEngine(t.Context()), "docker does not answer")
	})
	t.Run("program that is not static", func(t *testing.T) {
		sh, err := exec.LookPath("sh") // dynamic on every system that has cgo
		must(t, err)
		w := newWorld(t, sh, bash)
		_, err = w.run(t, t.Context(), insidetest.Make(t, insidetest.Image{Release: "42", Bare: true}))
		isUnusable(t, err, "CGO_ENABLED=0")
	})
}

// TestForeign: an image for another arch is found to be one, and not run without an interpreter for it.
func TestForeign(t *testing.T) {
	image := insidetest.Make(t, insidetest.Image{Release: "42", Bare: true, Arch: "s390x"})
	found, err := inside.Options{Engine: inside.Docker}.Find(t.Context(), inside.Image{Name: image})
	must(t, err)
	_, err = os.Stat("/proc/sys/fs/binfmt_misc/qemu-s390x")
	if found.Arch != "s390x" || found.Runs() != (err == nil) {
		t.Errorf("arch %s, runs %v, binfmt_misc: %v", found.Arch, found.Runs(), err)
	}
}

var (
	built    string
	building sync.Mutex
)

// programOf builds kojisnap once for all tests.
func programOf(t testing.TB) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	if built == "" {
		insidetest.Docker(t)
		body, err := os.ReadFile(insidetest.Program(t))
		must(t, err)
		built = filepath.Join(dir, "kojisnap")
		must(t, os.WriteFile(built, body, 0o755))
	}
	return built
}

// extracted is production's tree, extracted once.
var extracted = sync.OnceValues(func() (string, error) {
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return "", err
	}
	return tree, kojiprod.ExtractTree(tree)
})

// dir is removed when the tests have ended.
var dir string

func TestMain(m *testing.M) {
	var err error
	if dir, err = os.MkdirTemp("", "kojisnap-inside-program-"); err == nil {
		if err = os.Chmod(dir, 0o755); err == nil {
			code := m.Run()
			os.RemoveAll(dir)
			os.Exit(code)
		}
	}
	panic(err)
}
