package dbconn

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Pool returns a pool of at most max connections to a database, for programs that need no session of their own.
// It opens none: connections are made when they are needed, and made again after the server restarted. Its
// statements are prepared. name is what PostgreSQL shows as the program. A bad DSN is a *DSNError.
func Pool(ctx context.Context, dsn, name string, max int32) (*pgxpool.Pool, error) {
	conn, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	// ParseConfig makes the settings that a Config must have; what the DSN says is put in its place.
	config, err := pgxpool.ParseConfig("host=localhost")
	if err != nil {
		return nil, &DSNError{withoutDSN(err)}
	}
	conn.RuntimeParams["application_name"] = name
	conn.RuntimeParams["client_encoding"] = "UTF8"
	config.ConnConfig, config.MaxConns, config.MinConns = conn, max, 0
	return pgxpool.NewWithConfig(ctx, config)
}
