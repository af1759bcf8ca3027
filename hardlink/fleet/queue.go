package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/secret"
)

// Queue is a queue in a database. Its methods may be called concurrently.
type Queue struct {
	dsn  string
	pool *pgxpool.Pool
	log  *slog.Logger
	// gone: the server does not answer, and the process must end soon.
	gone atomic.Bool
}

// poolSize is enough for the work between jobs. A worker has one session more, its lease.
const poolSize = 4

// Open opens a queue that Enqueue has made. Close it after use. A database without one is ErrNoQueue, the queue of
// another version a *VersionError, a server that is not there a *retry.TemporaryError, a bad DSN a
// *dbconn.DSNError. Messages never hold the password.
func Open(ctx context.Context, dsn string, log *slog.Logger) (*Queue, error) {
	q, err := open(ctx, dsn, log)
	if err != nil {
		return nil, err
	}
	ours, rivers, riversWant, err := versions(ctx, q.pool, q.log)
	switch {
	case err != nil:
	case ours == 0:
		err = ErrNoQueue
	case ours != format:
		err = &VersionError{ours, format}
	case rivers != riversWant:
		err = &VersionError{rivers, riversWant}
	}
	if err != nil {
		q.Close()
		return nil, fmt.Errorf("queue: %w", err)
	}
	return q, nil
}

// Make opens a queue, and makes its tables or brings them to this version. Its errors are those of Open, without
// ErrNoQueue.
func Make(ctx context.Context, dsn string, log *slog.Logger) (*Queue, error) {
	q, err := open(ctx, dsn, log)
	if err != nil {
		return nil, err
	}
	if err := q.migrate(ctx); err != nil {
		q.Close()
		return nil, fmt.Errorf("queue: %w", err)
	}
	return q, nil
}

func open(ctx context.Context, dsn string, log *slog.Logger) (*Queue, error) {
	// The pool connects later, and says less of what is wrong.
	conn, err := dbconn.Connect(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	conn.Close(context.WithoutCancel(ctx))
	pool, err := dbconn.Pool(ctx, dsn, "kojisnap queue", poolSize)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Queue{dsn: dsn, pool: pool, log: log}, nil
}

// Close closes the connections. It does not wait for long for those that are in use: their server may be cut off.
func (q *Queue) Close() {
	if q.gone.Load() {
		go q.pool.Close()
		return
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		q.pool.Close()
	}()
	select {
	case <-closed:
	case <-time.After(3 * time.Second):
	}
}

// topdirNote is a file below topdir with its id. All workers of a plan must see the same topdir, by whatever
// path: a worker whose topdir has another note, or none since it is not mounted, is refused.
const topdirNote = ".kojisnap/fleet"

var topdirIDRE = regexp.MustCompile(`^[0-9a-f]{32}$`)

// TopdirID returns the id of a topdir. If it has none, that is fs.ErrNotExist, unless make is set.
func TopdirID(topdir string, make bool) (string, error) {
	note := filepath.Join(topdir, topdirNote)
	text, err := os.ReadFile(note)
	if errors.Is(err, fs.ErrNotExist) && make {
		if _, err := os.Stat(topdir); err != nil {
			return "", fmt.Errorf("topdir: %w", err)
		}
		var id [16]byte
		rand.Read(id[:])
		if err := durable.MkdirAll(filepath.Dir(note), 0o755); err != nil {
			return "", fmt.Errorf("topdir: %w", err)
		}
		err = durable.CreateFile(note, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%x\n", id)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("topdir: %w", err)
		}
		text, err = os.ReadFile(note)
	}
	if err != nil {
		return "", fmt.Errorf("topdir %s is not known to any queue: %w; is it mounted? copy --builds all --queue makes it known", topdir, err)
	}
	id := strings.TrimSpace(string(text))
	if !topdirIDRE.MatchString(id) {
		return "", fmt.Errorf("topdir %s: %s is damaged: remove it, and run copy --builds all --queue again", topdir, note)
	}
	return id, nil
}

// Plan is what Enqueue puts into a queue.
type Plan struct {
	Topdir   string // its id
	Env      string
	Snapshot string // its id
	Shards   []Shard
	Sources  []Source
}

// Shard is a part of a plan. Shards do not overlap: no file is in two of them.
type Shard struct {
	Name   string // unique in the plan
	Digest string // of its content: a shard that was done with the same digest stays done
	Files  int64
	Bytes  int64
	// Mode is the caller's word for what else is to be done, such as an audit. If it is given, the shard is worked on
	// even if it is done.
	Mode string
}

// Source is what all workers together may ask of one source.
type Source struct {
	Name     string
	Slots    int     // how many shards at a time read it; who has a slot keeps to this part of the limits
	Bytes    int64   // a second; 0: no limit
	Requests float64 // a second; 0: no limit
}

// SourceKey is a source's name in the queue: without credentials.
func SourceKey(source string) string { return secret.Hide(source) }

// lockKey is the advisory lock of a thing of a topdir.
func lockKey(topdir, kind, name string) int64 {
	sum := sha256.Sum256([]byte("kojisnap fleet\x00" + topdir + "\x00" + kind + "\x00" + name))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// queueName is River's queue of a topdir: workers of other topdirs never see its jobs.
func queueName(topdir string) string { return "topdir_" + topdir }

// workerID names a worker: its host and process, and what makes it unique.
func workerID() string {
	host, _ := os.Hostname()
	var unique [4]byte
	rand.Read(unique[:])
	if host = notID.ReplaceAllString(host, "-"); len(host) > 60 {
		host = host[:60]
	}
	return fmt.Sprintf("%s_%d_%s", host, os.Getpid(), hex.EncodeToString(unique[:]))
}

var notID = regexp.MustCompile(`[^A-Za-z0-9-]`)

// Current is the plan that a queue has for a topdir.
type Current struct {
	Snapshot string
	Env      string
	Sources  []string
	Planned  time.Time
}

// Current returns the plan for a topdir. If there is none, the error says for how many other topdirs there are plans.
func (q *Queue) Current(ctx context.Context, topdir string) (Current, error) {
	var c Current
	err := q.pool.QueryRow(ctx, "SELECT snapshot, env, sources, planned FROM kojisnap_queue.fleet_plan WHERE topdir = $1", topdir).
		Scan(&c.Snapshot, &c.Env, &c.Sources, &c.Planned)
	if !errors.Is(err, pgx.ErrNoRows) {
		return c, dbconn.Classify(err)
	}
	var others int
	if err := q.pool.QueryRow(ctx, "SELECT count(*) FROM kojisnap_queue.fleet_plan").Scan(&others); err != nil {
		return c, dbconn.Classify(err)
	}
	return c, &NoPlanError{topdir, others}
}

// NoPlanError says that a queue has no plan for a topdir.
type NoPlanError struct {
	Topdir string // its id
	Others int    // topdirs that it has plans for
}

func (e *NoPlanError) Error() string {
	return fmt.Sprintf("the queue has no plan for this topdir (id %s; plans for other topdirs: %d): give the --topdir for which copy --builds all --queue was run, or run it for this one", e.Topdir, e.Others)
}
