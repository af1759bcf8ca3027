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
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
)

// TestPullTagsAndContent is what people are told of a pull's tags.
func TestPullTagsAndContent(t *testing.T) {
	rows := modularRows(t)
	srv := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	t.Cleanup(srv.Close)
	store := t.TempDir()
	config := func(tags string, event int) string {
		path := filepath.Join(t.TempDir(), "kojisnap.toml")
		text := fmt.Sprintf("store = %q\n[pull]\nhub = %q\ntag = %s\nevent = %d\n", store, srv.URL+"/kojihub", tags, event)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(code int, args ...string) (out, errs string) {
		t.Helper()
		out, errs, got := kojisnapRun(t, args...)
		if got != code {
			t.Errorf("%q: exit code %d, want %d: %s%s", args, got, code, out, errs)
		}
		return out, errs
	}
	says := func(what, text string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s: no %q in\n%s", what, part, text)
			}
		}
	}

	// A dry run counts, in text and in JSON.
	c := config(`["f42-mod*", "f42-build-side-*", "!f42-infra*", "zz*"]`, 417)
	out, errs := run(3, "pull", "-c", c, "--dry-run")
	says("dry run", out, "tag f42-modular (8)\n", "tag f42-infra (9)\n", "tag module-postgresql-16 (25)\n", "are content tags of 1 module builds\n", `no tag matches "zz*"`)
	if errs != "" {
		t.Errorf("dry run: %s", errs)
	}
	out, _ = run(3, "pull", "-c", c, "--dry-run", "--json")
	var plan pull.Result
	if err := json.Unmarshal([]byte(out), &plan); err != nil || plan.ContentTags != 1 || plan.ModuleBuilds != 1 || len(plan.Unmatched) != 1 || len(plan.Scope.Asked) != 4 {
		t.Errorf("dry run: %+v, %v", plan, err)
	}
	out, _ = run(3, "pull", "-c", c, "--dry-run", "--content-tags=false")
	if strings.Contains(out, "module") && strings.Contains(out, "content") || strings.Contains(out, "module-postgresql-16") {
		t.Errorf("turned off: %s", out)
	}

	// A pattern that chooses nothing is told each time, what comes and goes with -v.
	_, errs = run(0, "pull", "-c", c)
	if want := "kojisnap: warn: no tag of production's matches --tag \"zz*\"\n"; errs != want {
		t.Errorf("pull says %q, want %q", errs, want)
	}
	later := config(`["zz*", "!f42-infra*", "f42-build-side-*", "f42-mod*"]`, 419)
	out, _ = run(3, "pull", "-c", later, "--dry-run")
	says("dry run", out, "new: tag f42-build-side-24\n", "going on from snapshot 417-")
	_, errs = run(0, "pull", "-c", later, "-v")
	says("pull -v", errs, "a tag came into the scope tag=f42-build-side-24")
	_, errs = run(0, "pull", "-c", config(`["f42-mod*", "f42-build-side-*", "!f42-infra*", "zz*"]`, 419), "--content-tags=false", "-v")
	says("pull -v", errs, "a tag left the scope tag=module-postgresql-16")

	// What a module names and production does not have is a warning when it is new.
	if _, err := rows.Update("tag_config", hubtest.Values{"tag_id": 25}, hubtest.Values{"active": nil, "revoke_event": 400, "revoker_id": 1}); err != nil {
		t.Fatal(err)
	}
	missing := "no content tag module-postgresql-16 of module postgresql-stream-16-4220250401.abcdef12: production does not have it"
	plain := config(`"f42-modular"`, 419)
	out, _ = run(3, "pull", "-c", plain, "--dry-run")
	says("dry run", out, missing)
	_, errs = run(0, "pull", "-c", plain)
	says("pull", errs, "warn: "+missing)
	if _, errs = run(0, "pull", "-c", plain); errs != "" {
		t.Errorf("told again: %s", errs)
	}
	out, _ = run(0, "show", "latest", "-c", plain)
	says("show", out, missing)

	// A configuration that means nothing, for whatever reads it.
	for _, tags := range []string{`["!"]`, `["!f42"]`, `["f42", ""]`, `["f42\u0001"]`} {
		for _, cmd := range []string{"pull", "load"} {
			args := []string{cmd, "-c", config(tags, 419)}
			if cmd == "load" {
				args = append(args, "--db", "host=127.0.0.1 port=1 dbname=koji")
			}
			if _, errs := run(exit.Usage, args...); len(lines(errs)) != 1 || !strings.Contains(errs, "--tag ") {
				t.Errorf("%s of %s: %s", cmd, tags, errs)
			}
		}
	}
	// All that choose nothing, and a name that is not there.
	for _, tags := range []string{`["zz*"]`, `["f42*", "!f4*"]`, `["f42*", "zz"]`} {
		if _, errs := run(exit.Error, "pull", "-c", config(tags, 419), "--full"); len(lines(errs)) != 1 || !strings.Contains(errs, "has no tag ") {
			t.Errorf("%s: %s", tags, errs)
		}
	}
}

// modularRows are the rows of the recorded hub, with the content tag of its module.
func modularRows(t testing.TB) *hubtest.Memory {
	t.Helper()
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err == nil {
		err = generate.AddContentTag(rows)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
