// Package insidetest makes images for tests of trials: of this machine's own programs, which say of themselves that they
// are a release of Fedora. So tests need no registry.
package insidetest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"kojisnap/integration/programtest"
)

// Image says what an image has.
type Image struct {
	Release string            // VERSION_ID of os-release, whose ID is fedora
	Without []string          // programs that it lacks, such as createrepo_c
	Scripts map[string]string // programs of the shell in the place of others: by name, the text
	Arch    string            // that the image says it is for; empty: this machine's
	Bare    bool              // nothing at all but os-release
}

// Need skips a test that lacks something, or fails it where KOJISNAP_TEST_ALL is set.
func Need(t testing.TB, err error, what string) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("KOJISNAP_TEST_ALL") != "" {
		t.Fatalf("needs %s: %v", what, err)
	}
	t.Skipf("needs %s: %v", what, err)
}

// Docker skips a test where no Docker engine answers: no package can give it to a machine that may not run one.
func Docker(t testing.TB) {
	t.Helper()
	if out, err := exec.Command("docker", "version").CombinedOutput(); err != nil {
		t.Skipf("needs docker: %v: %s", err, out)
	}
}

// Podman skips a test where podman cannot run containers: where it is not installed, or the machine forbids it.
func Podman(t testing.TB) {
	t.Helper()
	// Podman raises limits, which a machine may forbid that is a container itself.
	limits := filepath.Join(t.TempDir(), "containers.conf")
	if err := os.WriteFile(limits, []byte("[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_CONF", limits)
	if out, err := exec.Command("podman", "info").CombinedOutput(); err != nil {
		t.Skipf("needs podman: %v: %.300s", err, out)
	}
}

// Make makes an image of docker, and removes it when the test ends. It returns its name.
func Make(t testing.TB, i Image) string {
	t.Helper()
	Docker(t)
	return MakeIn(t, "docker", i)
}

// MakeIn makes an image of docker or podman.
func MakeIn(t testing.TB, engine string, i Image) string {
	t.Helper()
	for _, program := range programs {
		_, err := exec.LookPath(program)
		Need(t, err, program)
	}
	name := "kojisnap-inside-test:" + strings.ToLower(rand.Text())
	if engine == "podman" {
		name = "localhost/" + name // as podman completes it
	}
	cmd := exec.Command(engine, "load", "--quiet")
	cmd.Stdin = bytes.NewReader(i.archive(t, name))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s load: %v: %s", engine, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command(engine, "image", "rm", "--force", name).CombinedOutput(); err != nil {
			t.Errorf("%s image rm: %v: %s", engine, err, out)
		}
	})
	return name
}

// archive is what docker load reads: an image of a layer of its own, and below it, unless it is bare, the libraries, which
// are the same layer for all images of this machine: an engine unpacks it once while one of them is there.
func (i Image) archive(t testing.TB, name string) []byte {
	t.Helper()
	var layers [][]byte
	if !i.Bare {
		libraries, err := libraryLayer()
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, libraries)
	}
	layers = append(layers, i.layer(t))
	var digests, names []string
	for n, layer := range layers {
		digests = append(digests, fmt.Sprintf("sha256:%x", sha256.Sum256(layer)))
		names = append(names, fmt.Sprintf("layer%d.tar", n))
	}
	config, err := json.Marshal(map[string]any{
		"architecture": cmp.Or(i.Arch, runtime.GOARCH), "os": "linux",
		"config": map[string]any{"Env": []string{"PATH=/usr/bin", "NAME=" + name}}, // so that no other test's image is the same one
		"rootfs": map[string]any{"type": "layers", "diff_ids": digests},
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": names}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = errors.Join(add(w, "config.json", 0o644, config), add(w, "manifest.json", 0o644, manifest))
	for n, layer := range layers {
		err = errors.Join(err, add(w, names[n], 0o644, layer))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// add adds a file to an archive of tar.
func add(w *tar.Writer, name string, mode int64, body []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(body))}); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

var programs = []string{"createrepo_c", "rpm", "rpmkeys", "sh", "sleep"}

// layer has all but the libraries.
func (i Image) layer(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	write := func(name string, mode int64, body []byte) {
		if err := add(w, name, mode, body); err != nil {
			t.Fatal(err)
		}
	}
	for dir, mode := range map[string]int64{"tmp": 0o1777, "run": 0o755, "etc": 0o755, "var/lib/rpm": 0o755} {
		if err := w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: mode}); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/os-release", 0o644, fmt.Appendf(nil, "NAME=\"made of this machine for a test\"\nID=fedora\nVERSION_ID=%s\n", i.Release))
	if !i.Bare {
		for _, name := range programs {
			if slices.Contains(i.Without, name) || i.Scripts[name] != "" {
				continue
			}
			path, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			write("usr/bin/"+name, 0o755, read(t, path))
			if name == "sh" {
				write("bin/sh", 0o755, read(t, path))
			}
		}
		for name, text := range i.Scripts {
			write("usr/bin/"+name, 0o755, []byte("#!/bin/sh\n"+text+"\n"))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// libraryLayer has the libraries of the programs, their loader, and the files of rpm. Each process makes the same one.
var libraryLayer = sync.OnceValues(func() ([]byte, error) {
	files := map[string]bool{}
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			return nil, err
		}
		out, err := exec.Command("ldd", path).Output()
		if err != nil {
			return nil, fmt.Errorf("ldd %s: %w", path, err)
		}
		for _, word := range strings.Fields(string(out)) {
			if strings.HasPrefix(word, "/") {
				files[word] = true
			}
		}
	}
	err := filepath.WalkDir("/usr/lib/rpm", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() { // no symlink that leads nowhere here
			files[path] = true
		}
		return nil
	})
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		body, bad := os.ReadFile(path)
		err = errors.Join(err, bad, add(w, strings.TrimPrefix(path, "/"), 0o755, body))
	}
	return b.Bytes(), errors.Join(err, w.Close())
})

// Program builds kojisnap without cgo, as packages have it, in a directory that all users can read.
func Program(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kojisnap")
	if err := programtest.Build(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Containers returns the names of the containers of docker that were made of images.
func Containers(t testing.TB, images ...string) (names []string) {
	t.Helper()
	return ContainersIn(t, "docker", images...)
}

// ContainersIn is Containers of docker or podman.
func ContainersIn(t testing.TB, engine string, images ...string) (names []string) {
	t.Helper()
	for _, image := range images { // several of a filter are alternatives, but an image that is gone is an error
		out, err := exec.Command(engine, "ps", "--all", "--filter", "ancestor="+image, "--format", "{{.Names}}").Output()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.Fields(string(out))...)
	}
	return names
}
