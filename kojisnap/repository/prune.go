package repository

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"time"

	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// PruneAge is how old a segment must be, by the store's clock, before Prune removes it.
const PruneAge = 24 * time.Hour

// PruneOptions say what to keep.
type PruneOptions struct {
	Keep   int  // how many of the latest snapshots, at least 1; by event, then by the time at which they were made
	DryRun bool // find what would be removed, by this machine's clock, and remove nothing
	// Forget are environments that no longer exist, or that need nothing of this store: Prune no longer
	// keeps snapshots for them.
	Forget []string

	Log      *slog.Logger
	Progress progress.Progress
}

// PruneResult is what a prune did, or after a dry run would do.
type PruneResult struct {
	Kept    []string `json:"kept"`    // ids of snapshots, the latest first
	Removed []string `json:"removed"` // ids of snapshots, the latest first
	// Needed are those of Kept that only an environment needs, which holds them, or whose next load reads in them
	// what production revoked since its last load: the environments, by the snapshot's id.
	Needed   map[string][]string `json:"needed,omitempty"`
	Segments []string            `json:"segments"` // objects that no snapshot needed
	Bytes    int64               `json:"bytes"`    // of those, in the store
	Young    int                 `json:"young"`    // segments of the last 24 hours that no snapshot needs
	// Parts are objects of interrupted pulls that no pull resumes any more, and signatures without a
	// manifest.
	Parts []string `json:"parts,omitempty"`
	// Unfinished is what killed writers left half-written: see store.Cleaner.
	Unfinished []string `json:"unfinished,omitempty"`
	// Unseen are the environments that nobody has synced or loaded for UnseenAfter. What they need stays.
	Unseen []UnseenEnvironment `json:"unseen,omitempty"`
	// Writing: a snapshot is being written, so that no segment was removed.
	Writing bool `json:"writing,omitempty"`
}

// UnseenEnvironment is an environment that may be no more.
type UnseenEnvironment struct {
	Name     string    `json:"environment"`
	Seen     time.Time `json:"seen"` // the last time
	Snapshot string    `json:"snapshot,omitempty"`
	Event    int64     `json:"event,omitempty"`
}

// UnseenAfter is how long nobody has synced or loaded an environment before Prune names it.
const UnseenAfter = 30 * 24 * time.Hour

var segmentRE = regexp.MustCompile(`^segments/[0-9a-f]{64}\.zst$`)

// Prune removes snapshots from a store. It keeps the latest ones, those that an environment holds, and those that
// its next load reads. It removes manifests first, then the segments that no manifest names and that
// are older than PruneAge: the next prune removes what a killed one leaves. It never removes a segment that a
// snapshot needs that is being written at the same time. If a manifest cannot be read, that is an error, and
// nothing is removed. It also removes what interrupted pulls and killed writers left, once that is older than
// PruneAge.
func Prune(ctx context.Context, s store.Store, o PruneOptions) (*PruneResult, error) {
	if o.Keep < 1 {
		return nil, fmt.Errorf("prune: keep at least one snapshot, not %d", o.Keep)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := pruner{store: s, opt: o, now: time.Now(), result: &PruneResult{Kept: []string{}, Removed: []string{}, Segments: []string{}}}
	if !o.DryRun {
		var err error
		if p.lease, err = newLease(ctx, s, pruneLeasePrefix); noRoom(err) {
			// No writer relies on manifests. So they may go without a lease, and make room for one.
			if _, err := p.snapshots(ctx); err != nil {
				return nil, err
			}
			p.result.Kept = []string{}
			p.lease, err = newLease(ctx, s, pruneLeasePrefix)
		}
		if err != nil {
			return nil, err
		}
		defer p.lease.release(ctx, o.Log)
		if err := p.look(ctx); err != nil {
			return nil, err
		}
	}
	named, err := p.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	if p.result.Writing {
		o.Log.InfoContext(ctx, "a snapshot is being written: segments are left for the next prune", "store", s.String())
	} else if err := p.segments(ctx, named); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{p.interrupted, p.signatures} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if p.result.Unfinished, err = Clean(ctx, s, p.now.Add(-PruneAge), !o.DryRun); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		// A user may have the right to remove objects, and none to list uploads.
		o.Log.WarnContext(ctx, "what killed writers left half-written stays", "err", err)
	}
	return p.result, p.expired(ctx)
}

type pruner struct {
	store  store.Store
	opt    PruneOptions
	lease  *lease // nil: a dry run
	now    time.Time
	result *PruneResult
}

// look finds out whether a snapshot is being written, and the time by the store's clock.
func (p *pruner) look(ctx context.Context) error {
	writers, now, err := p.lease.others(ctx, writeLeasePrefix, writeLeaseTime)
	if err != nil {
		return err
	}
	p.now, p.result.Writing = now, len(writers) > 0
	return nil
}

// snapshots removes manifests, and returns the segments that the remaining ones name.
func (p *pruner) snapshots(ctx context.Context) (named map[string]bool, err error) {
	all, err := Snapshots(ctx, p.store)
	if err != nil {
		return nil, err
	}
	environments, err := p.environments(ctx)
	if err != nil {
		return nil, err
	}
	named = map[string]bool{}
	var gone []*snapfile.Snapshot
	p.result.Needed = nil
	for i, snap := range all {
		var needed []string
		if i >= p.opt.Keep {
			if needed = neededBy(environments, snap); needed == nil {
				gone = append(gone, snap)
			} else {
				if p.result.Needed == nil {
					p.result.Needed = map[string][]string{}
				}
				p.result.Needed[snap.ID] = needed
			}
		}
		if i < p.opt.Keep || needed != nil {
			p.result.Kept = append(p.result.Kept, snap.ID)
			for _, r := range snap.Manifest.Relations {
				for _, seg := range slices.Concat(r.Segments, r.Revoked) {
					named[seg.Object()] = true
				}
			}
		}
	}
	for _, snap := range gone {
		object, err := snapfile.ManifestObject(snap.ID)
		if err != nil {
			return nil, err
		}
		for _, name := range []string{object, snapfile.SignatureObject(object)} {
			if err := p.remove(ctx, name); err != nil {
				return nil, err
			}
		}
		p.result.Removed = append(p.result.Removed, snap.ID)
	}
	return named, nil
}

// signatures removes signatures without a manifest: a writer was killed before it wrote the manifest, or a
// prune after it removed it.
func (p *pruner) signatures(ctx context.Context) error {
	entries, err := p.store.List(ctx, snapfile.ManifestPrefix)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name] = true
	}
	for _, e := range entries {
		manifest, ok := snapfile.ManifestOfSignature(e.Name)
		if !ok || there[manifest] || p.now.Sub(e.ModTime) < PruneAge {
			continue
		}
		if err := p.remove(ctx, e.Name); err != nil {
			return err
		}
		p.result.Parts = append(p.result.Parts, e.Name)
	}
	return nil
}

// environments returns what the environments hold, without those to forget.
func (p *pruner) environments(ctx context.Context) (map[string]Environment, error) {
	for _, env := range p.opt.Forget {
		for _, prefix := range []string{heldPrefix, environmentPrefix} {
			object, err := environmentObject(prefix, env)
			if err != nil {
				return nil, err
			}
			if err := p.remove(ctx, object); err != nil {
				return nil, err
			}
		}
	}
	all, err := readEnvironments(ctx, p.store)
	for _, env := range p.opt.Forget {
		delete(all, env) // after a dry run it is there
	}
	p.result.Unseen = nil
	for _, env := range slices.Sorted(maps.Keys(all)) {
		if e := all[env]; p.now.Sub(e.Seen) > UnseenAfter {
			p.result.Unseen = append(p.result.Unseen, UnseenEnvironment{env, e.Seen, e.Snapshot, e.Event})
		}
	}
	return all, err
}

// segments removes the segments that no manifest names and that are old enough.
func (p *pruner) segments(ctx context.Context, named map[string]bool) error {
	if err := p.renew(ctx); err != nil {
		return err
	}
	entries, err := p.store.List(ctx, "segments/")
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e store.Entry) bool { return named[e.Name] || !segmentRE.MatchString(e.Name) })
	bar := progress.OrDiscard(p.opt.Progress).Begin("prune", int64(len(entries)))
	defer bar.End()
	for _, e := range entries {
		if p.now.Sub(e.ModTime) < PruneAge {
			p.result.Young++
			bar.Add(1)
			continue
		}
		if err := p.renew(ctx); err != nil {
			return err
		}
		if err := p.remove(ctx, e.Name); err != nil {
			return err
		}
		p.result.Segments = append(p.result.Segments, e.Name)
		p.result.Bytes += e.Size
		bar.Add(1)
	}
	return nil
}

// interrupted removes what interrupted pulls left and what is too old to be resumed.
func (p *pruner) interrupted(ctx context.Context) error {
	entries, err := p.store.List(ctx, snapfile.PullPrefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if p.now.Sub(e.ModTime) < PruneAge {
			continue
		}
		if err := p.remove(ctx, e.Name); err != nil {
			return err
		}
		p.result.Parts = append(p.result.Parts, e.Name)
	}
	return nil
}

// renew keeps the lease from expiring: after pruneLeaseTime a writer ignores it, and relies on segments that
// this prune takes for unneeded.
func (p *pruner) renew(ctx context.Context) error {
	if p.opt.DryRun || time.Since(p.lease.made) < pruneLeaseTime/4 {
		return nil
	}
	if time.Since(p.lease.made) > pruneLeaseTime/2 {
		return fmt.Errorf("prune %s: it answers too slowly to be sure that no snapshot needs what is to go", p.store)
	}
	return p.lease.renew(ctx)
}

// remove removes an object before the lease expires, or not at all.
func (p *pruner) remove(ctx context.Context, name string) error {
	if p.opt.DryRun {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pruneLeaseTime/4)
	defer cancel()
	return p.store.Delete(ctx, name)
}

// expired removes the leases of processes that were killed.
func (p *pruner) expired(ctx context.Context) error {
	if p.opt.DryRun {
		return nil
	}
	all, err := p.store.List(ctx, leasePrefix)
	if err != nil {
		return err
	}
	for _, e := range all {
		if p.now.Sub(e.ModTime).Abs() > writeLeaseTime {
			if err := p.store.Delete(ctx, e.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
