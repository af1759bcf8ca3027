package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
)

// TestPullBuild: builds are asked for by flags and by the configuration, by NVR and by id; what names no build
// is wrong usage, what names one that is not there an error, each in one line that says what to do.
func TestPullBuild(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	t.Cleanup(srv.Close)
	url := srv.URL + "/kojihub"
	config := func(store, builds string) string {
		path := filepath.Join(t.TempDir(), "c.toml")
		text := fmt.Sprintf("store = %q\n[pull]\nhub = %q\ntag = [\"f42-infra\"]\nevent = 419\n%s\n", store, url, builds)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		name   string
		config string
		args   []string
		code   int
		builds string // of the scope
		says   string // the only line on standard error
	}{
		{"an NVR", "", []string{"--build", "kernel-6.14.5-300.fc42"}, exit.Done, "[{36 kernel-6.14.5-300.fc42 kernel-6.14.5-300.fc42}]", ""},
		{"an id", "", []string{"--build", "36"}, exit.Done, "[{36 kernel-6.14.5-300.fc42 36}]", ""},
		{"two", "", []string{"--build", "36", "--build", "layered-image-1-1"}, exit.Done, "[{36 kernel-6.14.5-300.fc42 36} {61 layered-image-1-1 layered-image-1-1}]", ""},
		{"the configuration", `build = ["layered-image-1-1", 36]`, nil, exit.Done, "[{36 kernel-6.14.5-300.fc42 36} {61 layered-image-1-1 layered-image-1-1}]", ""},
		{"one in the configuration", `build = 36`, nil, exit.Done, "[{36 kernel-6.14.5-300.fc42 36}]", ""},
		{"a flag before the configuration", `build = 36`, []string{"--build", "61"}, exit.Done, "[{61 layered-image-1-1 61}]", ""},
		{"one that is deleted", "", []string{"--build", "53"}, exit.Done, "[{53 caret-snap-1.0^20250401gitabcdef0-0.1.fc42 53}]",
			"build caret-snap-1.0^20250401gitabcdef0-0.1.fc42, which --build asks for, is DELETED in production: no compose can take it; take it off the list"},
		{"unknown", "", []string{"--build", "kernel-6.14.5-301.fc42"}, exit.Error, "[]",
			fmt.Sprintf("hub %s has no build %q: correct the name in --build, or in build of [pull], or take it off the list", url, "kernel-6.14.5-301.fc42")},
		{"no NVR", "", []string{"--build", "kernel"}, exit.Usage, "[]", `--build: build "kernel": want NAME-VERSION-RELEASE, or an id`},
		{"no NVR in the configuration", `build = ["kernel"]`, nil, exit.Usage, "[]", `--build: build "kernel": want NAME-VERSION-RELEASE, or an id`},
		{"no id", "", []string{"--build", "2147483648"}, exit.Usage, "[]", `--build: build "2147483648": is no id; Koji's are 1 to 2147483647`},
		{"a hostile one", "", []string{"--build", "../../etc-1-1"}, exit.Usage, "[]", `--build: build "../../etc-1-1": unsafe name "../../etc": contains a slash`},
		{"a control character", "", []string{"--build", "a\x1b[31m-1-1"}, exit.Usage, "[]", `--build: build "a\x1b[31m-1-1": unsafe name "a\x1b[31m": contains the control character U+001B`},
		{"another type", `build = 3.6`, nil, exit.Usage, "[]", "[pull] build: want NAME-VERSION-RELEASE in quotes or an id, or a list of them, not 3.6"},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := t.TempDir()
			c := config(store, test.config)
			out, errs, code := kojisnapRun(t, append([]string{"pull", "-c", c, "--json"}, test.args...)...)
			var r pull.Result
			if err := json.Unmarshal([]byte(out), &r); err != nil && out != "" {
				t.Fatal(err)
			}
			if got := fmt.Sprint(r.Scope.Builds); code != test.code || got != test.builds {
				t.Errorf("exit code %d, builds %s; %s", code, got, errs)
			}
			if told := lines(errs); len(told) != min(1, len(test.says)) || !strings.Contains(errs, test.says) {
				t.Errorf("%q, want %q", errs, test.says)
			}
			if test.code != exit.Done {
				if out := kojisnapOK(t, "snapshots", "--store", store); out != "" {
					t.Errorf("snapshots: %q", out)
				}
				return
			}
			for _, b := range r.Scope.Builds {
				line := fmt.Sprintf("build %s (%d)\n", b.NVR, b.ID)
				if out := kojisnapOK(t, "show", r.Snapshot, "-c", c); !strings.Contains(out, line) {
					t.Errorf("show: %q", out)
				}
				if out, _, _ := kojisnapRun(t, append([]string{"pull", "-c", c, "-n"}, test.args...)...); !strings.Contains(out, line) {
					t.Errorf("dry run: %q", out)
				}
			}
		})
	}
	out, errs, code := kojisnapRun(t, "pull", "--hub", url, "--build", "36", "--store", t.TempDir())
	if code != exit.Usage || out != "" || !strings.Contains(errs, "--tag NAME") || !strings.Contains(errs, "--build adds builds to those of tags") {
		t.Errorf("without a tag: %d, %q, %q", code, out, errs)
	}
}
