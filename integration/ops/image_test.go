package ops_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// caFiles is where distributions have the certificates that they trust.
var caFiles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}

// maxImage is how large the image may be on a host, maxPull how much hosts transfer.
const maxImage, maxPull = 30e6, 15e6

// TestImage builds the image without a network, from the program that was built and an image with this machine's
// certificates, and runs it as restricted as can be: read-only, without a capability, network or root.
func TestImage(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("docker", "info").CombinedOutput(); err != nil {
		t.Skipf("needs docker: %v: %s", err, out)
	}
	certificates := ""
	for _, file := range caFiles {
		if body, err := os.ReadFile(file); err == nil {
			certificates = string(body)
			break
		}
	}
	if certificates == "" {
		lacking(t, "needs certificates: the package ca-certificates")
	}
	docker := func(args ...string) string { return strings.TrimSpace(succeed(t, "docker", args...)) }
	tag := fmt.Sprintf("kojisnap-test-%d", os.Getpid())
	t.Cleanup(func() { exec.Command("docker", "rmi", "-f", tag+":image", tag+":certificates").Run() })

	dir := t.TempDir()
	write(t, dir+"/etc/ssl/certs/ca-certificates.crt", certificates)
	write(t, dir+"/Containerfile", "FROM scratch\nCOPY etc /etc\n")
	docker("build", "-q", "-t", tag+":certificates", "-f", dir+"/Containerfile", dir)

	context := t.TempDir()
	for _, name := range []string{"image/Containerfile", "image/passwd"} {
		write(t, filepath.Join(context, "scripts", name), read(t, filepath.Join(scripts, name)))
	}
	must(t, os.Mkdir(context+"/bin", 0o755))
	succeed(t, "cp", program(t), context+"/bin/kojisnap")
	docker("build", "-q", "-t", tag+":image", "-f", context+"/scripts/image/Containerfile", "--target", "binary", "--build-arg", "GO_IMAGE="+tag+":certificates", context)

	if size, err := strconv.Atoi(docker("image", "inspect", "-f", "{{.Size}}", tag+":image")); err != nil || size > maxImage {
		t.Errorf("the image has %d bytes, %v: want %d at most", size, err, int(maxImage))
	}
	pulled := succeed(t, "sh", "-c", "docker save "+tag+":image | gzip -1 | wc -c")
	if size, err := strconv.Atoi(strings.TrimSpace(pulled)); err != nil || size > maxPull {
		t.Errorf("hosts pull %d bytes, %v: want %d at most", size, err, int(maxPull))
	}
	if user := docker("image", "inspect", "-f", "{{.Config.User}}", tag+":image"); user == "" || strings.HasPrefix(user, "0") || strings.HasPrefix(user, "root") {
		t.Errorf("the image runs as %q", user)
	}
	store := t.TempDir()
	succeed(t, "cp", "-r", "../../kojisnap/snapfile/testdata/v1/.", store)
	succeed(t, "chmod", "-R", "a+rX", filepath.Dir(store))
	kojisnap := func(args ...string) string {
		t.Helper()
		return docker(append([]string{"run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none", "--security-opt", "no-new-privileges",
			"-v", store + ":/var/lib/kojisnap:ro", tag + ":image"}, args...)...)
	}
	if out, want := kojisnap("--version"), strings.TrimSpace(succeed(t, program(t), "--version")); out != want {
		t.Errorf("--version prints %q, want %q", out, want)
	}
	if out, want := kojisnap("snapshots", "--store", "/var/lib/kojisnap"), strings.TrimSpace(succeed(t, program(t), "snapshots", "--store", store)); out != want || len(strings.Split(want, "\n")) != 2 {
		t.Errorf("snapshots prints\n%s\nwant the two of the store:\n%s", out, want)
	}
	if out := kojisnap("show", "latest", "--store", "/var/lib/kojisnap"); !strings.Contains(out, "rows of build\n") {
		t.Errorf("show prints\n%s", out)
	}
}
