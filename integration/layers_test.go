package integration_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers are the packages by how much they decide, most first. A package imports only from
// layers below its own.
var layers = [][]string{
	{"kojisnap/cmd/kojisnap"},
	{"kojisnap/kojisnap"},
	{"kojisnap/dbsync", "kojisnap/hardlink", "kojisnap/kojisnap/hub", "kojisnap/kojisnap/store/dir", "kojisnap/kojisnap/store/s3", "kojisnap/kojisnap/store/signed",
		"kojisnap/kojisnap/tagged", "kojisnap/kojisnap/trial"},
	{"kojisnap/volumes"},
	{"kojisnap/kojisnap/store", "kojisnap/kojisnap/snapfile"},
	{"kojisnap/kojisnap/relation", "kojisnap/kojisnap/durable", "kojisnap/kojisnap/progress", "kojisnap/kojisnap/retry"},
}

// TestLayers keeps the order of packages, and the big dependencies where they belong.
func TestLayers(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "kojisnap/...").Output()
	must(t, err)
	level := map[string]int{}
	for i, l := range layers {
		for _, p := range l {
			level[p] = i
		}
	}
	homes := map[string][]string{
		"github.com/kolo/xmlrpc":                      {"kojisnap/kojisnap/hub"},
		"github.com/schollz/progressbar/v3":           {"kojisnap/cmd/kojisnap"},
		"github.com/testcontainers/testcontainers-go": {"kojisnap/kojisnap/containertest"},
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		from, isLayered := level[fields[0]]
		for _, imported := range fields[1:] {
			if to, ok := level[imported]; isLayered && ok && to <= from {
				t.Errorf("%s imports %s, which is not below it", fields[0], imported)
			}
			if isLayered && strings.HasPrefix(imported, "kojisnap/") && strings.Contains(imported, "test") {
				t.Errorf("%s imports %s, which is for tests", fields[0], imported)
			}
			if home, ok := homes[imported]; ok && isLayered && !slices.Contains(home, fields[0]) {
				t.Errorf("%s imports %s", fields[0], imported)
			}
		}
		if isLayered {
			seen++
		}
	}
	if seen != len(level) {
		t.Errorf("%d of %d packages are there", seen, len(level))
	}
}
