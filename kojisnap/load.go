package kojisnap

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes"
)

// LoadOptions say which database to load, and how. Env, Volume, CopyVolume and what else
// dbsync.LoadOptions has are used as they are; Staged, VolumeFor and Overlay are found here.
type LoadOptions struct {
	dbsync.LoadOptions
	DSN string // of the staging database; empty: libpq's environment variables
	// NewTopdir says that Topdir, in which nothing is, is not one that was forgotten to be mounted.
	NewTopdir bool
	Topdir    string            // where the ledger says what was copied; empty: the store's copy of it
	Rules     map[string]string // staging's names of production's volumes, where the default will not do
	Overlay   string            // file; empty: none
	Leaving   []volumes.Build   // copied builds that this load moves off the copy volume, beside those that the ledger has as unwanted
	WaitFor   string            // a file that running composes hold locked; empty: none
}

// Load loads a snapshot into the staging database. Errors are those of package dbsync.
func Load(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o LoadOptions) (*dbsync.LoadReport, error) {
	started := time.Now()
	opt, err := o.found(ctx, s)
	if err == nil && o.WaitFor != "" {
		var unlock func()
		if unlock, err = waitFor(ctx, o.WaitFor); err == nil {
			defer unlock()
		}
	}
	// The database remembers failures too, as far as it can.
	conn, lost := Connect(ctx, o.DSN)
	if lost != nil {
		return nil, cmp.Or(err, lost)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err != nil {
		dbsync.RecordFailure(ctx, conn, snap, opt, started, err)
		return nil, err
	}
	r, err := dbsync.Load(ctx, conn, snap, opt)
	if err == nil && !opt.DryRun && s != nil {
		o.noteDecided(ctx, s, r.Decided)
		if lost := putHeld(ctx, s, o.Env, snap); lost != nil && o.Log != nil {
			// A store may be for reading alone here. A load that lacks what was pruned says so itself.
			o.Log.InfoContext(ctx, "what the database holds is not noted in the store: a prune may remove what the next load needs", "err", lost)
		}
	}
	return r, err
}

// noteDecided lets copies know what staging decided. They do without, so that it is no error.
func (o LoadOptions) noteDecided(ctx context.Context, s store.Store, builds map[int64]string) {
	if err := putDecided(ctx, s, o.Env, builds); err != nil && o.Log != nil {
		o.Log.WarnContext(ctx, "what staging decided of builds is not noted in the store: a copy may make their files again", "err", err)
	}
}

// found adds what the options name: the ledger, the overlay.
func (o LoadOptions) found(ctx context.Context, s store.Store) (dbsync.LoadOptions, error) {
	opt := o.LoadOptions
	mapping := volumes.Mapping{Prod: opt.Volume, Rules: o.Rules}
	if err := mapping.Validate(nil); err != nil {
		return opt, err
	}
	opt.VolumeFor = mapping.Staging
	if o.Topdir != "" && !o.NewTopdir {
		if err := checkTopdir(ctx, o.Topdir, opt.Env, opt.CopyVolume, s, &StagingDatabase{DSN: o.DSN}); err != nil {
			return opt, err
		}
	}
	ledger, err := readLedger(ctx, s, opt.Env, o.Topdir)
	if err != nil {
		return opt, err
	}
	if ledger != nil {
		opt.Staged = []dbsync.NVR{} // known, if only that there is none
		for _, b := range ledger.Staged() {
			if slices.ContainsFunc(o.Leaving, func(l volumes.Build) bool { return l.NVR() == b.Build.NVR() }) {
				continue
			}
			opt.Staged = append(opt.Staged, dbsync.NVR{Name: b.Build.Name, Version: b.Build.Version, Release: b.Build.Release})
		}
	}
	opt.Base = func(ctx context.Context, id string) (*snapfile.Snapshot, error) { return snapfile.Open(ctx, s.Get, id) }
	opt.Between = func(ctx context.Context, after, before int64) ([]*snapfile.Snapshot, error) {
		return snapshotsBetween(ctx, s, after, before) // of a store with keys those that are trusted
	}
	if o.Overlay != "" {
		opt.Overlay, err = dbsync.ReadOverlay(o.Overlay)
	}
	return opt, err
}

// Connect opens a connection to the staging database, named as libpq's programs have it: by a URL
// or keywords, a service file, the environment, ~/.pgpass. That a server is not there, or not
// yet, is a *dbsync.TemporaryError; that it refuses us, or we its certificate, is not. Messages
// never hold the password.
func Connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database: %w", withoutDSN(dsn, err))
	}
	if err := libpqOnly(config); err != nil {
		return nil, fmt.Errorf("database: %w", err)
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
	err = fmt.Errorf("database %s on %s: %w", cmp.Or(config.Database, config.User), config.Host, oneLine{err})
	var pg *pgconn.PgError
	var certificate *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil, errors.As(err, &certificate), strings.Contains(err.Error(), "server refused TLS connection"):
		return nil, err
	case errors.As(err, &pg) && !slices.Contains([]string{"57P01", "57P02", "57P03", "53300"}, pg.Code):
		// Other answers of a server than that it starts, ends or is full are final.
		return nil, err
	}
	return nil, &dbsync.TemporaryError{Err: err}
}

// withoutDSN says why a DSN could not be parsed. What pgx says shows the DSN, with the password
// crossed out as far as it understands the DSN, which is not far where the password is what it
// stumbled upon.
func withoutDSN(dsn string, err error) error {
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return file
	case !strings.Contains(dsn, "@") && !strings.Contains(dsn, "pass"):
		return oneLine{err}
	}
	for _, reason := range []string{"invalid port", "invalid connect_timeout", "failed to configure TLS", "failed to read service"} {
		if strings.Contains(err.Error(), "`: "+reason) {
			return fmt.Errorf("cannot parse the DSN: %s", reason)
		}
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

// oneLine shows an error of several lines, as pgconn has for several addresses, in one.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }

// waitFor waits until nobody holds path locked (flock), and holds it until unlock: composes
// that lock it shared while they run do not meet a load.
func waitFor(ctx context.Context, path string) (unlock func(), err error) {
	unlock, err = lockFile(ctx, path, 0o644, true)
	if err != nil {
		return nil, fmt.Errorf("wait for %s: %w", path, err)
	}
	return unlock, nil
}
