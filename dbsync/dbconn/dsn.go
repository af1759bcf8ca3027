package dbconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/oneline"
)

// DSNError says what is wrong with a DSN, or with the settings of the environment and of files that complete
// it.
type DSNError struct{ Err error }

func (e *DSNError) Error() string { return "database: " + e.Err.Error() }

func (e *DSNError) Unwrap() error { return e.Err }

// CheckDSN returns a *DSNError if Connect could not use the DSN.
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

// withoutDSN says why a DSN could not be parsed. pgx's own message shows the DSN, and hides the password only
// as far as it understands the DSN.
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

// libpqOnly treats the keywords that libpq knows and pgx does not: pgx would send them to the server as
// settings.
func libpqOnly(config *pgx.ConnConfig) error {
	take := func(keyword string) string {
		v := config.RuntimeParams[keyword]
		delete(config.RuntimeParams, keyword)
		return v
	}
	// These tune the connection; here PostgreSQL and the system choose.
	for _, k := range []string{"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
		"gssencmode", "gssdelegation", "gsslib", "sslcompression", "load_balance_hosts"} {
		take(k)
	}
	if name := take("fallback_application_name"); config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = name
	}
	for _, k := range []string{"requirepeer", "requiressl", "sslcrl", "sslcrldir", "ssl_min_protocol_version", "ssl_max_protocol_version"} {
		if take(k) != "" {
			return fmt.Errorf("the keyword %s is not supported", k) // to ignore it would be less safe than what was asked for
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
