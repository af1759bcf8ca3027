package ops_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/seedtest"
)

// neighbours are what a site has before kojisnap comes: production with its hub and tree, and a staging Koji with its
// hub, topdir and database. Koji's tables belong to the role koji, whose password is that of the test.
type neighbours struct {
	production, staging string // URLs of the hubs
	tree, topdir        string
	socket              string // the directory of PostgreSQL's socket
}

const ownersPassword = "of koji's owner"

func newNeighbours(t *testing.T) *neighbours {
	t.Helper()
	n := &neighbours{tree: open(t), topdir: open(t), socket: open(t)}
	must(t, kojiprod.ExtractTree(n.tree))
	must(t, os.Chmod(n.topdir, 0o755))

	_, err := dbtest.StartLocal(n.socket)
	must(t, err)
	t.Cleanup(func() { must(t, dbtest.StopLocal(n.socket)) })
	must(t, os.Chmod(n.socket, 0o755))
	dsn := func(user, database string) string {
		return fmt.Sprintf("host=%s user=%s dbname=%s", n.socket, user, database)
	}
	dbtest.Exec(t, dsn("postgres", "postgres"), "CREATE ROLE koji LOGIN PASSWORD '"+strings.ReplaceAll(ownersPassword, "'", "''")+"'; ")
	dbtest.Exec(t, dsn("postgres", "postgres"), "CREATE DATABASE koji OWNER koji TEMPLATE template0 ENCODING 'UTF8'")
	dbtest.Exec(t, dsn("koji", "koji"), kojiprod.SchemaSQL(true)+`
INSERT INTO users (name, status, usertype) VALUES ('stgadmin', 0, 0);
INSERT INTO user_perms (user_id, perm_id, creator_id) VALUES (1, 1, 1);`)
	// From here on the roles of the site need their passwords, the superuser does not.
	hba := filepath.Join(n.socket, "data/pg_hba.conf")
	must(t, os.WriteFile(hba, []byte("local all postgres trust\nlocal all all scram-sha-256\n"), 0o600))
	dbtest.Exec(t, dsn("postgres", "postgres"), "SELECT pg_reload_conf()")

	rows, err := hubtest.Rows(kojiprod.Rows())
	must(t, err)
	must(t, generate.AddContentTag(rows))
	n.production = serve(t, rows, n.tree)
	staging, err := hubtest.PostgreSQL(t.Context(), dsn("postgres", "koji"))
	must(t, err)
	t.Cleanup(staging.Close)
	n.staging = serve(t, staging, n.topdir)
	return n
}

func serve(t *testing.T, src hubtest.Source, topdir string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := &http.Server{Handler: hubtest.New(src, hubtest.Options{Topdir: topdir})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String() + "/kojihub"
}

// newHost is the host on which somebody follows the guide: a container of an image, with topdir and production's tree.
type newHost struct {
	*neighbours
	name string
	is   []string          // debian, cron
	site map[string]string // what the guide has: what this site has instead
	used map[string]bool
}

func (n *neighbours) host(t *testing.T, image, user string, is ...string) *newHost {
	t.Helper()
	h := &newHost{neighbours: n, name: fmt.Sprintf("kojisnap-tryout-%d-%s", os.Getpid(), is[0]), is: is, used: map[string]bool{}}
	succeed(t, "docker", "run", "-d", "--name", h.name, "--network", "host", "-w", "/root",
		"-v", n.topdir+":/mnt/koji", "-v", n.tree+":/mnt/fedora_koji_prod/koji:ro", "-v", n.socket+":/run/postgresql", image, "sleep", "infinity")
	t.Cleanup(func() { exec.Command("docker", "rm", "-f", h.name).Run() })
	h.site = map[string]string{
		"https://koji.example.com/kojihub":     n.production,
		"https://koji.stg.example.com/kojihub": n.staging,
		"host=db.stg.example.com":              "host=/run/postgresql",
		"db.stg.example.com:5432":              "localhost:5432", // so libpq calls a socket's host
		"CHANGE-ME":                            "s3cret of the role",
		`["f42", "f43*", "!f43-infra*"]`:       `["f42-compose"]`,
		`["105ef944"]`:                         `["41526f0e", ""]`,
		"apache":                               user,
	}
	return h
}

// here is a text of the guide as somebody at this site writes it.
func (h *newHost) here(text string) string {
	for from, to := range h.site {
		if strings.Contains(text, from) {
			h.used[from] = true
		}
		text = strings.ReplaceAll(text, from, to)
	}
	return text
}

// do does what a block of the guide says.
func (h *newHost) do(t *testing.T, b block) outcome {
	t.Helper()
	text := h.here(b.text)
	var o outcome
	switch {
	case b.words[0] == "toml":
		h.write(t, b.words[1], text)
		return o
	case b.words[1] == "database":
		dir := t.TempDir()
		succeed(t, "docker", "cp", h.name+":/usr/share/kojisnap/grants.sql", dir)
		o = run(t, dir, []string{"PGHOST=" + h.socket, "PGUSER=postgres"}, "bash", "-ec", text)
	case b.forHost(h.is...):
		o = h.shell(t, text)
	default:
		return o
	}
	t.Logf("%s: exit code %d\n%s\n%s%s", b.page, o.code, text, o.stdout, o.stderr)
	if o.code != b.exit {
		t.Fatalf("%s: exit code %d, want %d", b.page, o.code, b.exit)
	}
	return o
}

// shell runs a text in root's shell on the host, which has a terminal's reader at standard input.
func (h *newHost) shell(t *testing.T, text string) outcome {
	t.Helper()
	return run(t, "", nil, "bash", "-c", `printf '%s\n' "$1" | docker exec -i "$2" bash -ec "$3"`, "-", ownersPassword, h.name, text)
}

func (h *newHost) write(t *testing.T, path, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, text)
	succeed(t, "docker", "cp", file, h.name+":"+path)
}

// debian returns an image of a bare Debian: KOJISNAP_TRYOUT_DEBIAN, such as debian:bookworm, or one that is made here.
func debian(t *testing.T) string {
	t.Helper()
	if image := os.Getenv("KOJISNAP_TRYOUT_DEBIAN"); image != "" {
		return image
	}
	const image = "kojisnap-tryout-debian:bookworm"
	if exec.Command("docker", "image", "inspect", image).Run() == nil {
		return image
	}
	need(t, "mmdebstrap")
	tar := filepath.Join(t.TempDir(), "debian.tar")
	succeed(t, "mmdebstrap", "--variant=minbase", "bookworm", tar)
	succeed(t, "docker", "import", tar, image)
	return image
}

// TestTryout follows the guide on a bare Debian, word by word: the package, the role, the configuration, the first
// sync, the schedule by cron, the report after each sync. Only what names a site is put in its place. In the end the schedule's own lines have run
// as its user without a word, and status and report say that staging is compose-ready.
func TestTryout(t *testing.T) {
	if !seedtest.Long() {
		t.Skip("long: it installs packages of the distribution")
	}
	needRoot(t)
	need(t, "docker", "psql", "dpkg-deb")
	h := newNeighbours(t).host(t, debian(t), "www-data", "debian", "cron")
	succeed(t, "chown", "33:33", h.topdir) // www-data's number, in each Debian
	file := strings.TrimSpace(run(t, "", nil, scripts+"/packaging/deb", program(t), t.TempDir()).done(t).stdout)
	succeed(t, "docker", "cp", file, h.name+":/root/")

	for _, page := range []string{"install.md", "first-sync.md", "schedule.md", "observe.md"} {
		for _, b := range guide(t, page) {
			h.do(t, b)
		}
	}
	for from := range h.site {
		if !h.used[from] {
			t.Errorf("the guide has no %s", from)
		}
	}
	h.schedule(t)
	h.ready(t)
}

// schedule runs the lines of cron as cron does.
func (h *newHost) schedule(t *testing.T) {
	t.Helper()
	table := h.shell(t, "cat /etc/cron.d/kojisnap").done(t).stdout
	environ := regexp.MustCompile(`(?m)^([A-Z]+=.*)$`).FindAllString(table, -1)
	lines := regexp.MustCompile(`(?m)^[*0-9]\S* +\S+ +\S+ +\S+ +\S+ +(\S+) +(.*)$`).FindAllStringSubmatch(table, -1)
	if len(lines) != 2 || len(environ) < 3 {
		t.Fatalf("the table of cron is\n%s", table)
	}
	for _, l := range lines {
		args := append([]string{"exec", h.name, "runuser", "-u", l[1], "--", "env", "-i", "-C", "/"}, environ...)
		o := run(t, "", nil, "docker", append(args, "/bin/sh", "-c", l[2])...)
		if o.code != 0 || o.stdout+o.stderr != "" {
			t.Errorf("cron runs %q as %s: exit code %d, mail\n%s%s", l[2], l[1], o.code, o.stdout, o.stderr)
		}
	}
}

// ready asks for the state of staging.
func (h *newHost) ready(t *testing.T) {
	t.Helper()
	plugin := h.shell(t, h.here("runuser -u apache -- kojisnap status --nagios --warning 2h --critical 8h")).done(t).stdout
	if !strings.HasPrefix(plugin, "KOJISNAP OK") {
		t.Errorf("status --nagios: %s", plugin)
	}
	for _, file := range []string{"/var/tmp/kojisnap.html", "/var/lib/kojisnap/report.html"} {
		page := h.shell(t, "cat "+file).done(t).stdout
		if !strings.Contains(page, "READY at event 419") || strings.Contains(page, "NOT READY") || strings.Contains(page, "NOT PROVEN") {
			t.Errorf("%s does not say READY", file)
		}
	}
	if o := h.shell(t, "runuser -u nobody -- kojisnap status 2>&1 || true"); !strings.Contains(o.stdout, "; no password was found: ") {
		t.Errorf("who may not read the password is told %q", o.stdout)
	}
}
