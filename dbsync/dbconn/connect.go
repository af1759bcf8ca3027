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
	"io/fs"
	"kojisnap/kojisnap/oneline"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"kojisnap/kojisnap/retry"
)

// Connect opens a connection to the staging database, named as libpq's programs have it: by a URL
// or keywords, a service file, the environment, ~/.pgpass. That a server is not there, or not
// yet, is a *retry.TemporaryError; that it refuses us, or we its certificate, is not. Messages
// never hold the password.
func Connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	config, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "kojisnap"
	}
	config.RuntimeParams["client_encoding"] = "UTF8" // what pgx reads and writes, whatever was asked for
	// Behind a pooler the next transaction may have another session of PostgreSQL's, which knows none of
	// the statements that were prepared.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		return conn, nil
	}
	// As for libpq, a database that is not named is the user's.
	err = fmt.Errorf("database %s on %s: %w", cmp.Or(config.Database, config.User), config.Host, refused(err))
	var pg *pgconn.PgError
	var certificate *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil, errors.As(err, &certificate), strings.Contains(err.Error(), "server refused TLS connection"):
		return nil, err
	case errors.As(err, &pg) && !slices.Contains([]string{"57P01", "57P02", "57P03", "53300"}, pg.Code):
		// Other answers of a server than that it starts, ends or is full are final.
		return nil, err
	}
	return nil, &retry.TemporaryError{Err: err}
}

// DSNError says what is wrong with a DSN, or with the settings of the environment and of files that it
// leaves to them.
type DSNError struct{ Err error }

func (e *DSNError) Error() string { return "database: " + e.Err.Error() }
func (e *DSNError) Unwrap() error { return e.Err }

// CheckDSN refuses, with a *DSNError, what Connect could do nothing with.
func CheckDSN(dsn string) error {
	_, err := parseDSN(dsn)
	return err
}

func parseDSN(dsn string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, &DSNError{withoutDSN(err)}
	}
	if err := libpqOnly(config); err != nil {
		return nil, &DSNError{err}
	}
	return config, nil
}

// withoutDSN says why a DSN could not be parsed. What pgx says shows the DSN, with the password
// crossed out as far as it understands the DSN, which is not far where the password is what it
// stumbled upon.
func withoutDSN(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return fmt.Errorf("cannot read %s: %w; the DSN (sslrootcert, sslcert, sslkey, passfile, service), a variable PG… or a default names it", file.Path, file.Err)
	}
	for _, r := range []struct{ pgx, says string }{
		{"invalid port", "the port is not a number from 1 to 65535: look at port in the DSN, or PGPORT"},
		{"invalid connect_timeout", "the time to wait is not a number of seconds: look at connect_timeout in the DSN, or PGCONNECT_TIMEOUT"},
		{"failed to read service", "the service cannot be read: %v: look at service in the DSN or PGSERVICE, and PGSERVICEFILE or ~/.pg_service.conf"},
		{"sslmode is invalid", "there is no such sslmode: give disable, allow, prefer, require, verify-ca or verify-full in the DSN, or PGSSLMODE"},
		{"failed to configure TLS", "TLS cannot be set up: %v: look at sslrootcert, sslcert and sslkey in the DSN, or PGSSLROOTCERT, PGSSLCERT and PGSSLKEY"},
	} {
		if !strings.Contains(err.Error(), r.pgx) {
			continue
		}
		if cause := cmp.Or(errors.Unwrap(err), err); strings.Contains(r.says, "%v") {
			return fmt.Errorf(r.says, oneline.Of(cause))
		}
		return errors.New(r.says)
	}
	return errors.New("the DSN is neither keywords (host=… dbname=…; values with spaces in quotes) nor a URL (postgres://USER:PASSWORD@HOST/DBNAME; special characters as %XX)")
}

// libpqOnly sees to the keywords that libpq knows and pgx does not, which it would hand to the
// server as settings.
func libpqOnly(config *pgx.ConnConfig) error {
	take := func(keyword string) string {
		v := config.RuntimeParams[keyword]
		delete(config.RuntimeParams, keyword)
		return v
	}
	// What tunes the connection, and is PostgreSQL's or the system's to choose here.
	for _, k := range []string{"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
		"gssencmode", "gssdelegation", "gsslib", "sslcompression", "load_balance_hosts"} {
		take(k)
	}
	if name := take("fallback_application_name"); config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = name
	}
	for _, k := range []string{"requirepeer", "requiressl", "sslcrl", "sslcrldir", "ssl_min_protocol_version", "ssl_max_protocol_version"} {
		if take(k) != "" {
			return fmt.Errorf("the keyword %s is not supported", k) // to pass it over would be less safe than was asked for
		}
	}
	address := take("hostaddr")
	if address == "" {
		address = os.Getenv("PGHOSTADDR")
	}
	switch {
	case address == "":
	case net.ParseIP(address) == nil:
		return fmt.Errorf("hostaddr %q is not one IP address", address)
	case strings.HasPrefix(config.Host, "/"):
		return fmt.Errorf("hostaddr %s: give host too, the name to check the server's certificate against", address)
	default:
		config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{address}, nil }
	}
	return nil
}

// refused is why no connection came about. pgconn says it for each address and for each way to try it,
// with and without TLS, which come to the same mostly; each is told once.
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
	// With sslmode=prefer, which is the default, that is a try that may fail.
	if answers := slices.DeleteFunc(slices.Clone(tried), func(s string) bool { return strings.HasSuffix(s, "server refused TLS connection") }); len(answers) > 0 {
		tried = answers
	}
	return reworded{strings.Join(tried, "; ") + advice(err), err}
}

// advice is what to look at where there was no connection.
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

// dialled is how pgconn begins to tell of an address that it could not reach.
var dialled = regexp.MustCompile(`^(\S+) \(\S+\): dial error: dial \S+ \S+: `)

// reworded is an error in other words.
type reworded struct {
	text string
	error
}

func (e reworded) Error() string { return e.text }
func (e reworded) Unwrap() error { return e.error }

// oneLine shows an error of several lines, as pgconn has for several addresses, in one.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }
