package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbtest"
)

// What an earlier demo started is on record below its directory, for cleanUp.
const (
	recordServer    = "postgresql.dir"
	recordContainer = "postgresql.container"
	recordDatabase  = "postgresql.database"
	database        = "kojisnap_demo"
)

// startDatabase finds or starts a server and makes a database: on the server that
// KOJISNAP_TEST_DSN names, else one of local binaries, else in a container.
func startDatabase(ctx context.Context, root string) (string, error) {
	record := func(name, text string) error { return os.WriteFile(filepath.Join(root, name), []byte(text), 0o644) }
	server := os.Getenv("KOJISNAP_TEST_DSN")
	if server != "" {
		if err := record(recordDatabase, server); err != nil {
			return "", err
		}
	} else {
		dir, err := os.MkdirTemp("", "kojisnap-demo-") // a socket's path must be short
		if err != nil {
			return "", err
		}
		if err := record(recordServer, dir); err != nil {
			return "", err
		}
		var localErr error
		if server, localErr = dbtest.StartLocal(dir); localErr != nil {
			var id string
			if server, id, err = dbtest.StartContainer(ctx); err != nil {
				return "", fmt.Errorf("no PostgreSQL: %w; %w; set KOJISNAP_TEST_DSN to a superuser's DSN", localErr, err)
			}
			if err := record(recordContainer, id); err != nil {
				return "", err
			}
		}
	}
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+database+" TEMPLATE template0 ENCODING 'UTF8'"); err != nil {
		return "", err
	}
	if u, err := url.Parse(server); err == nil && strings.HasPrefix(u.Scheme, "postgres") {
		u.Path = "/" + database
		return u.String(), nil
	}
	return server + " dbname=" + database, nil
}

// cleanUp stops and removes what an earlier demo left: only what it put on record.
func cleanUp(ctx context.Context, root string) error {
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		fmt.Println("nothing to clean: there is no", root)
		return nil
	}
	if _, err := os.Stat(filepath.Join(root, "kojisnap.toml")); err != nil {
		if _, err := os.Stat(filepath.Join(root, "kojisnap")); err != nil {
			return fmt.Errorf("%s is not a demo's directory: it is left alone", root)
		}
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return ""
		}
		return string(b)
	}
	var errs []error
	if id := read(recordContainer); id != "" {
		errs = append(errs, exec.CommandContext(ctx, "docker", "rm", "-f", id).Run())
	} else if dir := read(recordServer); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
			errs = append(errs, dbtest.StopLocal(dir))
		}
		errs = append(errs, os.RemoveAll(dir))
	}
	if server := read(recordDatabase); server != "" {
		conn, err := pgx.Connect(ctx, server)
		if err == nil {
			_, err = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+database+" WITH (FORCE)")
			conn.Close(ctx)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, os.RemoveAll(root))...)
}
