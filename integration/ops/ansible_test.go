package ops_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/seedtest"
)

// site is a host with Ansible in it, the role and its example playbook. Ansible works on the host itself.
type site struct {
	root
	dsn  string // of a staging database without kojisnap's mark
	user string // who reaches the database
}

// inventory has the groups of the example, with the made root as the first host of the hub.
const inventory = `
[koji_stg]
hub ansible_connection=local ansible_python_interpreter=/srv/python3

[buildvm_stg]
buildvm-x86-01.stg.example.com
`

// hostile is a text that templates, TOML and shells could take for something else. kojisnap refuses only control
// characters there.
const hostile = "a \"quoted\" 'name', {{ lookup }} {% raw %}, $(id) \\ # é \U0001F600 [[host]]"

func newSite(t *testing.T) *site {
	t.Helper()
	need(t, "ansible-playbook")
	s := &site{root: newRoot(t, "www-data"), dsn: dbtest.Fresh(t)}
	for _, dir := range []string{"ansible", "systemd"} {
		succeed(t, "cp", "-r", filepath.Join(scripts, dir), s.at("srv"))
	}
	succeed(t, "cp", program(t), s.at("srv/program"))
	write(t, s.at("srv/inventory"), inventory)
	// Ansible's processes ask each other 50 times a second, and not 1000 times.
	write(t, s.at("srv/ansible.cfg"), "[defaults]\ninternal_poll_interval = 0.02\n")
	server, err := pgx.ParseConfig(s.dsn)
	must(t, err)
	if s.user = "www-data"; strings.HasPrefix(server.Host, "/") { // a socket, which only this user can reach
		s.user = "root"
		must(t, os.MkdirAll(s.at(server.Host), 0o755))
		mount(t, server.Host, s.at(server.Host), "", syscall.MS_BIND, "")
	}
	s.vars(t, "timer")
	return s
}

// python makes the interpreter of the host's modules, /srv/python3: in the short form one that hands them to a process
// which has imported what they need, as that import takes most of the time that a play takes.
func (s *site) python(t *testing.T) {
	t.Helper()
	if seedtest.Long() {
		must(t, os.Symlink("/usr/bin/python3", s.at("srv/python3")))
		return
	}
	succeed(t, "cp", "testdata/python3", "testdata/modules.py", s.at("srv"))
	must(t, os.Chmod(s.at("srv/python3"), 0o755))
	modules := exec.Command("chroot", string(s.root), "python3", "/srv/modules.py")
	modules.Dir, modules.Env = "/", []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8"}
	var stderr bytes.Buffer
	modules.Stderr = &stderr
	stdin, err := modules.StdinPipe()
	must(t, err)
	stdout, err := modules.StdoutPipe()
	must(t, err)
	must(t, modules.Start())
	t.Cleanup(func() {
		stdin.Close()
		if err := modules.Wait(); err != nil {
			t.Errorf("modules.py: %v\n%s", err, &stderr)
		}
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("modules.py says %q, %v\n%s", line, err, &stderr)
	}
}

// vars writes what this site sets over the example's variables.
func (s *site) vars(t *testing.T, schedule string) {
	t.Helper()
	write(t, s.at("srv/vars.yml"), `
kojisnap_user: www-data
kojisnap_install: binary
kojisnap_binary: /srv/program
kojisnap_schedule: `+schedule+`
kojisnap_prune: `+strconv.FormatBool(schedule == "cron")+`
kojisnap_calendar: "*:05/20"
kojisnap_keep: 7
kojisnap_init: true
kojisnap_init_db: `+quoted(s.dsn)+`
kojisnap_init_user: `+s.user+`
kojisnap_environment:
  PGPASSFILE: /etc/kojisnap/pgpass
kojisnap_channel: !unsafe `+quoted(hostile)+`
kojisnap_overlay:
  block_users: []
  everyone:
    principals: ["{name}@STG.EXAMPLE.COM"]
  channel:
    - name: osbuild
      description: "{{ kojisnap_channel }}"
  host:
    - names: "{{ groups['buildvm_stg'] }}"
      arches: ["x86_64"]
      channels: ["default", "osbuild"]
      capacity: 2.5
`)
}

// quoted is a string of YAML.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}

// play runs the example playbook on the site, and returns what it prints and how many tasks changed something.
func (s *site) play(t *testing.T, args ...string) (out, changed string) {
	t.Helper()
	o := s.run(t, s.environ(), "ansible-playbook", append([]string{"-i", "/srv/inventory", "-e", "@/srv/vars.yml", "/srv/ansible/playbook.yml"}, args...)...).done(t)
	recap := regexp.MustCompile(`hub +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=0 `).FindStringSubmatch(o.stdout)
	if recap == nil {
		t.Fatalf("ansible-playbook %q:\n%s%s", args, o.stdout, o.stderr)
	}
	return o.stdout, recap[1]
}

// environ is Ansible's environment. The root is not the one of PID 1, so systemctl must not ask systemd.
func (s *site) environ() []string {
	return []string{"ANSIBLE_CONFIG=/srv/ansible.cfg", "ANSIBLE_PIPELINING=1", "ANSIBLE_BECOME_METHOD=su", "ANSIBLE_BECOME_FLAGS=-s /bin/sh", "ANSIBLE_NOCOLOR=1", "ANSIBLE_LOCALHOST_WARNING=0", "ANSIBLE_SYSTEM_WARNINGS=0", "SYSTEMD_OFFLINE=1", "LC_ALL=C.UTF-8"}
}

// TestAnsibleRole applies the role to a host, as a site does it: a check before the first run fails nowhere and
// changes nothing; the run installs, configures, marks the database and schedules; a second run, and a check, change
// nothing and show no difference.
func TestAnsibleRole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.python(t)
	before := s.files(t, "etc", "var/lib", written)
	out, changed := s.play(t, "--check", "--diff")
	if changed == "0" || !strings.Contains(out, `+topdir = "/mnt/koji"`) {
		t.Errorf("a check before the first run would change %s tasks, and shows\n%s", changed, out)
	}
	if after := s.files(t, "etc", "var/lib", written); after != before {
		t.Errorf("a check made something: before\n%s\nafter\n%s", before, after)
	}
	if _, changed = s.play(t); changed == "0" {
		t.Error("the first run changed nothing")
	}
	s.isConfigured(t)
	s.isScheduled(t)
	if o := run(t, "", nil, program(t), "init", "--dry-run", "--env", "stg", "--db", s.dsn); o.code != 0 {
		t.Errorf("the database is not marked: exit code %d, %s%s", o.code, o.stdout, o.stderr)
	}

	state := s.files(t, "etc", "var/lib", written)
	if seedtest.Long() { // it does what the check does, and takes as long
		if out, changed = s.play(t); changed != "0" {
			t.Errorf("the second run changed %s tasks:\n%s", changed, out)
		}
	}
	out, changed = s.play(t, "--check", "--diff")
	if changed != "0" || strings.Contains(out, "\n+++ ") {
		t.Errorf("a check would change %s tasks, and shows\n%s", changed, out)
	}
	if after := s.files(t, "etc", "var/lib", written); after != state {
		t.Errorf("files changed: before\n%s\nafter\n%s", state, after)
	}

	// From the timers to cron: the timers end.
	s.vars(t, "cron")
	s.play(t, "--tags", "kojisnap_schedule")
	if left := s.files(t, "etc/systemd/system"); strings.Contains(left, "timers.target.wants/kojisnap") {
		t.Errorf("timers that are still enabled: %s", left)
	}
	cron := read(t, s.at("etc/cron.d/kojisnap-stg"))
	for _, want := range []string{"\nMAILTO=releng-cron@lists.example.com\n", "\nPGPASSFILE=/etc/kojisnap/pgpass\n",
		"\n*/30 * * * *  www-data  kojisnap sync --env stg --lock-file /var/lib/kojisnap/stg.lock --exit-on-lock\n",
		"\n10 3 * * *  www-data  kojisnap prune --env stg --keep 7\n"} {
		if !strings.Contains(cron, want) {
			t.Errorf("the file of cron has no %q:\n%s", want, cron)
		}
	}

	// A host that waits to take over has no schedule.
	s.play(t, "--tags", "kojisnap_schedule", "-e", "kojisnap_state=idle")
	if left := s.files(t, "etc/cron.d", "etc/systemd/system"); strings.Contains(left, "kojisnap-stg") || strings.Contains(left, "wants/kojisnap") {
		t.Errorf("an idle host has a schedule: %s", left)
	}
}

// isConfigured: kojisnap takes the configuration, with what the inventory says, whatever characters that has.
func (s *site) isConfigured(t *testing.T) {
	t.Helper()
	var config, overlay map[string]any
	for file, into := range map[string]*map[string]any{"kojisnap.toml": &config, "overlay.toml": &overlay} {
		if _, err := toml.Decode(read(t, s.at("etc/kojisnap/"+file)), into); err != nil {
			t.Errorf("%s: %v\n%s", file, err, read(t, s.at("etc/kojisnap/"+file)))
		}
	}
	want := map[string]any{
		"block_users": []any{},
		"everyone":    map[string]any{"principals": []any{"{name}@STG.EXAMPLE.COM"}},
		"channel":     []map[string]any{{"name": "osbuild", "description": hostile}},
		"host": []map[string]any{{"names": []any{"buildvm-x86-01.stg.example.com"}, "arches": []any{"x86_64"},
			"channels": []any{"default", "osbuild"}, "capacity": 2.5}},
	}
	if !reflect.DeepEqual(overlay, want) {
		t.Errorf("overlay\n%v\nwant\n%v", overlay, want)
	}
	if pull, _ := config["pull"].(map[string]any); config["env"] != "stg" || !reflect.DeepEqual(pull["tag"], []any{"f42", "f43*", "!f43-infra*"}) {
		t.Errorf("configuration %v", config)
	}
	if o := s.run(t, nil, "kojisnap", "config", "check").done(t); o.stdout+o.stderr != "" {
		t.Errorf("config check says %s%s", o.stdout, o.stderr)
	}
	if state := s.files(t, "var/lib/kojisnap"); !strings.HasPrefix(state, "d 755 www-data:www-data") {
		t.Errorf("the store is %s", state)
	}
	if state := s.files(t, "etc/kojisnap/stg.env"); !strings.Contains(state, "f 600 root:root") {
		t.Errorf("the environment is %s", state)
	}
}

// isScheduled: the timers are enabled, and systemd takes the units with the settings of this site.
func (s *site) isScheduled(t *testing.T) {
	t.Helper()
	if o := s.run(t, nil, "systemctl", "is-enabled", "kojisnap@stg.timer"); o.stdout != "enabled\n" {
		t.Errorf("kojisnap@stg.timer is %s%s", o.stdout, o.stderr)
	}
	settings := read(t, s.at("etc/systemd/system/kojisnap@.service.d/ansible.conf"))
	if !strings.Contains(settings, "\nUser=www-data\n") || !strings.Contains(settings, "\nReadWritePaths=-/var/lib/kojisnap -/mnt/koji -/mnt/fedora_koji_prod/koji\n") {
		t.Errorf("settings of the service:\n%s", settings)
	}
	if settings = read(t, s.at("etc/systemd/system/kojisnap@.timer.d/ansible.conf")); !strings.Contains(settings, "\nOnCalendar=*:05/20\n") {
		t.Errorf("settings of the timer:\n%s", settings)
	}
	o := s.run(t, nil, "systemd-analyze", "verify", "--man=no", "kojisnap@stg.service", "kojisnap@stg.timer")
	if o.code != 0 || o.stdout+o.stderr != "" {
		t.Errorf("systemd-analyze verify: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

// TestAnsibleVariables: the role refuses variables that it would put into units and files of cron as something else than
// what they are, before it does anything.
func TestAnsibleVariables(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	// The root stands for several hosts, each with a wrong variable.
	hosts := map[string]string{"env": `{"kojisnap_env": "../stg"}`, "half": `{"kojisnap_half": "both"}`, "environment": `{"kojisnap_environment": {"A": "1\n* * * * * root reboot"}}`}
	list := "[koji_stg]\n"
	for host, wrong := range hosts {
		list += host + " ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n"
		write(t, s.at("srv/ansible/host_vars/"+host+".json"), wrong)
	}
	write(t, s.at("srv/inventory"), list)
	write(t, s.at("srv/ansible/group_vars/koji_stg.yml"), read(t, s.at("srv/vars.yml"))) // as -e they would hide the hosts' own
	o := s.run(t, s.environ(), "ansible-playbook", "-i", "/srv/inventory", "/srv/ansible/playbook.yml")
	if o.code == 0 {
		t.Errorf("exit code 0\n%s%s", o.stdout, o.stderr)
	}
	for host, wrong := range hosts {
		refused := regexp.MustCompile(`\[` + host + `\]: FAILED!.*A variable of the role has a value that it cannot have`).MatchString(o.stdout)
		if !refused || !regexp.MustCompile(`(?m)^`+host+` +: ok=0 +changed=0 +unreachable=0 +failed=1 `).MatchString(o.stdout) {
			t.Errorf("%s: exit code %d\n%s%s", wrong, o.code, o.stdout, o.stderr)
		}
	}
}

// TestAnsibleLint: ansible-lint has nothing to say against playbook and role.
func TestAnsibleLint(t *testing.T) {
	t.Parallel()
	need(t, "ansible-lint")
	dir := t.TempDir() // it writes where it works
	for _, name := range []string{"ansible", "systemd"} {
		succeed(t, "cp", "-r", filepath.Join(scripts, name), dir)
	}
	o := run(t, filepath.Join(dir, "ansible"), nil, "ansible-lint", "--offline", "--strict", "-q", "--nocolor", "playbook.yml")
	if o.code != 0 || o.stdout != "" {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}
