package integration_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
)

// TestJSON: with --json every command prints one document, as JSON.md describes it (kojisnapRun looks), with
// the result in it also where the command ends with a code that is not 0; and with --log-format json all that
// goes to standard error is JSON.
func TestJSON(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	c := w.config(t, "f42-compose")
	run := func(code int, fields []string, args ...string) map[string]any {
		t.Helper()
		o := kojisnapRun(t, append(args, "-c", c, "--json", "--log-format", "json")...)
		var v map[string]any
		if err := json.Unmarshal([]byte(o.stdout), &v); err != nil || o.code != code {
			t.Fatalf("kojisnap %q: exit code %d, want %d: %v\n%s%s", args, o.code, code, err, o.stdout, o.stderr)
		}
		for _, f := range fields {
			if v[f] == nil {
				t.Errorf("kojisnap %q: no %q in the document: %s", args, f, o.stdout)
			}
		}
		for line := range strings.Lines(o.stderr) {
			var entry struct{ Time, Level, Msg string }
			if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg == "" {
				t.Errorf("kojisnap %q: no JSON on standard error: %q", args, line)
			}
		}
		return v
	}
	// A file of production that composes want, and its signed copies.
	missing, err := filepath.Glob(filepath.Join(w.prodTree, "packages/bash/5.3.0/2.fc42/*/bash-5.3.0-2.fc42.x86_64.rpm"))
	must(t, err)
	signed, err := filepath.Glob(filepath.Join(w.prodTree, "packages/bash/5.3.0/2.fc42/data/signed/*/x86_64/bash-5.3.0-2.fc42.x86_64.rpm"))
	must(t, err)

	run(3, []string{"mark"}, "init", "--dry-run")
	run(0, []string{"mark"}, "init")
	run(3, []string{"pull"}, "sync", "--dry-run")
	early := run(0, []string{"snapshot"}, "pull", "--event", "300")["snapshot"].(string)
	run(0, []string{"relations"}, "load")
	run(0, []string{"pull", "copy", "load", "remove", "verify", "steps"}, "sync", "--progress", "plain")
	run(0, []string{"snapshots"}, "snapshots")
	run(0, []string{"id", "manifest"}, "show", "latest")
	run(0, []string{"relations"}, "diff", early, "latest")
	if rows := run(0, []string{"rows"}, "diff", early, "latest", "--rows")["rows"].([]any); len(rows) < 10 {
		t.Errorf("%d rows differ", len(rows))
	}
	if rows := run(0, []string{"rows"}, "diff", "latest", "latest", "--rows")["rows"].([]any); len(rows) != 0 {
		t.Errorf("%d rows differ from themselves", len(rows))
	}
	run(0, []string{"decisions"}, "diff", "staging")
	run(0, []string{"checks"}, "verify")
	run(0, []string{"mark", "last_good_sync", "verdict", "age"}, "status", "-v")
	run(0, []string{"environments", "made"}, "report")
	run(0, []string{"environments", "made"}, "report", "-o", filepath.Join(t.TempDir(), "report.html"))
	run(3, []string{"removed"}, "prune", "--keep", "1", "--dry-run")
	run(0, []string{"removed"}, "prune", "--keep", "1")

	// What is wrong is told beside the result.
	to := t.TempDir()
	if files := run(1, []string{"files", "error"}, "link", missing[0], "/no/such/file", to)["files"].([]any); len(files) != 1 {
		t.Errorf("linked: %v", files)
	}
	for _, path := range slices.Concat(missing, signed) {
		must(t, os.Remove(path))
	}
	must(t, os.RemoveAll(filepath.Join(w.topdir, "vol/staged/packages/bash")))
	run(3, []string{"summary", "held", "error"}, "copy", "--audit", "--dry-run")
	v := run(3, []string{"actions", "held", "error"}, "copy", "--audit")
	if text := v["error"].(string); !strings.Contains(text, "bash-5.3.0-2.fc42.x86_64.rpm") {
		t.Errorf("the error does not name the file: %q", text)
	}
	run(3, []string{"pull", "copy", "load", "remove", "verify", "error"}, "sync", "--compose-tag", "f42-compose")
	dbtest.Exec(t, w.dsn, "ALTER TABLE build ADD CONSTRAINT site_epoch CHECK (epoch IS NULL OR epoch < 9)")
	where := hubtest.Values{"id": w.buildID(t, "setup/2.15.0/5.fc42")}
	w.update(t, "build", where, hubtest.Values{"epoch": 9})
	run(0, nil, "pull", "--full")
	run(3, []string{"bad", "error"}, "load")
	run(3, []string{"checks", "error"}, "verify", "--sigkey", "41526f0e", "--topurl", "http://127.0.0.1:1/")

	// A sync that fails on its way has what it came to.
	overlay := filepath.Join(t.TempDir(), "overlay.toml")
	must(t, os.WriteFile(overlay, []byte("[[target]]\nname = \"t\"\nbuild_tag = \"no-such\"\ndest_tag = \"no-such\"\n"), 0o644))
	v = run(1, []string{"pull", "copy", "steps", "error"}, "sync", "--overlay", overlay)
	if steps, _ := v["steps"].([]any); v["load"] != nil || len(steps) != 3 {
		t.Errorf("steps: %v, load: %v", v["steps"], v["load"])
	}
}
