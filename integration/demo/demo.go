package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// lastEvent is the newest event of the recorded production.
const lastEvent = "419"

// admin is what an operator does to a fresh Koji database first.
const admin = `
INSERT INTO users (name, status, usertype) VALUES ('stgadmin', 0, 0);
INSERT INTO user_perms (user_id, perm_id, creator_id) VALUES (1, 1, 1);`

type demo struct {
	root string
	tags []string
	dsn  string
}

func (d *demo) path(name string) string { return filepath.Join(d.root, name) }

// prepare builds kojisnap, starts PostgreSQL and makes a fresh staging database.
func (d *demo) prepare(ctx context.Context) error {
	for _, dir := range []string{d.root, d.path("staging"), d.path("store")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	say("Build kojisnap, start PostgreSQL, make a fresh staging Koji database with an admin in it")
	build := exec.CommandContext(ctx, "go", "build", "-o", d.path("kojisnap"), "kojisnap/cmd/kojisnap")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	var err error
	if d.dsn, err = startDatabase(ctx, d.root); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, d.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.PgConn().Exec(ctx, kojiprod.SchemaSQL(true)+admin).ReadAll()
	return err
}

// fromData shows everything on the data of package kojiprod.
func (d *demo) fromData(ctx context.Context) error {
	begun := time.Now()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if err := os.Mkdir(d.path("production"), 0o755); err != nil {
		return err
	}
	if err := kojiprod.ExtractTree(d.path("production")); err != nil {
		return err
	}
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		return err
	}
	if err := generate.AddContentTag(rows); err != nil {
		return err
	}
	production, err := serve(ctx, rows, d.path("production"))
	if err != nil {
		return err
	}
	staging, err := hubtest.PostgreSQL(ctx, d.dsn)
	if err != nil {
		return err
	}
	defer staging.Close()
	stagingHub, err := serve(ctx, staging, d.path("staging"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.path("kojisnap.toml"), []byte(d.config(production, stagingHub)), 0o644); err != nil {
		return err
	}
	config := []string{"-c", d.path("kojisnap.toml")}
	for _, step := range []struct {
		what string
		args []string
	}{
		{"Mark the database: kojisnap refuses any other", []string{"init"}},
		{"Read production's hub (" + production + ") at one event", []string{"pull"}},
		{"Make the files that composes hardlink exist below staging's topdir", []string{"copy"}},
		{"Load the database: one transaction, builds on the read-only volume", []string{"load"}},
		{"Is staging compose-ready? With a trial repository", []string{"verify", "-v", "--compose", d.path("compose")}},
		{"All again, as a schedule does: nothing changed, so nothing is written, nothing is said", []string{"sync"}},
	} {
		say(step.what)
		if err := d.kojisnap(ctx, append(step.args[:1:1], append(config, step.args[1:]...)...)...); err != nil {
			return err
		}
	}
	fmt.Printf("\nDone in %s. To look at:\n", time.Since(begun).Round(time.Second/10))
	d.where("staging database", "psql '"+d.dsn+"'")
	d.where("staging's topdir", d.path("staging"))
	d.where("production's tree", d.path("production"))
	d.where("trial repository", d.path("compose")+count(d.path("compose")))
	d.where("the snapshot", d.path("kojisnap")+" show latest --store "+d.path("store"))
	d.where("the configuration", d.path("kojisnap.toml"))
	fmt.Println("scripts/demo --clean stops PostgreSQL and removes it all.")
	return nil
}

// fromHub pulls from a real hub, whose files are elsewhere, and loads.
func (d *demo) fromHub(ctx context.Context, hubURL string) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	pull := []string{"pull", "--hub", hubURL, "--store", d.path("store"), "-v", "--progress", "plain"}
	for _, tag := range d.tags {
		pull = append(pull, "--tag", tag)
	}
	for _, step := range []struct {
		what string
		args []string
	}{
		{"Mark the database: kojisnap refuses any other", []string{"init", "--db", d.dsn}},
		{"Read the hub at one event", pull},
		{"Load the database", []string{"load", "--db", d.dsn, "--store", d.path("store"), "-v"}},
		{"What the database holds", []string{"status", "--db", d.dsn}},
	} {
		say(step.what)
		if err := d.kojisnap(ctx, step.args...); err != nil {
			return err
		}
	}
	fmt.Println("\nTo look at:")
	d.where("staging database", "psql '"+d.dsn+"'")
	d.where("the snapshot", d.path("kojisnap")+" show latest --store "+d.path("store"))
	fmt.Println("scripts/demo --clean stops PostgreSQL and removes it all.")
	return nil
}

func (d *demo) config(production, staging string) string {
	return fmt.Sprintf(`env    = "demo"
store  = %q
db     = %q
topdir = %q

[pull]
hub   = %q
tag   = ["%s"]
event = %s          # the recorded production ends there

[copy]
source = [%q]       # production's tree
writable-source = true  # here it is no read-only mount
sigkey = ["41526f0e", ""]

[verify]
hub    = %q
sigkey = ["41526f0e", ""]
`, d.path("store"), d.dsn, d.path("staging"), production, strings.Join(d.tags, `", "`), lastEvent, d.path("production"), staging)
}

// kojisnap runs the program as a user would.
func (d *demo) kojisnap(ctx context.Context, args ...string) error {
	shown := []string{"kojisnap"}
	for _, a := range args {
		if strings.ContainsAny(a, " ?&") {
			a = "'" + a + "'"
		}
		shown = append(shown, a)
	}
	fmt.Println("$", strings.Join(shown, " "))
	cmd := exec.CommandContext(ctx, d.path("kojisnap"), args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kojisnap %s: %w", args[0], err)
	}
	return nil
}

func serve(ctx context.Context, src hubtest.Source, topdir string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: hubtest.New(src, hubtest.Options{Topdir: topdir})}
	context.AfterFunc(ctx, func() { srv.Close() })
	go srv.Serve(l)
	return "http://" + l.Addr().String() + "/kojihub", nil
}

func say(what string) { fmt.Printf("\n# %s\n", what) }

func (d *demo) where(what, place string) { fmt.Printf("  %-18s %s\n", what, place) }

// count says how many rpms are below dir.
func count(dir string) string {
	n := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".rpm" {
			n++
		}
		return err
	})
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (%d rpms, hard links)", n)
}
