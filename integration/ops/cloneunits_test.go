package ops_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCloneUnits: the service that mounts clones, and the drop-in for syncs that make them. With it the service has no
// mount namespace of its own, and the right to mount: what it mounts would be seen by nobody else otherwise.
func TestCloneUnits(t *testing.T) {
	need(t, "systemd-analyze")
	dir := t.TempDir()
	mounts := filepath.Join(dir, "kojisnap-clones.service")
	body := read(t, scripts+"/clone/kojisnap-clones.service")
	write(t, mounts, replaceAll(t, body, "ExecStart=/usr/bin/kojisnap ", "ExecStart="+program(t)+" "))
	silent(t, "systemd-analyze", "verify", "--man=no", mounts)
	line := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/kojisnap (.*)$`).FindStringSubmatch(body)
	if line == nil {
		t.Fatal("kojisnap-clones.service does not start /usr/bin/kojisnap")
	}
	args := strings.Fields(line[1])
	if o := run(t, "", nil, program(t), append(args, "--help")...); o.code != 0 || !strings.Contains(o.stdout, "Usage: kojisnap "+args[0]) {
		t.Errorf("kojisnap %q: exit code %d: %s", args, o.code, o.stderr)
	}

	for _, unit := range units(t) {
		name := filepath.Base(unit)
		if name != "kojisnap@.service" && name != "kojisnap-apply@.service" {
			continue
		}
		for _, setting := range isolation(t, unit) {
			if !setting.Set {
				t.Errorf("%s: %s is off without the drop-in: this test would find nothing", name, setting.Field)
			}
		}
		write(t, filepath.Join(unit+".d", "clones.conf"), read(t, scripts+"/clone/clones.conf"))
		silent(t, "systemd-analyze", "verify", "--man=no", unit)
		for _, setting := range isolation(t, unit) {
			if setting.Set {
				t.Errorf("%s with clones.conf: %s is on", name, setting.Field)
			}
		}
	}
}

type setting struct {
	Set   bool   `json:"set"`
	Field string `json:"json_field"`
}

// isolation returns the settings of a service by which systemd gives it a mount namespace (exec_needs_mount_namespace of
// systemd), or takes the right to mount away, as far as its report on security names them.
func isolation(t *testing.T, unit string) (found []setting) {
	t.Helper()
	var all []setting
	out := run(t, "", nil, "systemd-analyze", "security", "--offline=true", "--json=short", unit).stdout
	must(t, json.Unmarshal([]byte(out), &all))
	for _, s := range all {
		switch s.Field {
		case "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectControlGroups", "ProtectKernelLogs", "ProtectKernelModules",
			"ProtectKernelTunables", "CapabilityBoundingSet_CAP_SYS_ADMIN", "SystemCallFilter_mount":
			found = append(found, s)
		}
	}
	if len(found) != 10 {
		t.Fatalf("%d settings of ten in %s", len(found), out)
	}
	return found
}
