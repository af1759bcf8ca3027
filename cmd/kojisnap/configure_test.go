package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"

	"github.com/BurntSushi/toml"
)

// TestConfigCheck: every fault is told once, in a line with file and line, and the exit code is 2.
func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	file, over := filepath.Join(dir, "c.toml"), filepath.Join(dir, "overlay.toml")
	write(t, over, "[[host]]\nnmae = 'x'\n")
	for _, test := range []struct {
		name, text string
		want       []string // what each fault begins with, after the file's name
	}{
		{"nothing", "", nil},
		{"all is well", "store = '/s'\n[pull]\nhub = 'https://h/kojihub'\ntag = ['f42*', '!f42-x']\n[load]\ndb = 'host=h dbname=koji'\n", nil},
		{"each key of one command", "[copy]\njobs = -1\nkeep-days = -3\nhub-topdir = 'mnt/koji'\nowner = 'no such user'\nmode = '999'\nbwlimit = ['/x=1M']\nvolume = 'a/b'\ndb = 'nonsense'\n", []string{
			":2: [copy] jobs: --jobs -1", ":3: [copy] keep-days: --keep-days -3", ":4: [copy] hub-topdir: ", ":5: [copy] owner: ", ":6: [copy] mode: ", ":7: [copy] bwlimit: --bwlimit /x=RATE", ":8: [copy] volume: ", ":9: [copy] db: database: "}},
		{"types and values", "[pull]\nhub = 'ftp://h'\ntag = ['']\nsweep = 0\njobs = 'x'\n[status]\nwarning = '3d'\ncritical = '1d'\n[prune]\nkeep = -1\n", []string{
			":5: [pull] jobs: want a whole number", ":2: [pull] hub: hub URL", ":3: [pull] tag: --tag", ":4: [pull] sweep: --sweep 0", ":8: [status] critical: --warning 72h0m0s --critical 24h0m0s", ":10: [prune] keep: --keep -1"}},
		{"sources", "[copy]\nsource = ['/x', 'https://h/tree', 's3://bucket/tree', 'ftp://h/x']\n", []string{":2: [copy] source: source: no way to read from ftp://"}},
		{"workers", "[worker]\nqueue = 'nonsense'\njobs = 0\ngrace = '0s'\n", []string{":2: [worker] queue: database: ", ":3: [worker] jobs: --jobs 0", ":4: [worker] grace: --grace 0s"}},
		{"a key for several commands", "jobs = -2\n", []string{":1: jobs: --jobs -2"}},
		{"keys against each other", "[pull]\nhub = 'https://h/kojihub'\nprofile = 'koji'\n", []string{":2: [pull] hub: both a hub's URL and a profile", ":3: [pull] profile: koji profile"}},
		{"keys of two commands against each other", "[copy]\nkeep-days = 0\n", []string{":2: [copy] keep-days: --keep-days 0"}},
		{"they agree", "[copy]\nkeep-days = 0\n[load]\nwait-for = '/lock'\n", nil},
		{"all environments", "[copy]\njobs = -1\n[env.a.copy]\njobs = -2\n[env.b]\ntopurl = 'x'\n[env.b.pull]\nhbu = 'x'\n[env.c]\n", []string{
			":8: [env.b.pull] has no key \"hbu\"", ":4: [env.a.copy] jobs: --jobs -2", ":2: [copy] jobs: --jobs -1", ":6: [env.b] topurl: --topurl"}},
		{"the environment that is chosen", "[env]\ndefault = 'stgg'\n[env.stg]\n", []string{`:2 [env] default: the configuration has no environment "stgg" (did you mean stg?)`}},
		{"common keys", "env = 'UP'\nexit-on-lock = true\nstore = 'ftp://x/y'\n", []string{":2: exit-on-lock: ", ":3: store: store \"ftp://x/y\"", ":1: env: environment \"UP\""}},
		{"files that are named", "[load]\noverlay = '" + over + "'\n[pull]\nsign-key = '/no/such/key'\n", []string{over + ":2: ", ":4: [pull] sign-key: sign-key: "}},
		{"volumes", "[volumes]\narchive = 'a/b'\n", []string{":2: [volumes] archive: "}},
		{"a file that is none", "a = [\n", []string{":"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			write(t, file, test.text)
			out, errs, code := kojisnapRun(t, "config", "check", "-c", file)
			got := lines(errs)
			wantCode := exit.Done
			if len(test.want) > 0 {
				wantCode = exit.Usage
			}
			if code != wantCode || out != "" || len(got) != len(test.want) {
				t.Errorf("exit code %d, %q, %d faults: %s", code, out, len(got), errs)
			}
			for _, want := range test.want {
				if !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, want) }) {
					t.Errorf("no fault %q in %s", want, errs)
				}
			}
			for _, line := range got {
				if !strings.Contains(line, file) && !strings.Contains(line, over) {
					t.Errorf("without the file: %s", line)
				}
			}
			var doc configResult
			out, _, code = kojisnapRun(t, "config", "check", "-c", file, "--json")
			if err := json.Unmarshal([]byte(out), &doc); err != nil || code != wantCode || len(doc.Faults) != len(test.want) {
				t.Errorf("as JSON: %d, %v, %s", code, err, out)
			}
		})
	}
}

// TestConfigCheckWarns: a password that everybody can read and paths that are not absolute are warnings, and files of
// conf.d that are not read are faults.
func TestConfigCheckWarns(t *testing.T) {
	etc := t.TempDir()
	file := filepath.Join(etc, "c.toml")
	write(t, file, "[load]\ndb = 'host=h dbname=koji password=s3cr3t'\n[env.stg.copy]\nsource = ['tree', '/x', 's3://bucket/x']\ntopdir = '/t'\ndb = 'postgres://u:s3cr3t@h/koji'\n")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	out, errs, code := kojisnapRun(t, "config", "check", "-c", file, "--env", "stg")
	if code != exit.Done || out != "" || len(lines(errs)) != 3 || strings.Contains(errs, "s3cr3t") ||
		!strings.Contains(errs, file+":2: [load] db has a password") || !strings.Contains(errs, file+":6: [env.stg.copy] db has a password") || !strings.Contains(errs, `source "tree" is not an absolute path`) {
		t.Errorf("exit code %d, %q, %s", code, out, errs)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := kojisnapRun(t, "config", "check", "-c", file, "--env", "stg"); code != exit.Done || len(lines(errs)) != 1 {
		t.Errorf("a file for kojisnap alone: exit code %d, %s", code, errs)
	}
	mkdir(t, filepath.Join(etc, "conf.d"))
	write(t, filepath.Join(etc, "conf.d/x.yaml"), "")
	var stdout, stderr strings.Builder
	a := &app{stdout: &stdout, stderr: &stderr, configDir: etc}
	if err := a.run(t.Context(), []string{"config", "check"}); exit.Code(err) != exit.Usage || !strings.Contains(strings.Join(exit.Messages(err), "\n"), "conf.d/x.yaml: not read") || stderr.Len() > 0 {
		t.Errorf("conf.d: %v, %q", err, &stderr)
	}
}

// TestConfigShow: what holds for an environment, where it comes from, and no password.
func TestConfigShow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	write(t, file, `store = "/s"
topdir = "/mnt/koji"
[pull]
tag = ["f42", "a \"b\"\u001b"]
margin = "20m"
since = 2026-11-01
[env.stg]
topdir = "/mnt/stg"
[env.stg.load]
db = "host=h dbname=koji password='s3 cr3t'"
[env.stg.volumes]
"x y" = "z"
[env.dev]
`)
	out := kojisnapOK(t, "config", "show", "-c", file, "--env", "stg")
	for _, want := range []string{
		`(?m)^env = "stg" +# --env$`,
		`(?m)^store = "/s" +# ` + file + `:1$`,
		`(?m)^\[pull\]\ntag = \["f42", "a \\"b\\"\\u001B"\] +# ` + file + `:4 \[pull\]$`,
		`(?m)^since = "2026-11-01" `,
		`(?m)^\[copy\]\ntopdir = "/mnt/stg" +# ` + file + `:8 \[env.stg\]$`,
		`(?m)^db = "host=h dbname=koji password=xxxxx" +# ` + file + `:10 \[env.stg.load\]$`,
		`(?m)^\[volumes\]\n"x y" = "z" +# ` + file + `:12 \[env.stg.volumes\]$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if strings.Contains(out, "cr3t") || strings.Contains(out, "jobs") || strings.Contains(out, "\x1b") {
		t.Errorf("show: %s", out)
	}
	// What is shown is a configuration that says the same.
	again := filepath.Join(t.TempDir(), "again.toml")
	write(t, again, out)
	values := regexp.MustCompile(` +# .*`)
	if second := kojisnapOK(t, "config", "show", "-c", again); values.ReplaceAllString(second, "") != values.ReplaceAllString(out, "") {
		t.Errorf("shown again: %s\nand first: %s", second, out)
	}
	if dev := kojisnapOK(t, "config", "show", "-c", file, "--env", "dev"); strings.Contains(dev, "stg") || !strings.Contains(dev, `topdir = "/mnt/koji"`) {
		t.Errorf("dev: %s", dev)
	}
	all := kojisnapOK(t, "config", "show", "load", "-v", "-c", file, "--env", "stg")
	if !strings.Contains(all, "on-conflict = \"keep\"") || !strings.Contains(all, "# default\n") || strings.Contains(all, "margin") || !strings.Contains(all, `topdir = "/mnt/stg"`) {
		t.Errorf("load: %s", all)
	}
	var doc configResult
	if err := json.Unmarshal([]byte(kojisnapOK(t, "config", "show", "sync", "--json", "-c", file, "--env", "stg")), &doc); err != nil || doc.Environment != "stg" || !slices.Equal(doc.Environments, []string{"dev", "stg"}) {
		t.Fatalf("%v, %+v", err, doc)
	}
	found := 0
	for _, s := range doc.Settings {
		switch s.Section + " " + s.Key {
		case "pull tag":
			found++
			if s.Default || len(s.Values) != 2 || s.Values[1] != "a \"b\"\x1b" {
				t.Errorf("%+v", s)
			}
		case "pull jobs":
			found++
			if !s.Default || s.Value != "4" || s.Origin != "default" {
				t.Errorf("%+v", s)
			}
		case "init floor", "status warning":
			t.Errorf("sync has no %+v", s)
		}
	}
	if found != 2 {
		t.Errorf("%d settings", found)
	}
	for _, test := range []struct {
		says string
		args []string
	}{
		{"config wants check, show or example", []string{"config"}},
		{`no "shwo" (did you mean show?)`, []string{"config", "shwo"}},
		{`no command "snyc" (did you mean sync?)`, []string{"config", "show", "snyc", "-c", file}},
		{`no environment "deb" (did you mean dev?)`, []string{"config", "show", "-c", file, "--env", "deb"}},
		{"unexpected argument", []string{"config", "check", "x"}},
		{"TOML", []string{"config", "example", "--json"}},
	} {
		if _, errs, code := kojisnapRun(t, test.args...); code != exit.Usage || !strings.Contains(errs, test.says) || !strings.HasPrefix(errs, "kojisnap: ") {
			t.Errorf("%q: exit code %d, %s", test.args, code, errs)
		}
	}
}

// TestConfigExample: the example has every key, config check accepts it, also if every key is set, and the defaults
// that it names are those of the commands.
func TestConfigExample(t *testing.T) {
	dir := t.TempDir()
	example := kojisnapOK(t, "config", "example")
	for _, line := range lines(example) {
		if len([]rune(line)) > 120 && !strings.HasPrefix(line, "#") {
			t.Errorf("a long line: %s", line)
		}
	}
	file, set := filepath.Join(dir, "example.toml"), filepath.Join(dir, "set.toml")
	write(t, file, example)
	uncommented := regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAllString(example, "$1")
	write(t, set, uncommented)
	for _, f := range []string{file, set} {
		if out, errs, code := kojisnapRun(t, "config", "check", "-c", f); code != exit.Done || out+errs != "" {
			t.Errorf("%s: exit code %d, %s%s", f, code, out, errs)
		}
	}
	if out := kojisnapOK(t, "config", "show", "-c", file); out != "" {
		t.Errorf("the example sets something: %s", out)
	}
	var values map[string]any
	if _, err := toml.Decode(uncommented, &values); err != nil {
		t.Fatal(err)
	}
	var defaults, all configResult
	if err := json.Unmarshal([]byte(kojisnapOK(t, "config", "show", "--json", "-c", file)), &defaults); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(kojisnapOK(t, "config", "show", "--json", "-c", set)), &all); err != nil {
		t.Fatal(err)
	}
	byKey := map[string]string{}
	for _, s := range all.Settings {
		byKey[s.Section+" "+s.Key] = s.Value
		if s.Default && s.Key != "env" {
			t.Errorf("the example does not have %s of %s", s.Key, s.Section)
		}
	}
	if len(defaults.Settings) < 80 {
		t.Errorf("%d keys", len(defaults.Settings))
	}
	for _, s := range defaults.Settings {
		if got := byKey[s.Section+" "+s.Key]; got != s.Value && s.Key != "since" {
			t.Errorf("the default of %s %s is %s, and the example says %s", s.Section, s.Key, s.Value, got)
		}
	}
}

// TestEnvChosen: a command works for the environment of --env, or of default in [env]; if the configuration has
// others only, it is refused, unless the command is about no environment.
func TestEnvChosen(t *testing.T) {
	stg, dev := t.TempDir(), t.TempDir()
	file := filepath.Join(t.TempDir(), "c.toml")
	tables := "[env.stg]\nstore = '" + stg + "'\n[env.dev]\nstore = '" + dev + "/missing'\n"
	write(t, file, tables)
	for _, test := range []struct {
		says string
		code int
		args []string
	}{
		{"", exit.Done, []string{"snapshots", "--env", "stg"}},
		{"missing", exit.Error, []string{"snapshots", "--env", "dev"}},
		{`no environment "sgt" (did you mean stg?): it has dev and stg`, exit.Usage, []string{"snapshots", "--env", "sgt"}},
		{"no store: ", exit.Usage, []string{"snapshots"}},
		{"--env says for which one to work: dev, stg", exit.Usage, []string{"snapshots"}},
		{`no environment "staging": it has dev and stg`, exit.Usage, []string{"status", "--db", "dbname=koji"}},
		{"", exit.Done, []string{"snapshots", "--store", stg}},
	} {
		_, errs, code := kojisnapRun(t, append(test.args, "-c", file)...)
		if code != test.code || !strings.Contains(errs, test.says) || test.says == "" && errs != "" {
			t.Errorf("%q: exit code %d, %s", test.args, code, errs)
		}
	}
	write(t, file, "[env]\ndefault = 'stg'\n"+tables)
	kojisnapOK(t, "snapshots", "-c", file)
	if _, errs, code := kojisnapRun(t, "snapshots", "-c", file, "--env", "dev"); code != exit.Error || !strings.Contains(errs, "missing") {
		t.Errorf("--env goes before the default: exit code %d, %s", code, errs)
	}
}

// TestEnvScope: latest, and the lock that composes hold, are those of the chosen environment.
func TestEnvScope(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	write(t, file, "[pull]\nhub = 'https://prod.example.com/kojihub'\ntag = ['all']\n[load]\nwait-for = '/all'\n[env.stg.pull]\ntag = ['f42', 'f43']\n[env.stg]\nwait-for = '/stg'\n[env.dev]\nhub = 'https://other.example.com/kojihub'\n")
	for env, want := range map[string]struct {
		tags         []string
		hub, waitFor string
	}{
		"stg": {[]string{"f42", "f43"}, "https://prod.example.com/kojihub", "/stg"},
		"dev": {[]string{"all"}, "https://other.example.com/kojihub", "/all"},
	} {
		var stdout, stderr strings.Builder
		a := &app{stdout: &stdout, stderr: &stderr}
		// It fails for want of a store, and has read the configuration before.
		if err := a.run(t.Context(), []string{"show", "latest", "-c", file, "--env", env}); err == nil || !strings.Contains(err.Error(), "no store") {
			t.Fatalf("%s: %v", env, err)
		}
		scope, err := a.scope()
		if err != nil || !slices.Equal(scope.Tags, want.tags) || scope.Hub != want.hub {
			t.Errorf("%s: %+v, %v", env, scope, err)
		}
		if load, err := a.loads(); err != nil || load.waitFor != want.waitFor {
			t.Errorf("%s: waits for %q, %v", env, load.waitFor, err)
		}
	}
}
