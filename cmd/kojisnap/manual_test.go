package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/version"
	"kojisnap/kojisnap/hub/hubtest"
)

// TestManual: there is a page for kojisnap, each command and the configuration; mandoc and groff find nothing wrong with
// them; every flag, key and exit code is there; and the same code gives the same pages.
func TestManual(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	dir, again := t.TempDir(), t.TempDir()
	kojisnapOK(t, "__man", dir)
	kojisnapOK(t, "__man", again)
	pages := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		if second, err := os.ReadFile(filepath.Join(again, name)); err != nil || !bytes.Equal(second, body) {
			t.Errorf("%s is another the second time: %v", name, err)
		}
		pages[name] = string(body)
		if !strings.Contains(pages[name], " 1970-01-02 ") {
			t.Errorf("%s has another date than SOURCE_DATE_EPOCH", name)
		}
	}
	if len(pages) != len(commands())+2 {
		t.Errorf("%d pages of %d commands", len(pages), len(commands()))
	}
	for _, cmd := range commands() {
		page := pages["kojisnap-"+cmd.name+".1"]
		flagsOf(cmd).Set.VisitAll(func(f *pflag.Flag) {
			if has := strings.Contains(page, `\-\-`+strings.ReplaceAll(f.Name, "-", `\-`)+`\fR`); has == f.Hidden {
				t.Errorf("%s: is --%s there? %v", cmd.name, f.Name, has)
			}
		})
		if !strings.Contains(pages["kojisnap.1"], `kojisnap\-`+strings.ReplaceAll(cmd.name, "-", `\-`)) {
			t.Errorf("kojisnap(1) does not name %s", cmd.name)
		}
		if !strings.Contains(page, `\fB6\fR`) || !strings.Contains(page, ".SH EXAMPLES\n") {
			t.Errorf("%s: no exit codes, or no examples", cmd.name)
		}
	}
	for _, section := range schema().Sections() {
		for _, k := range schema().Keys(section) {
			if !strings.Contains(pages["kojisnap.toml.5"], `\fB`+strings.ReplaceAll(k.Flag.Name, "-", `\-`)+`\fR = `) {
				t.Errorf("kojisnap.toml(5) has no %s", k.Flag.Name)
			}
		}
	}
	for _, check := range [][]string{append([]string{"mandoc", "-T", "lint", "-W", "all"}, files...), append([]string{"groff", "-ww", "-man", "-T", "utf8", "-z"}, files...)} {
		if _, err := exec.LookPath(check[0]); err != nil {
			if os.Getenv("KOJISNAP_TEST_ALL") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		if out, err := exec.CommandContext(t.Context(), check[0], check[1:]...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", check[0], err, out)
		}
	}
	if _, errs, code := kojisnapRun(t, "__man", "/no/such/directory"); code != exit.Error || !strings.Contains(errs, "/no/such/directory") {
		t.Errorf("no directory: exit code %d, %s", code, errs)
	}
}

// TestVersion: --version and version print the line of the version.
func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"version"}} {
		if out := kojisnapOK(t, args...); !strings.HasPrefix(out, "kojisnap "+version.Number) || len(lines(out)) != 1 {
			t.Errorf("%q: %q", args, out)
		}
	}
}

// TestComplete: what a shell is offered for a word, and what else it may offer.
func TestComplete(t *testing.T) {
	store := t.TempDir()
	early, late := pulledInto(t, store)
	file := filepath.Join(t.TempDir(), "c.toml")
	write(t, file, "[env.stg]\nstore = '"+store+"'\n[env.dev]\nstore = '/missing'\n")
	for _, test := range []struct {
		words     []string
		want      []string
		directive string
	}{
		{[]string{""}, nil, ":4"}, // checked below
		{[]string{"sta"}, []string{"status"}, ":4"},
		{[]string{"help", "sy"}, []string{"sync"}, ":4"},
		{[]string{"nonsense", ""}, nil, ":4"},
		{[]string{"pull", "--ma"}, []string{"--margin", "--max-rate"}, ":4"},
		{[]string{"pull", "--revoked"}, nil, ":4"}, // hidden
		{[]string{"sync", "--staging-h"}, []string{"--staging-hub"}, ":4"},
		{[]string{"load", "--on-conflict", ""}, []string{"keep", "replace", "fail"}, ":4"},
		{[]string{"load", "--on-conflict=re"}, []string{"replace"}, ":4"},
		{[]string{"sync", "--builds", "t"}, []string{"tagged"}, ":4"},
		{[]string{"load", "--db", ""}, nil, ":4"},
		{[]string{"load", "--overlay", ""}, nil, ":0"},
		{[]string{"load", "-c", ""}, nil, ":0"},
		{[]string{"load", "--store", ""}, nil, ":16"},
		{[]string{"load", "--quiet", "-"}, nil, ":4"}, // all flags
		{[]string{"link", "a", ""}, nil, ":0"},
		{[]string{"config", ""}, []string{"check", "show", "example"}, ":4"},
		{[]string{"config", "show", "ver"}, []string{"verify", "version"}, ":4"},
		{[]string{"snapshots", "-c", file, "--env", ""}, []string{"dev", "stg"}, ":4"},
		{[]string{"show", "--store", store, ""}, []string{"latest", late, early}, ":4"},
		{[]string{"show", "-c", file, "--env=stg", "4"}, []string{late}, ":4"},
		{[]string{"show", "-c", file, "--env=dev", ""}, []string{"latest"}, ":4"},
		{[]string{"show", "--store", store, late, ""}, nil, ":4"},
		{[]string{"diff", "--store", store, early, "l"}, []string{"latest"}, ":4"},
		{[]string{"diff", "st"}, []string{"staging"}, ":4"},
		{[]string{"load", "--store", store, "--snapshot", "3"}, []string{early}, ":4"},
		{[]string{"copy", "--store", store, "--tag", "f42-c"}, []string{"f42-compose"}, ":4"},
		{[]string{"pull", "-c", "/no/such/file", "--tag", ""}, nil, ":4"},
		{[]string{"pull", "--nonsense", "x", "--mar"}, []string{"--margin"}, ":4"},
	} {
		out := lines(kojisnapOK(t, append([]string{"__complete"}, test.words...)...))
		got, directive := []string{}, out[len(out)-1]
		for _, line := range out[:len(out)-1] {
			word, _, _ := strings.Cut(line, "\t")
			got = append(got, word)
		}
		all := slices.Equal(test.words, []string{""}) && len(got) == len(commands())+2 || slices.Contains(test.words, "-") && len(got) > 20
		if directive != test.directive || !all && !slices.Equal(got, append([]string{}, test.want...)) {
			t.Errorf("%q: %q %s, want %q %s", test.words, got, directive, test.want, test.directive)
		}
	}
}

// pulledInto pulls two snapshots into a store.
func pulledInto(t *testing.T, store string) (early, late string) {
	t.Helper()
	srv := httptest.NewServer(hubtest.New(modularRows(t), hubtest.Options{}))
	t.Cleanup(srv.Close)
	pull := func(event string) string {
		return strings.TrimSpace(kojisnapOK(t, "pull", "--hub", srv.URL+"/kojihub", "--tag", "f42-compose", "--event", event, "--store", store))
	}
	return pull("300"), pull("419")
}
