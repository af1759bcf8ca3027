package integration_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHooks: the hooks of a sync are run in their places, with the documents and variables that they are promised; a
// pre-load that fails ends the sync before the load, a post-load that fails does not undo it.
func TestHooks(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	ran := filepath.Join(t.TempDir(), "ran")
	run := func(more ...string) (outcome, map[string]map[string]any, string) {
		t.Helper()
		must(t, os.RemoveAll(ran))
		must(t, os.Mkdir(ran, 0o755))
		args := append([]string{"sync", "-c", c}, more...)
		for _, name := range []string{"on-success", "on-failure", "on-not-ready", "pre-load", "post-load"} {
			if !strings.Contains(strings.Join(more, " "), "--"+name) {
				args = append(args, "--"+name, `cat > `+ran+`/$KOJISNAP_HOOK; echo "$KOJISNAP_HOOK $KOJISNAP_ENV $KOJISNAP_EVENT $KOJISNAP_EXIT" >> `+ran+`/order`)
			}
		}
		o := kojisnapRun(t, args...)
		documents := map[string]map[string]any{}
		entries, err := os.ReadDir(ran)
		must(t, err)
		for _, e := range entries {
			if e.Name() != "order" {
				var doc map[string]any
				must(t, json.Unmarshal([]byte(w.read(t, filepath.Join(ran, e.Name()))), &doc))
				documents[e.Name()] = doc
			}
		}
		order, _ := os.ReadFile(filepath.Join(ran, "order"))
		return o, documents, string(order)
	}

	if o, _, order := run("--dry-run"); o.code != 3 || order != "" {
		t.Errorf("a dry run: exit code %d, %q", o.code, order)
	}
	o, _, order := run("--pre-load", "echo not now; exit 7")
	if o.code != 1 || order != "on-failure stg 419 1\n" || !strings.Contains(o.stderr, "kojisnap: pre-load: not now\n") || !strings.Contains(o.stderr, "load: hook pre-load: exit status 7; nothing was loaded") {
		t.Errorf("pre-load fails: exit code %d, %q, %s", o.code, order, o.stderr)
	}
	if o := kojisnapRun(t, "status", "-c", c, "--event"); o.code != 3 {
		t.Errorf("pre-load failed, and something was loaded: %q", o.stdout)
	}
	o, documents, order := run("--post-load", "exit 9")
	if o.code != 1 || order != "pre-load stg 419 \non-failure stg 419 1\n" || !strings.Contains(o.stderr, "hook post-load: exit status 9; the load stands") {
		t.Errorf("post-load fails: exit code %d, %q, %s", o.code, order, o.stderr)
	}
	if doc := documents["on-failure"]; doc["exit"] != 1.0 || doc["verify"] == nil {
		t.Errorf("the document of on-failure: %v", doc)
	}
	if got := succeed(t, "status", "-c", c, "--event"); got != "419\n" {
		t.Errorf("the load does not stand: %q", got)
	}
	o, documents, order = run()
	if o.code != 0 || o.stdout+o.stderr != "" || order != "pre-load stg 419 \npost-load stg 419 \non-success stg 419 0\n" {
		t.Errorf("exit code %d, %q, %q, %s", o.code, order, o.stdout, o.stderr)
	}
	snapshot := documents["pre-load"]["snapshot"]
	if text, _ := snapshot.(string); !strings.HasPrefix(text, "419-") || documents["post-load"]["snapshot"] != snapshot || documents["post-load"]["relations"] == nil {
		t.Errorf("the documents around the load: %v, %v", documents["pre-load"], documents["post-load"])
	}
	if load, _ := documents["on-success"]["load"].(map[string]any); load["snapshot"] != snapshot || documents["on-success"]["exit"] != 0.0 {
		t.Errorf("the document of on-success: %v", documents["on-success"])
	}
	if o, _, order := run("--compose-tag", "f42-compose", "--sigkey", "ba2992d4"); o.code != 3 || !strings.HasSuffix(order, "on-not-ready stg 419 3\n") {
		t.Errorf("not ready: exit code %d, %q, %s", o.code, order, o.stderr)
	}
}
