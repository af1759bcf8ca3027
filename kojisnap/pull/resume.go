package pull

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

	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/store"
)

// A pull takes its time. What it has it puts into the store on the way, as parts below pulls/, so
// that a pull that was cut off goes on at the same event, over the same base, and does not ask
// for that again. When the snapshot is there its parts go, and so do those of any other pull of
// the same hub and tags.
//
// What has no events (states, volumes and owners of builds, rpms, signatures, names) is as of
// reading, so a pull that goes on holds such rows of two times, as every pull holds them of the
// time that it took, only further apart. No error of it lasts. What a later pull asks for counts
// from the event, not from when rows were read: whatever changed since and left a trace (a
// tagging, a completion, a row younger than the event) it asks for again, and what left none it
// sweeps as it does after any pull. Of what does not fit together within the pull, drafts are read
// again, and a row that is named but gone makes it fail, and its parts go.
//
// So that the time between is bounded for the sake of use: resumeWithin is longer than hubs are
// down and operators asleep, and shorter than a day, after which the schedule's next snapshot is
// wanted, and not one of yesterday's event.
const resumeWithin = 12 * time.Hour

// unfinished is a pull that was begun, as its object "state" has it: all that its parts depend on.
type unfinished struct {
	Version   int            `json:"version"` // of the parts' form
	Hub       string         `json:"hub"`
	Koji      string         `json:"koji_version"`
	Scope     snapfile.Scope `json:"scope"`
	Event     int64          `json:"event"`
	EventTime time.Time      `json:"event_time"` // another after a hub was restored from a backup
	Base      string         `json:"base,omitempty"`
	Since     int64          `json:"since,omitempty"` // of revocations
	Carry     *carried       `json:"carry,omitempty"`
	Begun     time.Time      `json:"begun"`
}

// carried is how a pull goes on from its base.
type carried struct {
	After   int64         `json:"after"`
	Overlap time.Duration `json:"overlap"`
	Sweep   int           `json:"sweep"`
	Slice   int64         `json:"slice"`
}

const partsVersion = 3

// about returns what the pull is about, once event, scope and base are found.
func (p *puller) about() *unfinished {
	u := &unfinished{Version: partsVersion, Hub: p.hub.URL(), Koji: p.version.String(), Scope: p.scope,
		Event: p.event, EventTime: p.eventTime, Since: p.since, Begun: p.opt.Now().UTC()}
	if p.base != nil {
		u.Base = p.base.ID
	}
	if c := p.carry; c != nil {
		u.Carry = &carried{c.after, p.opt.Overlap, p.opt.Sweep, c.slice}
	}
	return u
}

func (u *unfinished) encode() []byte {
	body, err := json.Marshal(u)
	if err != nil {
		panic(err) // of plain fields
	}
	return body
}

// settle finds what is to be pulled, and over which base: what a pull that was cut off was about,
// if that can be gone on with. What it returns may be another puller, in the place of p.
func settle(ctx context.Context, p *puller, s store.Store, o Options) (*puller, error) {
	p.store = s
	if s == nil || o.DryRun {
		return p, p.find(ctx, s)
	}
	p.parts = &parts{store: s, all: partsOf(p.hub.URL(), p.opt.Tags)}
	if o.Full {
		return p, p.find(ctx, s)
	}
	was, err := p.parts.left(ctx, p.opt.Now())
	if err != nil {
		return nil, err
	}
	if was != nil && (o.Event == 0 || o.Event == was.Event) {
		if goesOn, err := p.goOn(ctx, s, was); err != nil || goesOn {
			return p, err
		}
		// What it found is of another event.
		fresh, err := newPuller(ctx, p.hub, o)
		if err != nil {
			return nil, err
		}
		fresh.parts, fresh.store = p.parts, s
		p.close()
		p = fresh
	}
	if err := p.find(ctx, s); err != nil {
		return nil, err
	}
	return p, p.parts.begin(ctx, p.about(), p.log)
}

// find finds event, scope and base.
func (p *puller) find(ctx context.Context, s store.Store) error {
	if err := p.findAll(ctx, s); err != nil {
		return err
	}
	if p.base != nil {
		var keeper snapshot.Keeper
		if p.carry != nil {
			keeper = p
		}
		p.builder.SetBase(p.base, keeper, p.start > 0)
	}
	return nil
}

func (p *puller) findAll(ctx context.Context, s store.Store) error {
	if err := p.findEvent(ctx); err != nil {
		return err
	}
	if err := p.settleHistory(ctx); err != nil {
		return err
	}
	if err := p.findAsked(ctx); err != nil {
		return err
	}
	if s != nil && !p.opt.Full {
		if err := p.chooseBase(ctx, s); err != nil {
			return err
		}
		if p.base != nil {
			if err := p.carryFrom(ctx); err != nil {
				return err
			}
		}
	}
	if err := p.findNamed(ctx, s); err != nil {
		return err
	}
	if err := p.findScope(ctx); err != nil {
		return err
	}
	if err := p.followHistory(ctx); err != nil {
		return err
	}
	p.since = p.event
	if p.start > 0 {
		p.since = p.start
	}
	switch {
	case s == nil:
		return nil
	case p.base != nil:
		p.since = min(p.since, p.base.Manifest.Event)
		return nil
	}
	return p.findSince(ctx, s)
}

// findSince settles since which event revoked rows are wanted where there is no base: since the
// newest snapshots of the same hub, of whatever scope. What holds one of them learns when and by
// whom its rows were revoked.
func (p *puller) findSince(ctx context.Context, s store.Store) error {
	// Who forged an event can only make this pull ask for more.
	all, err := repository.SnapshotsFunc(ctx, repository.WithoutSignatures(s), func(error) error { return nil })
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, snap := range all {
		m := snap.Manifest
		scope := strings.Join(m.Scope.AskedFor(), "\x00")
		if m.Hub == p.hub.URL() && m.Event <= p.event && !seen[scope] {
			seen[scope] = true
			p.since = min(p.since, m.Event)
		}
	}
	return nil
}

// goOn makes the pull the one that was cut off, and reports whether it is. If that will not do it
// says why: hub or store are not what they were, or have what makes it useless.
func (p *puller) goOn(ctx context.Context, s store.Store, was *unfinished) (bool, error) {
	pinned := p.opt.Event != 0
	p.opt.Event, p.cutOff = was.Event, was.Scope.Content
	var why string
	var noEvent *noEventError
	var noTag *UnknownTagError
	var noTags *NoTagsError
	err := p.find(ctx, s)
	switch {
	case errors.As(err, &noEvent), errors.As(err, &noTag), errors.As(err, &noTags):
		why = err.Error()
	case err != nil:
		return false, err
	case !p.same(was):
		why = "hub, scope or base are not what they were"
	case !pinned && p.outdated:
		why = "there is a snapshot of a later event"
	default:
		p.log.InfoContext(ctx, "going on with a pull that was cut off", "event", was.Event, "begun", was.Begun)
		p.parts.goOn(was)
		return true, nil
	}
	p.log.InfoContext(ctx, "not going on with a pull that was cut off", "event", was.Event, "begun", was.Begun, "why", why)
	return false, nil
}

// same reports whether the pull is about what an earlier one was about.
func (p *puller) same(was *unfinished) bool {
	if p.carry != nil && was.Carry != nil {
		p.carry.slice = was.Carry.Slice // the hour may be another
	}
	now := p.about()
	now.Begun = was.Begun
	return bytes.Equal(now.encode(), was.encode())
}

// parts is where a pull keeps what it has.
type parts struct {
	store  store.Store
	all    string // prefix of the pulls of the same hub and tags
	own    string // of this pull's parts; empty: nothing is kept
	goesOn bool   // there may be some already

	enc *zstd.Encoder
}

func partsOf(hub string, tags []string) string {
	sum := sha256.Sum256([]byte(hub + "\x00" + strings.Join(tags, "\x00")))
	return snapfile.PullPrefix + hex.EncodeToString(sum[:8]) + "/"
}

// left returns what a pull of the same hub and tags was about that was cut off, if it is not too
// long ago.
func (p *parts) left(ctx context.Context, now time.Time) (*unfinished, error) {
	r, err := p.store.Get(ctx, p.all+"state")
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
	// What cannot be read is of no use, and no harm.
	u := new(unfinished)
	if json.Unmarshal(body, u) != nil || u.Version != partsVersion || u.Event <= 0 || now.Sub(u.Begun).Abs() >= resumeWithin {
		return nil, nil
	}
	return u, nil
}

// begin clears away what other pulls of the same hub and tags left, and says what this one is
// about. What cannot be cleared away does no harm: parts are taken only for what they are of.
func (p *parts) begin(ctx context.Context, this *unfinished, log *slog.Logger) error {
	if err := p.drop(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		log.WarnContext(ctx, "what a pull that was cut off has left stays in the store", "err", err)
	}
	p.keepFor(this)
	return p.store.Put(ctx, p.all+"state", bytes.NewReader(this.encode()))
}

func (p *parts) goOn(was *unfinished) {
	p.keepFor(was)
	p.goesOn = true
}

// keepFor settles where parts go. The name has the digest of all that they depend on, so that two
// pulls at once, of which one takes the other's state away, never take each other's parts.
func (p *parts) keepFor(this *unfinished) {
	sum := sha256.Sum256(this.encode())
	p.own = p.all + hex.EncodeToString(sum[:8]) + "/"
	// EncodeAll may be called concurrently.
	p.enc, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(frameBytes))
}

// drop removes the parts of all pulls of the same hub and tags, and last what says that there are any.
func (p *parts) drop(ctx context.Context) error {
	all, err := p.store.List(ctx, p.all)
	if err != nil {
		return err
	}
	state := slices.IndexFunc(all, func(e store.Entry) bool { return e.Name == p.all+"state" })
	if state >= 0 {
		all = append(slices.Delete(all, state, state+1), store.Entry{Name: p.all + "state"})
	}
	for _, e := range all {
		if err := p.store.Delete(ctx, e.Name); err != nil {
			return err
		}
	}
	return nil
}
