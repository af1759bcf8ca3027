package pull

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/tagglob"
)

// DefaultMargin is how far behind the hub's clock the event of a snapshot lies: longer than
// the longest import, which takes its event at its start and commits at its end.
const DefaultMargin = 15 * time.Minute

// Options say what to pull.
type Options struct {
	Tags   []string      // names and patterns of tags, as package tagglob has them; all that they inherit comes along
	Builds []string      // builds beside the tags, by NVR or, in digits, by id
	Event  int64         // E; 0: the last event before the hub's clock less Margin
	Margin time.Duration // 0: DefaultMargin; negative: none
	Full   bool          // pay no regard to earlier snapshots, nor to what a pull that was cut off has left, and leave nothing of the kind
	// Since asks for the history of the scope from this event on: so that it can be asked at each event
	// from there to E. SinceTime does so from the last event before that time, if Since is 0. With neither
	// the snapshot has what was revoked since its base or, without one, since the newest snapshots of the hub.
	Since     int64
	SinceTime time.Time

	Sweep   int           // over how many pulls a sweep of all builds is spread; 0: DefaultSweep; 1: everything is asked for each time
	Overlap time.Duration // how far before an earlier snapshot's event events are read again; 0: DefaultOverlap; negative: none
	DryRun  bool          // find the scope, and what it would hold, but write nothing
	// NoContentTags leaves out the tags that hold the rpms of the scope's module builds.
	NoContentTags bool
	TempDir       string // of sorting; empty: the system's
	Program       string // what manifests name as their maker
	Now           func() time.Time
	// Deadline is how long the whole pull may take; 0: for ever. The error is then a
	// context.DeadlineExceeded.
	Deadline time.Duration

	ways  map[string]string // forced, for tests
	batch int               // ids in a batch, for tests

	Log      *slog.Logger
	Progress progress.Progress
}

// Result is what a pull did.
type Result struct {
	Snapshot  string         `json:"snapshot,omitempty"` // its id; empty after a dry run
	Existing  bool           `json:"existing,omitempty"` // the store had just that snapshot
	Hub       string         `json:"hub"`
	Koji      string         `json:"koji_version"`
	Event     int64          `json:"event"`
	EventTime time.Time      `json:"event_time"`
	Scope     snapfile.Scope `json:"scope"`
	Base      string         `json:"base,omitempty"` // the earlier snapshot of the same hub and scope
	// ContentTags are how many tags of the scope are content tags, ModuleBuilds how many module builds it
	// has, of which each names one.
	ContentTags  int `json:"content_tags"`
	ModuleBuilds int `json:"module_builds"`
	// Unmatched are the patterns of Tags that choose no tag of production's at E.
	Unmatched []string `json:"unmatched,omitempty"`
	// Came and Went are the names of the tags that are in the scope and not in that of Base, and the
	// other way round.
	Came     []string           `json:"came,omitempty"`
	Went     []string           `json:"went,omitempty"`
	Rows     map[string]int64   `json:"rows"` // of each relation; of a dry run, of those counted
	Totals   snapfile.Totals    `json:"totals"`
	LeftOut  []snapfile.LeftOut `json:"left_out,omitempty"`
	Stripped []snapfile.LeftOut `json:"stripped,omitempty"` // rows that are without the credentials that their URLs have in production
	Plan     []Estimate         `json:"plan,omitempty"`     // of a dry run
	Asked    hub.Stats          `json:"asked"`              // what it took of the hub
	// Incomplete are the builds asked for by name that are not complete in production.
	Incomplete []IncompleteBuild `json:"incomplete,omitempty"`
	News       bool              `json:"-"` // some of Stripped are not in the snapshot before
	manifest   *snapfile.Manifest
	// ContentNews are the module builds of which the content tag is missing now, and was not, or was not
	// looked for, in Base.
	ContentNews []snapfile.Content `json:"-"`
}

// ErrUpgraded says that a hub changed to another version of Koji while it was pulled from: what
// columns its rows have depends on it. Nothing of such a pull is kept; to pull again may do.
var ErrUpgraded = errors.New("pull again")

// Pull reads the relations of a compose's tags at one event from a hub and writes them to a
// store as a snapshot, which exists from the moment when its manifest does. It only reads the
// hub. Errors of the hub are those of package hub, and ErrUpgraded.
//
// A pull that is cut off, by an error, the end of ctx or that of the process, leaves in the store
// what it has. The next one of the same hub and tags within 12 hours goes on from there, at the
// same event unless o names another: it asks only for the rest.
func Pull(ctx context.Context, h *hub.Client, s store.Store, o Options) (*Result, error) {
	if o.Deadline > 0 {
		var cancel context.CancelFunc
		late := fmt.Errorf("pull: not done within %s: %w", o.Deadline, context.DeadlineExceeded)
		ctx, cancel = context.WithTimeoutCause(ctx, o.Deadline, late)
		defer cancel()
		o.Deadline = 0
		r, err := Pull(ctx, h, s, o)
		if err != nil && context.Cause(ctx) == late && !errors.Is(err, late) {
			err = fmt.Errorf("%w: %w", late, err) // the store's own words do not tell
		}
		return r, err
	}
	before := h.Stats()
	p, err := newPuller(ctx, h, o)
	if err != nil {
		return nil, err
	}
	if !o.DryRun {
		// Until it is taken back no prune takes away what the pull counts on.
		release, now, err := repository.WriteLease(ctx, s, p.log)
		if err != nil {
			return nil, err
		}
		defer release()
		if _, err := repository.Clean(ctx, s, now.Add(-repository.PruneAge), true); err != nil {
			p.log.InfoContext(ctx, "what killed writers left half-written stays", "err", err)
		}
	}
	if p, err = settle(ctx, p, s, o); err != nil {
		return nil, err
	}
	defer p.close()
	if o.DryRun {
		return p.plan(ctx)
	}
	if err := p.pullAll(ctx); err != nil {
		if errors.Is(err, ErrUpgraded) || errors.Is(err, snapshot.ErrTooMuch) {
			p.dropParts(ctx)
		}
		return nil, err
	}
	r, err := p.write(ctx, s)
	if err == nil {
		now := h.Stats()
		r.Asked = hub.Stats{Requests: now.Requests - before.Requests, Rows: now.Rows - before.Rows,
			Sent: now.Sent - before.Sent, Received: now.Received - before.Received}
	}
	if err == nil {
		p.dropParts(ctx)
	}
	return r, err
}

// dropParts removes what was kept for a pull that goes on: it is not wanted, or of no use.
func (p *puller) dropParts(ctx context.Context) {
	if p.parts == nil {
		return
	}
	if err := p.parts.drop(ctx); err != nil {
		p.log.WarnContext(ctx, "the parts of the pull stay in the store", "err", err)
	}
}

// puller is one pull. Its maps and writers are shared by the requests under way.
type puller struct {
	hub      *hub.Client
	opt      Options
	log      *slog.Logger
	version  hub.Version
	versions int // that the hub had by then

	event      int64
	eventTime  time.Time
	scope      snapfile.Scope
	set        tagglob.Set           // opt.Tags
	asked      map[int64]string      // names of the tags that set has, by id
	unmatched  []string              // patterns of set
	cutOff     []snapfile.Content    // of a pull that was cut off, which may be gone on with
	inScope    map[int64]bool        // tags by id
	named      idset.Set             // builds of the scope
	modules    []snapfile.NamedBuild // of those, module builds
	incomplete []IncompleteBuild     // of those
	start      int64                 // the event from which on history was asked for; 0: it was not
	since      int64                 // the rows revoked after this event are wanted with their revocations
	base       *snapfile.Snapshot    // nil: none, or not to be regarded
	carry      *carry                // nil: everything is asked for

	outdated bool // the store has a snapshot of the same hub and scope at a later event

	parts *parts // where what this pull has is kept; nil: a dry run
	stage *stage // what this copy of the puller works on; nil: nothing that is kept
	batch *batch // what this copy of the puller notes; nil: nothing

	slots   chan struct{} // for each request of a batch or page that may be under way
	builder *snapshot.Builder
	members map[string][]string // of each relation: for each column, the member of the hub's rows that holds it
	btypes  map[string][]byte   // ids of build types by name
	// arches of external repos, for hubs whose history does not show them
	repoArches map[string][]byte
	drafts     *drafts
	suspects   *suspects
	holes      *holes

	store  store.Store // nil: a dry run without one
	before *earlier    // where what is skipped is looked for
}

func newPuller(ctx context.Context, h *hub.Client, o Options) (*puller, error) {
	if len(o.Tags) == 0 {
		return nil, fmt.Errorf("pull: no tag given")
	}
	if o.Margin == 0 {
		o.Margin = DefaultMargin
	}
	if o.Sweep == 0 {
		o.Sweep = DefaultSweep
	}
	if o.Sweep < 0 {
		return nil, fmt.Errorf("pull: a sweep over %d pulls", o.Sweep)
	}
	if o.Overlap == 0 {
		o.Overlap = DefaultOverlap
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Progress = progress.OrDiscard(o.Progress)
	set, err := tagglob.Parse(o.Tags)
	if err != nil {
		return nil, fmt.Errorf("pull: tag %w", err)
	}
	o.Tags = set.List()
	o.Builds = slices.Compact(slices.Sorted(slices.Values(o.Builds)))
	p := &puller{hub: h, opt: o, set: set, log: o.Log, members: map[string][]string{}, inScope: map[int64]bool{},
		slots: make(chan struct{}, h.Jobs()), drafts: new(drafts), suspects: new(suspects), holes: new(holes),
		before: new(earlier)}
	p.builder = snapshot.New(snapshot.Options{TempDir: o.TempDir, Progress: o.Progress,
		Unseen: "other rows of the hub's refer to it, and it does not show it: production may have changed meanwhile"})
	for _, r := range relation.All() {
		p.members[r.Name] = members(r)
	}
	if _, err := h.AskVersion(ctx); err != nil {
		return nil, fmt.Errorf("hub %s: %w", h.URL(), err)
	}
	all := h.Versions()
	p.version, p.versions = all[len(all)-1], len(all)
	return p, nil
}

func (p *puller) close() {
	p.builder.Discard()
}

// pullAll reads everything.
func (p *puller) pullAll(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		p.loadBTypes, p.pullHistory, p.pastEvents, p.pullBuilds, p.fillSkipped, p.pullComponents, p.pullRest, p.fillSkipped, p.builder.CloseReferences,
	} {
		err := step(ctx)
		// First: what fails on an upgraded hub fails because of that.
		if changed := p.checkVersion(); changed != nil {
			return changed
		}
		if err != nil {
			return err
		}
	}
	// Hubs before 1.35 do not tell with each reply.
	if _, err := p.hub.AskVersion(ctx); err != nil {
		return fmt.Errorf("hub %s: %w", p.hub.URL(), err)
	}
	return p.checkVersion()
}

// checkVersion makes sure that all replies so far were of the version that the pull began with.
func (p *puller) checkVersion() error {
	others := p.hub.Versions()[p.versions:]
	if len(others) == 0 {
		return nil
	}
	return fmt.Errorf("hub %s changed from Koji %s to %s while it was read: %w", p.hub.URL(), p.version, others[0], ErrUpgraded)
}

// write writes the segments and, last, the manifest.
func (p *puller) write(ctx context.Context, s store.Store) (*Result, error) {
	m := &snapfile.Manifest{
		Hub: p.hub.URL(), KojiVersion: p.version.String(), Event: p.event, EventTime: p.eventTime,
		Created: p.opt.Now().UTC().Truncate(time.Millisecond), CreatedBy: p.opt.Program, Scope: p.recorded(),
	}
	to := snapshot.Target{Put: s.Put, PutManifest: func(ctx context.Context, name string, body []byte) error {
		return repository.PutImmutable(ctx, s, name, body)
	}}
	id, existing, err := p.builder.Commit(ctx, to, m)
	if err != nil {
		return nil, err
	}
	result := p.result(m)
	result.Snapshot, result.Existing = id, existing
	return result, nil
}

func (p *puller) result(m *snapfile.Manifest) *Result {
	r := &Result{
		Hub: m.Hub, Koji: m.KojiVersion, Event: m.Event, EventTime: m.EventTime, Scope: m.Scope,
		Rows: map[string]int64{}, Totals: m.Totals, Incomplete: p.incomplete, manifest: m,
	}
	for _, x := range m.LeftOut {
		if !x.Stripped() {
			r.LeftOut = append(r.LeftOut, x)
			continue
		}
		r.Stripped = append(r.Stripped, x)
		known := func(y snapfile.LeftOut) bool { return y.Stripped() && snapshot.Identity(&x) == snapshot.Identity(&y) }
		r.News = r.News || p.base == nil || !slices.ContainsFunc(p.base.Manifest.LeftOut, known)
	}
	if p.base != nil {
		r.Base = p.base.ID
		if m.Relations == nil { // a dry run
			r.Totals = p.base.Manifest.Totals
		}
	}
	p.tellScope(r)
	for _, rel := range m.Relations {
		r.Rows[rel.Name] = rel.Rows
	}
	return r
}
