// Package dbconn connects to the staging database (Connect) and runs transactions on it: reads that see one
// state (Read), and writes under kojisnap's lock, which begin again where the hub was in the way (Transact).
// It knows neither Koji's tables nor kojisnap's own.
//
// Connect is also the one place that sets how queries run: without prepared statements, as behind a pooler
// the next transaction may have another session, and as temporary tables of an earlier load would be in a
// cached plan. Connections that come from elsewhere must set pgx.QueryExecModeExec as their default, too.
package dbconn

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/retry"
)

// Connect opens a connection to the staging database. dsn is what libpq's programs take: a URL or keywords; a
// service file, the environment and ~/.pgpass supply the rest. If the server is not there, or not yet, the
// error is a *retry.TemporaryError; if it refuses us, or we its certificate, it is not. A bad DSN is a *DSNError.
// Messages never hold the password.
func Connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	config, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "kojisnap"
	}
	config.RuntimeParams["client_encoding"] = "UTF8" // what pgx reads and writes, whatever was asked for
	// See the package comment.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		return conn, nil
	}
	// As in libpq, the default database is named after the user.
	err = fmt.Errorf("database %s on %s: %w", cmp.Or(config.Database, config.User), config.Host, refused(err))
	var pg *pgconn.PgError
	var certificate *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil, errors.As(err, &certificate), strings.Contains(err.Error(), "server refused TLS connection"):
		return nil, err
	case errors.As(err, &pg) && !slices.Contains([]string{"57P01", "57P02", "57P03", "53300"}, pg.Code):
		// The server answered, and not that it starts, shuts down or is full: that is final.
		if pg.Code == "28P01" && config.Password == "" { // PostgreSQL's text does not say that none was sent
			err = fmt.Errorf("%w; no password was found: the file of passfile in the DSN, of PGPASSFILE or ~/.pgpass must be readable for this user and have a line for this host, port, database and role", err)
		}
		return nil, err
	}
	return nil, &retry.TemporaryError{Err: err}
}

// refused says why there is no connection. pgconn lists each address and each way to try it, with and without
// TLS, which mostly fail alike; each reason is told once.
func refused(err error) error {
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) {
		return oneline.Of(err)
	}
	var tried []string
	for line := range strings.Lines(connect.Unwrap().Error()) {
		line = strings.TrimPrefix(strings.Join(strings.Fields(line), " "), "hostname resolving error: ")
		line = dialled.ReplaceAllString(line, "$1: ")
		if line != "" && !slices.Contains(tried, line) {
			tried = append(tried, line)
		}
	}
	// With sslmode=prefer, the default, the attempt with TLS may fail.
	if answers := slices.DeleteFunc(slices.Clone(tried), func(s string) bool { return strings.HasSuffix(s, "server refused TLS connection") }); len(answers) > 0 {
		tried = answers
	}
	return reworded{strings.Join(tried, "; ") + advice(err), err}
}

// advice says what to look at if there is no connection.
func advice(err error) string {
	var (
		dial *net.OpError
		host x509.HostnameError
		bad  *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &host):
		return ": give the name that the certificate has as host in the DSN, and hostaddr if that does not lead there"
	case errors.As(err, &bad):
		return ": name the file of the authority that signed it: sslrootcert in the DSN, or PGSSLROOTCERT"
	case errors.As(err, new(*net.DNSError)):
		return ": is host right in the DSN?"
	case errors.As(err, &dial) && dial.Op == "dial":
		return ": is PostgreSQL running there, and are host and port of the DSN right?"
	}
	if strings.HasSuffix(err.Error(), "server refused TLS connection") {
		return ": the server has no TLS, and the DSN (sslmode) or PGSSLMODE wants it"
	}
	return ""
}

// dialled is how pgconn's message about an address that it could not reach begins.
var dialled = regexp.MustCompile(`^(\S+) \(\S+\): dial error: dial \S+ \S+: `)

// reworded is an error in other words.
type reworded struct {
	text string
	error
}

func (e reworded) Error() string { return e.text }
func (e reworded) Unwrap() error { return e.error }
