package repository

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// PruneAge is how old, by the store's clock, a segment is at least that Prune removes.
const PruneAge = 24 * time.Hour

// PruneOptions say what to keep.
type PruneOptions struct {
	Keep   int  // snapshots, at least 1: the latest, by event and then by time of making
	DryRun bool // find what would go, by this machine's clock, and leave it
	// Forget are environments that are no more, or need nothing of this store: what they held is
	// kept for them no longer.
	Forget []string

	Log      *slog.Logger
	Progress progress.Progress
}

// PruneResult is what a prune did, or after a dry run would do.
type PruneResult struct {
	Kept    []string `json:"kept"`    // ids of snapshots, the latest first
	Removed []string `json:"removed"` // ids of snapshots, the latest first
	// Needed are those of Kept that are there only because the next load of an environment reads
	// in them what production revoked since its last one: the environments by the snapshot's id.
	Needed   map[string][]string `json:"needed,omitempty"`
	Segments []string            `json:"segments"` // objects that no snapshot needed
	Bytes    int64               `json:"bytes"`    // of those, in the store
	Young    int                 `json:"young"`    // segments that no snapshot needs, but of the last 24 hours
	// Parts are objects of pulls that were cut off and that nobody goes on with: signatures of what
	// never became a snapshot, too.
	Parts []string `json:"parts,omitempty"`
	// Unfinished is what is left, besides, of writers that were killed: see store.Cleaner.
	Unfinished []string `json:"unfinished,omitempty"`
	// Writing: a snapshot is being written, so that no segment was removed.
	Writing bool `json:"writing,omitempty"`
}

var segmentRE = regexp.MustCompile(`^segments/[0-9a-f]{64}\.zst$`)

// Prune removes all snapshots but the latest, and but those that an environment has yet to pass
// through by what its last load noted, from a store: their manifests first, then the
// segments that no manifest names and that are older than PruneAge, so that a prune that was
// killed leaves only what the next one takes away. It never removes a segment that a snapshot
// needs which is being written at the same time. A manifest that cannot be read is an error, and
// nothing is removed. What is left of pulls that were cut off, and of writers that were killed,
// goes when it is older than PruneAge.
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
		if p.claim, err = newLease(ctx, s, pruneClaim); noRoom(err) {
			// No writer counts on manifests, so they may go without a claim, and make room for it.
			if _, err := p.snapshots(ctx); err != nil {
				return nil, err
			}
			p.result.Kept = []string{}
			p.claim, err = newLease(ctx, s, pruneClaim)
		}
		if err != nil {
			return nil, err
		}
		defer p.claim.release(ctx, o.Log)
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
	for _, step := range []func(context.Context) error{p.cutOff, p.signatures} {
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
	return p.result, p.lapsed(ctx)
}

type pruner struct {
	store  store.Store
	opt    PruneOptions
	claim  *lease // nil: a dry run
	now    time.Time
	result *PruneResult
}

// look finds whether somebody writes, and the store's time.
func (p *pruner) look(ctx context.Context) error {
	writers, now, err := p.claim.others(ctx, writeClaim, writeLapse)
	if err != nil {
		return err
	}
	p.now, p.result.Writing = now, len(writers) > 0
	return nil
}

// snapshots removes manifests and returns what those that stay name.
func (p *pruner) snapshots(ctx context.Context) (named map[string]bool, err error) {
	all, err := Snapshots(ctx, p.store)
	if err != nil {
		return nil, err
	}
	environments, err := p.held(ctx)
	if err != nil {
		return nil, err
	}
	named = map[string]bool{}
	var gone []*snapfile.Snapshot
	p.result.Needed = nil
	for i, snap := range all {
		var needed []string
		if i >= p.opt.Keep {
			if needed = neededBy(environments, snap.Manifest); needed == nil {
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
		// Without its manifest a signature is one of nothing.
		for _, name := range []string{object, snapfile.SignatureObject(object)} {
			if err := p.remove(ctx, name); err != nil {
				return nil, err
			}
		}
		p.result.Removed = append(p.result.Removed, snap.ID)
	}
	return named, nil
}

// signatures removes those of manifests that are not there: a writer was killed before he wrote one, or a
// prune after it removed one.
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

// held returns what the environments hold, but for those to forget.
func (p *pruner) held(ctx context.Context) (map[string]held, error) {
	for _, env := range p.opt.Forget {
		object, err := EnvironmentObject(heldPrefix, env)
		if err != nil {
			return nil, err
		}
		if err := p.remove(ctx, object); err != nil {
			return nil, err
		}
	}
	all, err := readHeld(ctx, p.store)
	for _, env := range p.opt.Forget {
		delete(all, env) // after a dry run it is there
	}
	return all, err
}

// segments removes those that are not named and not young.
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

// cutOff removes what pulls that were cut off have left, and that is too old to be gone on with.
func (p *pruner) cutOff(ctx context.Context) error {
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

// renew keeps the claim from lapsing: after pruneLapse a writer takes no regard of it, and counts
// on segments that this prune takes for unneeded.
func (p *pruner) renew(ctx context.Context) error {
	if p.opt.DryRun || time.Since(p.claim.made) < pruneLapse/4 {
		return nil
	}
	if time.Since(p.claim.made) > pruneLapse/2 {
		return fmt.Errorf("prune %s: it answers too slowly to be sure that no snapshot needs what is to go", p.store)
	}
	return p.claim.renew(ctx)
}

// remove removes an object before the claim lapses, or not at all.
func (p *pruner) remove(ctx context.Context, name string) error {
	if p.opt.DryRun {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pruneLapse/4)
	defer cancel()
	return p.store.Delete(ctx, name)
}

// lapsed removes the claims of the dead.
func (p *pruner) lapsed(ctx context.Context) error {
	if p.opt.DryRun {
		return nil
	}
	all, err := p.store.List(ctx, claimPrefix)
	if err != nil {
		return err
	}
	for _, e := range all {
		if p.now.Sub(e.ModTime).Abs() > writeLapse {
			if err := p.store.Delete(ctx, e.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
