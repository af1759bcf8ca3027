package integration_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/s3/s3test"
)

// Each layout of hosts that the documentation names is tried here, by kojisnap itself. One host alone is TestMainJob, two
// hosts with a directory that both mount are TestHalves.

// TestLayoutBucket: a bucket lies between the host that pulls and the one that applies.
func TestLayoutBucket(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	bucket := s3test.StartParallel(t).URL(t)
	pulls, applies := w.halves(t, bucket, "f42-compose")
	succeed(t, "sync", "-c", pulls)
	succeed(t, "sync", "-c", applies)
	succeed(t, "sync", "-c", pulls)
	succeed(t, "sync", "-c", applies)
	plugin(t, 0, "last pull ", "-c", applies)
	plugin(t, 0, "stg: last success", "-c", applies, "--all")
	if out := succeed(t, "prune", "--keep", "1", "--store", bucket); out != "" {
		t.Errorf("%q", out)
	}
}

// TestLayoutCarried: there is no route between production and staging. A bundle and the files that a copy needs are
// carried over: staging's side names the files, rsync packs them, and a copy of what was carried leaves nothing to
// fetch. Of signed copies, which production has pruned, that is the rpm and its signature header.
func TestLayoutCarried(t *testing.T) {
	t.Parallel()
	rsync, err := exec.LookPath("rsync")
	if err != nil {
		if os.Getenv("KOJISNAP_TEST_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	w := newMarkedEnv(t)
	signed, err := filepath.Glob(filepath.Join(w.prodTree, "packages/*/*/*/data/signed"))
	must(t, err)
	for _, dir := range signed[:len(signed)/2] {
		must(t, os.RemoveAll(dir))
	}
	far := filepath.Join(t.TempDir(), "far") // the store on staging's side
	carried := t.TempDir()
	pulls, _ := w.halves(t, w.store.String(), "f42-compose")
	_, applies := w.halves(t, far, "f42-compose")
	body, err := os.ReadFile(applies)
	must(t, err)
	body = bytes.Replace(body, []byte(fmt.Sprintf("%q", w.prodTree)), []byte(fmt.Sprintf("%q", "file://"+carried)), 1)
	must(t, os.WriteFile(applies, body, 0o644))

	carry := func(args ...string) (file string) {
		t.Helper()
		succeed(t, "sync", "-c", pulls)
		file = filepath.Join(t.TempDir(), "koji.bundle")
		succeed(t, append([]string{"bundle", "latest", "-c", pulls, "-o", file}, args...)...)
		return file
	}
	file := carry("--verify", "digest")
	if o := kojisnapRun(t, "unbundle", file, "-c", applies, "--dry-run", "--json"); o.code != 3 || o.stderr != "" {
		t.Errorf("dry run: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	killUnbundle(t, file, far)
	id := strings.TrimSpace(succeed(t, "unbundle", file, "-c", applies))
	if !strings.HasPrefix(id, "419-") {
		t.Errorf("%q", id)
	}

	// The files.
	list := succeed(t, "copy", "--list0", "-c", applies)
	paths := strings.Split(strings.TrimSuffix(list, "\x00"), "\x00")
	if !strings.HasSuffix(list, "\x00") || len(paths) < 100 {
		t.Fatalf("%d paths", len(paths))
	}
	for _, p := range paths {
		if strings.Contains(p, "/data/signed/") || filepath.IsAbs(p) || strings.Contains(p, "..") {
			t.Errorf("path %q", p)
		}
	}
	cmd := exec.CommandContext(t.Context(), rsync, "-a", "-0", "--files-from=-", "--ignore-missing-args", w.prodTree+"/", carried+"/")
	cmd.Stdin = strings.NewReader(list)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("rsync: %v: %s", err, out)
	}
	succeed(t, "sync", "-c", applies)
	if o := kojisnapRun(t, "copy", "-c", applies, "--dry-run"); o.code != 0 {
		t.Errorf("what is left: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	// What staging has need not be carried again; a part that it lost is.
	if left := succeed(t, "copy", "--list0", "-c", applies); left != "" {
		t.Errorf("left to carry: %q", strings.ReplaceAll(left, "\x00", " "))
	}

	// The next day: only what is new goes over.
	again := carry("--since", id)
	whole, err := os.Stat(file)
	must(t, err)
	part, err := os.Stat(again)
	must(t, err)
	if part.Size() >= whole.Size() {
		t.Errorf("%d bytes since, %d bytes whole", part.Size(), whole.Size())
	}
	succeed(t, "unbundle", again, "-c", applies)
	succeed(t, "sync", "-c", applies)
	// By standard streams, into a third store.
	third := filepath.Join(t.TempDir(), "third")
	pack := exec.CommandContext(t.Context(), binary(t), "bundle", id, "-o", "-", "--store", far)
	unpack := exec.CommandContext(t.Context(), binary(t), "unbundle", "-", "--store", third)
	unpack.Stdin, err = pack.StdoutPipe()
	must(t, err)
	must(t, pack.Start())
	got, err := unpack.CombinedOutput()
	must(t, err)
	must(t, pack.Wait())
	if strings.TrimSpace(string(got)) != id {
		t.Errorf("%q", got)
	}
	if o := kojisnapRun(t, "bundle", id, "-o", "-", "--store", far, "--json"); o.code != 2 {
		t.Errorf("exit code %d", o.code)
	}
}

// killUnbundle kills an unbundle amid its work: there is no snapshot after.
func killUnbundle(t *testing.T, file, store string) {
	t.Helper()
	body, err := os.ReadFile(file)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), binary(t), "unbundle", "-", "--store", store)
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = io.Copy(in, bytes.NewReader(body[:len(body)*2/3]))
	must(t, err)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // it is at work
		if some, err := os.ReadDir(filepath.Join(store, "segments")); err == nil && len(some) > 0 || time.Now().After(deadline) {
			break
		}
	}
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
	s, err := dir.OpenExisting(store)
	must(t, err)
	all, err := repository.Snapshots(t.Context(), s)
	must(t, err)
	if len(all) > 0 {
		t.Errorf("%d snapshots", len(all))
	}
}
