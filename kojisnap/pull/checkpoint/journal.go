/*
Package checkpoint is the journal of a pull that can be resumed: it keeps in the store what the pull has,
as parts below pulls/, so that a pull that was cut off goes on at the same event, over the same base, and
does not ask for that again. When the snapshot is there the parts of the pull are removed, and so are
those of any other pull of the same hub and tags.

What has no events (states, volumes and owners of builds, rpms, signatures, names) is as of reading, so a
resumed pull holds such rows of two times, as every pull holds them of the time that it took, only further
apart. No error of it lasts. What a later pull asks for counts from the event, not from when rows were
read: whatever changed since and left a trace (a tagging, a completion, a row younger than the event) it
asks for again, and what left none it sweeps as it does after any pull. Of what does not fit together
within the pull, drafts are read again, and a row that is named but gone makes it fail, and its parts are
removed.

So the time between must be bounded only for the sake of use: within is longer than hubs are down and
operators asleep, and shorter than a day, after which the schedule's next snapshot is wanted, and not one
of yesterday's event.
*/
package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// within is how long an interrupted pull can be resumed.
const within = 12 * time.Hour

// stateVersion is the version of the format of states and parts.
const stateVersion = 3

// State says what a pull is about: everything that its parts depend on. The object "state" has it.
type State struct {
	Version     int            `json:"version"` // of the format
	Hub         string         `json:"hub"`
	Koji        string         `json:"koji_version"`
	Scope       snapfile.Scope `json:"scope"`
	Event       int64          `json:"event"`
	EventTime   time.Time      `json:"event_time"` // differs after a hub was restored from a backup
	Base        string         `json:"base,omitempty"`
	Since       int64          `json:"since,omitempty"` // for revocations
	Incremental *Incremental   `json:"carry,omitempty"`
	Begun       time.Time      `json:"begun"`
}

// Incremental says how a pull continues its base.
type Incremental struct {
	After   int64         `json:"after"`
	Overlap time.Duration `json:"overlap"`
	Sweep   int           `json:"sweep"`
	Slice   int64         `json:"slice"`
}

func (s State) encode() []byte {
	s.Version = stateVersion
	body, err := json.Marshal(s)
	if err != nil {
		panic(err) // of plain fields
	}
	return body
}

// Same reports whether two pulls are about the same, whenever they began.
func (s State) Same(other State) bool {
	other.Begun = s.Begun
	return bytes.Equal(s.encode(), other.encode())
}

// Journal keeps the results of a pull in the store. A nil Journal keeps nothing.
type Journal struct {
	store   store.Store
	log     *slog.Logger
	all     string // prefix for pulls of the same hub and tags
	own     string // prefix for this pull's parts; empty: nothing is kept
	resumed bool   // parts may exist already

	enc *zstd.Encoder
}

// Open returns the journal of the pulls of some tags from a hub. It keeps nothing before Begin or Resume.
func Open(s store.Store, hub string, tags []string, log *slog.Logger) *Journal {
	sum := sha256.Sum256([]byte(hub + "\x00" + strings.Join(tags, "\x00")))
	return &Journal{store: s, log: log, all: snapfile.PullPrefix + hex.EncodeToString(sum[:8]) + "/"}
}

// Interrupted returns the state of an interrupted pull of the same hub and tags, if it is not too old; nil if
// there is none.
func (j *Journal) Interrupted(ctx context.Context, now time.Time) (*State, error) {
	r, err := j.store.Get(ctx, j.all+"state")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("a pull that was cut off: %w", err)
	}
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, 1<<24))
	if err != nil {
		return nil, fmt.Errorf("a pull that was cut off: %w", err)
	}
	// A state that cannot be read is ignored.
	s := new(State)
	if json.Unmarshal(body, s) != nil || s.Version != stateVersion || s.Event <= 0 || now.Sub(s.Begun).Abs() >= within {
		return nil, nil
	}
	return s, nil
}

// Begin removes what other pulls of the same hub and tags left, and stores this pull's state. What it cannot
// remove does no harm: only the pull that wrote a part uses it.
func (j *Journal) Begin(ctx context.Context, s State) error {
	if err := j.Drop(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		j.log.WarnContext(ctx, "what a pull that was cut off has left stays in the store", "err", err)
	}
	j.keepFor(s)
	return j.store.Put(ctx, j.all+"state", bytes.NewReader(s.encode()))
}

// Resume continues the pull with state s.
func (j *Journal) Resume(s State) {
	j.keepFor(s)
	j.resumed = true
}

// keepFor decides where parts are stored. The name has the digest of everything that the parts depend on. So
// two pulls at the same time never take each other's parts, even if one removes the other's state.
func (j *Journal) keepFor(s State) {
	sum := sha256.Sum256(s.encode())
	j.own = j.all + hex.EncodeToString(sum[:8]) + "/"
	// EncodeAll may be called concurrently.
	j.enc, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(frameBytes))
}

// Drop removes the parts of all pulls of the same hub and tags and, last, the state.
func (j *Journal) Drop(ctx context.Context) error {
	if j == nil {
		return nil
	}
	all, err := j.store.List(ctx, j.all)
	if err != nil {
		return err
	}
	state := slices.IndexFunc(all, func(e store.Entry) bool { return e.Name == j.all+"state" })
	if state >= 0 {
		all = append(slices.Delete(all, state, state+1), store.Entry{Name: j.all + "state"})
	}
	for _, e := range all {
		if err := j.store.Delete(ctx, e.Name); err != nil {
			return err
		}
	}
	return nil
}
