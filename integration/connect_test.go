package integration_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// secret is a password with all that quoting could get wrong.
const secret = `p@ss'w\o:r/d%41 #`

// TestConnect names a server by all of libpq's ways, over TLS and a socket, and gets them wrong.
func TestConnect(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "kojisnap-tls-")
	must(t, err)
	socket, err := dbtest.StartLocal(dir)
	if err != nil {
		os.RemoveAll(dir)
		t.Skipf("no PostgreSQL on this machine: %v", err)
	}
	t.Cleanup(func() { must(t, dbtest.StopLocal(dir)) })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := fmt.Sprint(free.Addr().(*net.TCPAddr).Port)
	must(t, free.Close())

	data := filepath.Join(dir, "data")
	info, err := os.Stat(data)
	must(t, err)
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	home := t.TempDir()
	ca, otherCA := filepath.Join(home, "ca.pem"), filepath.Join(home, "other.pem")
	certificate(t, ca, filepath.Join(data, "server.crt"), filepath.Join(data, "server.key"))
	certificate(t, otherCA, filepath.Join(home, "unused.crt"), filepath.Join(home, "unused.key"))
	must(t, os.Chown(filepath.Join(data, "server.key"), owner, -1))
	dbtest.Exec(t, socket, "CREATE DATABASE stg")
	dbtest.Exec(t, socket, "CREATE ROLE koji LOGIN SUPERUSER PASSWORD '"+strings.ReplaceAll(secret, "'", "''")+"'; CREATE ROLE limited LOGIN CONNECTION LIMIT 0 PASSWORD 'x'")
	dbtest.Exec(t, strings.Replace(socket, "/postgres?", "/stg?", 1), kojiprod.SchemaSQL(true))
	for _, set := range []string{"listen_addresses = '127.0.0.1'", "port = " + port, "ssl = on"} {
		dbtest.Exec(t, socket, "ALTER SYSTEM SET "+set)
	}
	dbtest.Exec(t, socket, "ALTER SYSTEM RESET unix_socket_directories")
	must(t, os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"), 0o644))
	// What StartLocal gave on the command line wins over ALTER SYSTEM.
	must(t, os.WriteFile(filepath.Join(data, "postmaster.opts"), []byte(fmt.Sprintf("postgres \"-D\" \"%s\" \"-k\" \"%s\" \"-c\" \"timezone=UTC\" \"-c\" \"fsync=off\"\n", data, dir)), 0o644))
	must(t, dbtest.RestartLocal(dir))

	service := filepath.Join(home, "services")
	must(t, os.WriteFile(service, []byte(fmt.Sprintf("[stg]\nhost=localhost\nport=%s\ndbname=stg\nuser=koji\nsslmode=verify-full\nsslrootcert=%s\n", port, ca)), 0o644))
	passfile := filepath.Join(home, "passwords")
	line := "localhost:" + port + ":stg:koji:" + strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(secret) + "\n"
	// pgx looks for the password of the first of several servers.
	must(t, os.WriteFile(passfile, []byte(line+strings.Replace(line, port, "1", 1)), 0o600))
	withFiles := t.TempDir()
	must(t, os.WriteFile(filepath.Join(withFiles, ".pgpass"), []byte(line), 0o600))
	body, err := os.ReadFile(service)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(withFiles, ".pg_service.conf"), body, 0o644))

	quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(secret) + "'"
	escaped := strings.NewReplacer("%", "%25", "@", "%40", "/", "%2F", ":", "%3A", "#", "%23", " ", "%20", `\`, "%5C", "'", "%27").Replace(secret)
	keywords := "host=localhost port=" + port + " dbname=stg user=koji "
	full := "sslmode=verify-full sslrootcert=" + ca
	pass := "PGPASSFILE=" + passfile
	for _, c := range []struct {
		name, db string
		env      []string
		code     int
		says     []string
	}{
		{name: "URL", db: "postgres://koji:" + escaped + "@localhost:" + port + "/stg?sslmode=verify-full&sslrootcert=" + ca},
		{name: "keywords", db: keywords + full + " password=" + quoted},
		{name: "a socket", db: "host=" + dir + " port=" + port + " dbname=stg user=koji"},
		{name: "a socket in a URL", db: "postgresql:///stg?host=" + dir + "&port=" + port + "&user=koji"},
		{name: "environment", env: []string{"PGHOST=localhost", "PGPORT=" + port, "PGDATABASE=stg", "PGUSER=koji", "PGPASSWORD=" + secret, "PGSSLMODE=verify-full", "PGSSLROOTCERT=" + ca}},
		{name: "PGPASSFILE", db: keywords + full, env: []string{pass}},
		{name: "passfile", db: keywords + full + " passfile=" + passfile},
		{name: "PGSERVICE", env: []string{"PGSERVICE=stg", "PGSERVICEFILE=" + service, pass}},
		{name: "service", db: "service=stg", env: []string{"PGSERVICEFILE=" + service, pass}},
		{name: "files at home", db: "service=stg", env: []string{"HOME=" + withFiles}},
		{name: "several hosts", db: strings.Replace(keywords, "localhost port="+port, "localhost,localhost port=1,"+port, 1) + full + " target_session_attrs=read-write", env: []string{pass}},
		{name: "hostaddr", db: strings.Replace(keywords, "localhost", "localhost hostaddr=127.0.0.1", 1) + full, env: []string{pass}},
		{name: "other keywords of libpq's", db: keywords + full + " keepalives=1 keepalives_idle=10 gssencmode=disable fallback_application_name=cron connect_timeout=10 options='-c search_path=public'", env: []string{pass}},

		{name: "a wrong password", db: keywords + full + " password=wrong-" + "hunter2", code: 1, says: []string{"stg on localhost", "password authentication failed", `"koji"`}},
		{name: "no password", db: keywords + full, code: 1, says: []string{"password"}},
		{name: "no such database", db: keywords + full + " dbname=nope", env: []string{"PGPASSWORD=" + secret}, code: 1, says: []string{`"nope" does not exist`}},
		{name: "no such role", db: "host=" + dir + " port=" + port + " dbname=stg user=nobody-here", code: 1, says: []string{`"nobody-here" does not exist`}},
		{name: "no room for the role", db: "host=" + dir + " port=" + port + " dbname=stg user=limited", code: 5, says: []string{`too many connections for role "limited"`}},
		{name: "no TLS", db: keywords + "sslmode=disable", env: []string{"PGPASSWORD=" + secret}, code: 1, says: []string{"no pg_hba.conf entry", "no encryption"}},
		{name: "another CA", db: keywords + "sslmode=verify-full sslrootcert=" + otherCA, env: []string{"PGPASSWORD=" + secret}, code: 1, says: []string{"certificate signed by unknown authority", "sslrootcert"}},
		{name: "another name", db: strings.Replace(keywords, "localhost", "db.example.com hostaddr=127.0.0.1", 1) + full, env: []string{"PGPASSWORD=" + secret}, code: 1, says: []string{"certificate is valid for localhost, not db.example.com"}},
		{name: "no CA file", db: keywords + "sslmode=verify-full sslrootcert=/no/such.pem", code: 2, says: []string{"/no/such.pem"}},
		{name: "nobody listens", db: "host=127.0.0.1 port=1 dbname=stg user=koji password=" + quoted, code: 5, says: []string{"127.0.0.1", "connection refused: is PostgreSQL running there"}},
		{name: "no socket", db: "host=/no/such/dir dbname=stg user=koji", code: 5, says: []string{"/no/such/dir", "no such file"}},
		{name: "no such host", db: "host=no-such-host.invalid dbname=stg user=koji", code: 5, says: []string{"no-such-host.invalid"}},
		{name: "no such service", db: "service=prod", env: []string{"PGSERVICEFILE=" + service}, code: 2, says: []string{"prod"}},
		{name: "no such service file", db: "service=stg", env: []string{"PGSERVICEFILE=/no/such.conf"}, code: 2, says: []string{"/no/such.conf"}},
		{name: "a port that is none", db: "postgres://koji:" + escaped + "@localhost:port/stg", code: 2, says: []string{"port"}},
		{name: "keywords without a value", db: "host=localhost password=" + quoted + " dbname", code: 2, says: []string{"neither keywords"}},
		{name: "an unescaped password", db: "postgres://koji:" + secret + "@localhost:" + port + "/stg", code: 2, says: []string{"neither keywords", "%XX"}},
		{name: "what cannot be kept", db: keywords + full + " requirepeer=postgres", env: []string{pass}, code: 2, says: []string{"requirepeer"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"init", "--env", "stg"}
			if c.db != "" {
				args = append(args, "--db", c.db)
			}
			o := runWith(t, append([]string{"HOME=" + home}, c.env...), args...)
			if o.code != c.code || o.stdout != "" || (o.stderr == "") != (c.code == 0) {
				t.Errorf("exit code %d, want %d: %q, %q", o.code, c.code, o.stdout, o.stderr)
			}
			for _, says := range c.says {
				if !strings.Contains(o.stderr, says) {
					t.Errorf("%q does not say %q", o.stderr, says)
				}
			}
			for _, password := range []string{secret, escaped, quoted[1 : len(quoted)-1], "hunter2", `w\o`, "d%41", "#"} {
				if strings.Contains(o.stderr, password) {
					t.Errorf("it tells the password: %q", o.stderr)
				}
			}
			for reason := range strings.SplitSeq(o.stderr, ": ") {
				if len(reason) > 30 && strings.Count(o.stderr, reason) > 1 {
					t.Errorf("the same twice: %q", o.stderr)
				}
			}
			if strings.Count(o.stderr, "\n") > 1 {
				t.Errorf("more than one line: %q", o.stderr)
			}
			t.Log(strings.TrimSpace(o.stderr))
		})
	}
}

// certificate makes a CA, and a server's certificate for localhost, with their keys.
func certificate(t *testing.T, caFile, certFile, keyFile string) {
	t.Helper()
	write := func(file, kind string, der []byte) {
		must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		must(t, os.Chmod(file, map[bool]os.FileMode{true: 0o600, false: 0o644}[file == keyFile]))
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(t, err)
	write(caFile, "CERTIFICATE", der)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err = x509.CreateCertificate(rand.Reader, server, ca, key.Public(), caKey)
	must(t, err)
	write(certFile, "CERTIFICATE", der)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	write(keyFile, "PRIVATE KEY", der)
}

// runWith runs kojisnap with an environment of its own.
func runWith(t testing.TB, environ []string, args ...string) outcome {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, environ...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}
