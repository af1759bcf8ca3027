// Package reporttest looks at pages of kojisnap report as browsers and parsers do.
package reporttest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Browse looks at pages, by name, with a real browser: contrast, widths, keyboard, print, links, requests. The browser's
// driver is in a module of its own, browsertest. If KOJISNAP_SHOTS is set, the pages and pictures of them are left in that
// directory.
func Browse(t *testing.T, pages map[string][]byte) {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		without(t, "chromium")
	}
	dir := t.TempDir()
	for name, body := range pages {
		for _, d := range []string{dir, os.Getenv("KOJISNAP_SHOTS")} {
			if d == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(d, name+".html"), body, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The driver is in the checkout that the test runs in. With -trimpath the program does not know where that is.
	module, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "./...")
	cmd.Dir = filepath.Join(filepath.Dir(string(module)), "kojisnap/report/browsertest")
	cmd.Env = append(os.Environ(), "KOJISNAP_PAGES="+dir, "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=readonly", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in the browser: %v\n%s", err, out)
	}
}

// Parse has a parser of HTML 5 read a page, which must be without error.
func Parse(t *testing.T, page []byte) {
	t.Helper()
	const python = "/usr/bin/python3"
	if err := exec.CommandContext(t.Context(), python, "-c", "import html5lib").Run(); err != nil {
		without(t, "python3-html5lib")
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", `
import html5lib, sys
parser = html5lib.HTMLParser()
parser.parse(sys.stdin.buffer.read(), transport_encoding="utf-8")
for (place, code, values) in parser.errors:
    print(place, code, values)
`)
	cmd.Stdin = bytes.NewReader(page)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the page is no HTML 5: %v\n%s", err, out)
	}
}

// without ends a test that lacks a program: it fails if all tests must run.
func without(t *testing.T, program string) {
	t.Helper()
	if os.Getenv("KOJISNAP_TEST_ALL") != "" {
		t.Fatalf("%s is missing; install the package", program)
	}
	t.Skipf("%s is missing", program)
}
