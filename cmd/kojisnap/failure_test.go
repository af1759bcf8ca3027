package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/kojisnap/lockfile"
)

// TestFailureJSON: with --json there is one document also where a command fails, wherever it does, and with
// --log-format json the last error is a line of JSON as those before it.
func TestFailureJSON(t *testing.T) {
	store := t.TempDir()
	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte("hubb = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	inConfig := filepath.Join(t.TempDir(), "json.toml")
	if err := os.WriteFile(inConfig, []byte("json = true\nlog-format = \"json\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockfile.Lock(t.Context(), lock, false)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	for _, test := range []struct {
		name string
		code int
		says string
		args []string
	}{
		{"a flag that is none", exit.Usage, "unknown flag: --nosuch", []string{"pull", "--nosuch", "--json", "--log-format", "json"}},
		{"a flag's value", exit.Usage, "--event", []string{"pull", "--json", "--log-format=json", "--event", "x"}},
		{"a command that is none", exit.Usage, `no command "stauts"`, []string{"stauts", "--json", "--log-format", "json"}},
		{"a key that is none", exit.Usage, "hubb", []string{"pull", "-c", bad, "--json", "--log-format", "json"}},
		{"by the configuration", exit.Usage, "no store", []string{"snapshots", "-c", inConfig}},
		{"no snapshot", exit.Error, "holds no snapshot", []string{"show", "latest", "--store", store, "--json", "--log-format", "json"}},
		{"locked", exit.Locked, lock, []string{"snapshots", "--store", store, "--json", "--log-format", "json", "--lock-file", lock, "--exit-on-lock", "-v"}},
		{"no hub", exit.Later, "not done within 1s", []string{"pull", "--hub", "http://127.0.0.1:1/kojihub", "--deadline", "1s", "--tag", "x", "--store", store, "--json", "--log-format", "json"}},
		{"no database", exit.Later, "database", []string{"status", "--db", "host=127.0.0.1 port=1 dbname=koji", "--json", "--log-format", "json"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, errs, code := kojisnapRun(t, test.args...)
			dec := json.NewDecoder(strings.NewReader(out))
			dec.DisallowUnknownFields()
			var got output.Failure
			if err := dec.Decode(&got); err != nil || dec.More() {
				t.Fatalf("not one document: %v: %q, %q", err, out, errs)
			}
			if code != test.code || got.Format != 1 || got.Exit != code || !strings.Contains(got.Error, test.says) {
				t.Errorf("exit code %d, want %d and %q: %+v", code, test.code, test.says, got)
			}
			all := lines(errs)
			for _, line := range all {
				var entry struct {
					Level, Msg string
					Exit       int
				}
				if err := json.Unmarshal([]byte(line), &entry); err != nil {
					t.Errorf("no JSON on standard error: %q", line)
				}
				if line == all[len(all)-1] && (entry.Level != "ERROR" || entry.Exit != code || entry.Msg != got.Error) {
					t.Errorf("the last line is %q", line)
				}
			}
			if len(all) == 0 {
				t.Error("nothing on standard error")
			}
		})
	}
	// What is not asked for is not there.
	if out, errs, _ := kojisnapRun(t, "show", "latest", "--store", store); out != "" || !strings.HasPrefix(errs, "kojisnap: ") {
		t.Errorf("without --json: %q, %q", out, errs)
	}
	// Arguments behind -- are none of kojisnap's flags.
	if out, _, _ := kojisnapRun(t, "show", "--store", store, "--", "--json"); out != "" {
		t.Errorf("--json as an argument: %q", out)
	}
}
