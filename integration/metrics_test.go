package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	prommodel "github.com/prometheus/common/model"

	"kojisnap/dbsync/dbtest"
)

// prometheus returns the values of metrics that have no label but env, which must be stg.
func prometheus(t *testing.T, text string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(prommodel.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	values := map[string]float64{}
	for name, f := range families {
		if len(f.Metric) == 1 && len(f.Metric[0].Label) == 1 && f.Metric[0].Label[0].GetValue() == "stg" {
			values[name] = f.Metric[0].Gauge.GetValue()
		}
	}
	return values
}

// TestMetrics: every sync writes metrics, whatever its result, and status prints the same.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	c := w.config(t, "f42-compose")
	file := filepath.Join(t.TempDir(), "kojisnap.prom")
	want := func(code int, args []string, values map[string]float64) {
		t.Helper()
		if o := kojisnapRun(t, append([]string{"sync", "-c", c, "--metrics", file}, args...)...); o.code != code {
			t.Fatalf("sync %q: exit code %d: %s", args, o.code, o.stderr)
		}
		have := prometheus(t, w.read(t, file))
		for name, v := range values {
			if got, ok := have["kojisnap_"+name]; !ok || got != v {
				t.Errorf("after sync %q: %s is %v, %v, want %v", args, name, got, ok, v)
			}
		}
		printed := prometheus(t, succeed(t, "status", "-c", c, "--prometheus"))
		for name, v := range have {
			if printed[name] != v {
				t.Errorf("status --prometheus: %s is %v, in the file %v", name, printed[name], v)
			}
		}
	}
	want(0, nil, map[string]float64{"ready": 1, "event": lastEvent, "last_sync_exit_code": 0, "missing_files": 0, "conflicts": 0})
	good := prometheus(t, w.read(t, file))["kojisnap_last_success_timestamp_seconds"]
	dbtest.Exec(t, w.dsn, "UPDATE rpminfo SET size = size + 1 WHERE id = 53")
	want(3, nil, map[string]float64{"ready": 0, "last_sync_exit_code": 3, "last_success_timestamp_seconds": good})
	down := brokenHub(t)
	want(5, []string{"--hub", down, "--hub-moved", down}, map[string]float64{"ready": 0, "last_sync_exit_code": 5, "last_success_timestamp_seconds": good})

	// Without the database the age of the last success stays.
	lost := strings.Replace(w.dsn, databaseOf(t, w.dsn), "no_such_database", 1)
	if o := kojisnapRun(t, "sync", "-c", c, "--metrics", file, "--db", lost); o.code == 0 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if v := prometheus(t, w.read(t, file)); v["kojisnap_ready"] != 0 || v["kojisnap_last_success_timestamp_seconds"] != good || v["kojisnap_last_sync_exit_code"] == 5 {
		t.Errorf("without the database: %v", v)
	}
	// A file that could not be written is refused before anything is done; a dry run writes none.
	before := one(t, w.dsn, "SELECT count(*) FROM kojisnap.sync")
	for _, bad := range []string{filepath.Dir(file), filepath.Dir(file) + "/no/such/file", "/proc/kojisnap.prom"} {
		if o := kojisnapRun(t, "sync", "-c", c, "--metrics", bad); o.code != 1 || !strings.Contains(o.stderr, bad) {
			t.Errorf("--metrics %s: exit code %d: %s", bad, o.code, o.stderr)
		}
	}
	if after := one(t, w.dsn, "SELECT count(*) FROM kojisnap.sync"); after != before {
		t.Errorf("%s syncs after %s", after, before)
	}
	must(t, os.Remove(file))
	kojisnapRun(t, "sync", "-c", c, "--metrics", file, "--dry-run")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("a dry run: %v", err)
	}
	if o := kojisnapRun(t, "status", "-c", c, "--prometheus", "--nagios"); o.code != 3 {
		t.Errorf("two formats: exit code %d", o.code)
	}
}

// TestZabbix: the commands of scripts/zabbix, run by a shell as the agent does, give what the items there look for.
func TestZabbix(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	c := w.config(t, "f42-compose")
	succeed(t, "sync", "-c", c)
	dir := t.TempDir()
	script(t, filepath.Join(dir, "kojisnap"), fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" -c %s\n", binary(t), c))
	// run gives the document of a key, with its parameters in the place of $1 and so on.
	run := func(command string, params ...string) (document any) {
		t.Helper()
		for i, p := range params {
			command = strings.ReplaceAll(command, fmt.Sprint("$", i+1), p)
		}
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", command)
		cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "HOME=" + dir}
		out, _ := cmd.Output() // the exit code is in the document
		if err := json.Unmarshal(out, &document); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		return document
	}
	commands := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^UserParameter=([a-z.]+)(?:\[\*\])?,(.*)$`).FindAllStringSubmatch(w.read(t, "../scripts/zabbix/kojisnap.conf"), -1) {
		commands[m[1]] = m[2]
	}
	if len(commands) != 3 {
		t.Fatalf("commands: %v", commands)
	}
	one, stg, all := run(commands["kojisnap.status"]), run(commands["kojisnap.env.status"], "stg"), run(commands["kojisnap.environments"])
	items := map[string]any{}
	for _, m := range regexp.MustCompile("(?m)^\\| (kojisnap[a-z_.]+) \\| `([^`]+)` \\| ([a-z]+)").FindAllStringSubmatch(w.read(t, "../scripts/zabbix/items.md"), -1) {
		from := one
		if strings.HasPrefix(m[1], "kojisnap.all.") {
			from = all
		}
		v, ok := jsonPath(from, m[2])
		if again, _ := jsonPath(stg, m[2]); !strings.HasPrefix(m[1], "kojisnap.all.") && m[1] != "kojisnap.age" && fmt.Sprint(again) != fmt.Sprint(v) && m[1] != "kojisnap.verdict" {
			t.Errorf("%s: %v, and for the environment by name %v", m[1], v, again)
		}
		items[m[1]] = v
		_, number := v.(float64)
		switch optional := m[1] == "kojisnap.sync.error" || m[1] == "kojisnap.missing"; {
		case !ok && !optional:
			t.Errorf("%s: nothing at %s", m[1], m[2])
		case ok && number != (m[3] == "unsigned" || m[3] == "float"):
			t.Errorf("%s is %s, and has %v", m[1], m[3], v)
		}
	}
	if items["kojisnap.state"] != "ready" || items["kojisnap.event"] != float64(lastEvent) || items["kojisnap.exit"] != 0.0 || items["kojisnap.all.count"] != 1.0 || len(items) < 14 {
		t.Errorf("items: %v", items)
	}
	if v, _ := jsonPath(run(commands["kojisnap.env.status"], "no-such-env"), "$.exit"); v != 1.0 {
		t.Errorf("another environment: exit %v", v)
	}
}

// jsonPath evaluates the paths that scripts/zabbix uses: fields, indexes and length().
func jsonPath(v any, path string) (any, bool) {
	for _, step := range regexp.MustCompile(`\.[a-z_]+(?:\(\))?|\[[0-9]+\]`).FindAllString(path, -1) {
		switch {
		case step == ".length()":
			list, ok := v.([]any)
			if !ok {
				return nil, false
			}
			v = float64(len(list))
		case step[0] == '[':
			i, _ := strconv.Atoi(strings.Trim(step, "[]"))
			list, ok := v.([]any)
			if !ok || i >= len(list) {
				return nil, false
			}
			v = list[i]
		default:
			object, _ := v.(map[string]any)
			field, ok := object[step[1:]]
			if !ok {
				return nil, false
			}
			v = field
		}
	}
	return v, true
}
