package ops_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// units copies the units into a directory of the test's, with the program that was built in the place of
// /usr/bin/kojisnap, and returns their paths there.
func units(t *testing.T) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for _, unit := range glob(t, scripts+"/systemd/*") {
		body := read(t, unit)
		if strings.HasSuffix(unit, ".service") {
			body = replaceAll(t, body, "ExecStart=/usr/bin/kojisnap ", "ExecStart="+program(t)+" ")
		}
		path := filepath.Join(dir, filepath.Base(unit))
		write(t, path, body)
		paths = append(paths, path)
	}
	return paths
}

// TestUnits: systemd finds nothing to say against the units. Its exit code is 0 for keys that it ignores, so any
// word of it counts; it does speak of a key that does not exist.
func TestUnits(t *testing.T) {
	need(t, "systemd-analyze")
	paths := units(t)
	if len(paths) != 9 {
		t.Errorf("units %q: want four services with a timer each, and one without", paths)
	}
	verify := append([]string{"verify", "--man=no"}, paths...)
	silent(t, "systemd-analyze", verify...)
	write(t, paths[0], read(t, paths[0])+"NoSuchKey=1\n")
	if o := run(t, "", nil, "systemd-analyze", verify...); !strings.Contains(o.stderr, "NoSuchKey") {
		t.Errorf("a wrong key: exit code %d, %q", o.code, o.stderr)
	}
}

// TestUnitsHardened: systemd rates the exposure of each service below 2.5 of 10. All services have the same
// settings, so that a gap cannot open in one of them.
func TestUnitsHardened(t *testing.T) {
	need(t, "systemd-analyze")
	var first string
	for _, path := range units(t) {
		if filepath.Ext(path) != ".service" {
			continue
		}
		o := run(t, "", nil, "systemd-analyze", "security", "--offline=true", "--threshold=25", path)
		if o.code != 0 || !strings.Contains(o.stdout, "Overall exposure level") {
			t.Errorf("%s: exit code %d\n%s%s", path, o.code, o.stdout, o.stderr)
		}
		_, hardening, _ := strings.Cut(read(t, path), "# Hardening: ")
		if first == "" {
			first = hardening
		}
		if hardening != first || len(strings.Fields(hardening)) < 20 {
			t.Errorf("%s is hardened in another way than the first:\n%s", path, hardening)
		}
	}
}

// TestUnitCalendars: systemd can read when the timers fire, and those of the two halves do not fire together.
func TestUnitCalendars(t *testing.T) {
	need(t, "systemd-analyze")
	next := map[string]string{}
	for _, path := range glob(t, scripts+"/systemd/*.timer") {
		calendar := regexp.MustCompile(`(?m)^OnCalendar=(.*)$`).FindStringSubmatch(read(t, path))
		if calendar == nil {
			t.Fatalf("%s has no OnCalendar", path)
		}
		out := succeed(t, "systemd-analyze", "calendar", "--iterations=2", "--base-time=2025-12-31 23:59:59", calendar[1])
		times := regexp.MustCompile(`\d\d:\d\d:\d\d`).FindAllString(out[strings.Index(out, "Next elapse"):], -1)
		next[filepath.Base(path)] = strings.Join(times, " ")
	}
	want := map[string]string{
		"kojisnap@.timer": "00:00:00 00:30:00", "kojisnap-pull@.timer": "00:00:00 00:30:00",
		"kojisnap-apply@.timer": "00:15:00 00:45:00", "kojisnap-prune@.timer": "03:10:00 03:10:00",
	}
	for name, times := range want {
		if next[name] != times {
			t.Errorf("%s fires at %s, want %s", name, next[name], times)
		}
	}
}

// TestUnitCommands: kojisnap takes the command line of each service, and the exit code that --exit-on-lock gives is no
// failure.
func TestUnitCommands(t *testing.T) {
	for _, path := range glob(t, scripts+"/systemd/*.service") {
		unit := read(t, path)
		line := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/kojisnap (.*)$`).FindStringSubmatch(unit)
		if line == nil {
			t.Fatalf("%s does not start /usr/bin/kojisnap", path)
		}
		args := strings.Fields(strings.NewReplacer("%i", "stg", "%I", "1/4", "${KOJISNAP_ENVIRONMENT}", "stg").Replace(line[1]))
		// A flag that does not exist is an error before --help is.
		if o := run(t, "", nil, program(t), append(args, "--help")...); o.code != 0 || !strings.Contains(o.stdout, "Usage: kojisnap "+args[0]) {
			t.Errorf("%s: kojisnap %q: exit code %d: %s", path, args, o.code, o.stderr)
		}
		if slices.Contains(args, "--exit-on-lock") && !strings.Contains(unit, "\nSuccessExitStatus=4\n") {
			t.Errorf("%s fails when it is locked", path)
		}
		if !slices.Contains(args, "--env") {
			t.Errorf("%s does not name its environment: %q", path, args)
		}
	}
}

// TestUnitPaths: services that work below topdir can see and write the directories of the configuration that packages
// have: topdir and production's tree, which ProtectSystem would otherwise show read-only, however it is mounted.
func TestUnitPaths(t *testing.T) {
	var config struct {
		Store, Topdir string
		Copy          struct{ Source []string }
	}
	_, err := toml.Decode(read(t, scripts+"/packaging/kojisnap.toml"), &config)
	must(t, err)
	if config.Topdir == "" || len(config.Copy.Source) == 0 {
		t.Fatalf("the configuration has no topdir, or no source: %+v", config)
	}
	for _, name := range []string{"kojisnap@.service", "kojisnap-apply@.service", "kojisnap-shard@.service"} {
		line := regexp.MustCompile(`(?m)^ReadWritePaths=(.*)$`).FindStringSubmatch(read(t, scripts+"/systemd/"+name))
		if line == nil {
			t.Fatalf("%s has no ReadWritePaths", name)
		}
		for _, path := range append(config.Copy.Source, config.Topdir) {
			if !slices.ContainsFunc(strings.Fields(line[1]), func(listed string) bool {
				listed = strings.TrimPrefix(listed, "-")
				return path == listed || strings.HasPrefix(path, listed+"/")
			}) {
				t.Errorf("%s: %s is not below %s", name, path, line[1])
			}
		}
		if !strings.Contains(read(t, scripts+"/systemd/"+name), "\nStateDirectory="+strings.TrimPrefix(config.Store, "/var/lib/")+"\n") {
			t.Errorf("%s cannot write the store %s", name, config.Store)
		}
	}
}
