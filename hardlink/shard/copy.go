package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/durable"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// Options of Prepare and Copy.
type Options struct {
	// Engine says where the files come from and go to, and how. Copy sets Shard and Whole. Its Saved is for the topdir's own
	// ledger, and serves Prepare alone.
	Engine hardlink.Options
	// Saved reads the copy of a shard's ledger from elsewhere, nil if there is none.
	Saved func(ctx context.Context, shard string) (*ledger.Ledger, error) `json:"-"`
	// Decided are production's builds, by id, that staging decided about itself. Nothing is made for them, and they count as
	// done.
	Decided map[int64]string
	// DryRun finds out what a copy would do, and writes nothing.
	DryRun bool
}

// looks reports whether an audit is wanted: then a shard that is done is looked at, too.
func (o *Options) looks() bool {
	return o.Engine.Audit || o.Engine.Verify == hardlink.VerifyDigest
}

// suspects reports whether one of Engine.Suspects is in a build of the shard.
func (o *Options) suspects(copyVolume string, builds []Build) bool {
	if len(o.Engine.Suspects) == 0 {
		return false
	}
	suspect := map[string]bool{} // with all that is above
	for _, file := range o.Engine.Suspects {
		for p := path.Clean(file); p != "." && p != "/"; p = path.Dir(p) {
			suspect[p] = true
		}
	}
	return slices.ContainsFunc(builds, func(b Build) bool {
		b.Volume = copyVolume
		dir, err := b.Dir()
		return err == nil && suspect[dir]
	})
}

// Result is what became of one shard.
type Result struct {
	Shard string `json:"shard"`
	// Skipped: it was done before, and its rows are the same.
	Skipped bool     `json:"skipped,omitempty"`
	Done    bool     `json:"done"`
	Moved   int      `json:"moved,omitempty"` // builds that were in another ledger
	Plan    Total    `json:"plan"`
	Have    Total    `json:"have"`
	Left    []string `json:"left,omitempty"` // builds, N-V-R, that are not whole, at most LeftShown
	LeftAll int      `json:"left_builds,omitempty"`
	// Make is what is to be made, of a DryRun.
	Make    Work             `json:"make,omitzero"`
	Report  hardlink.Report  `json:"report,omitzero"`
	Actions hardlink.Actions `json:"-"` // what was found to do
}

// Work is files that are to be made.
type Work struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// LeftShown is how many builds a Result names.
const LeftShown = 20

// Prepare makes what all shards need below topdir: the volumes that show production's builds, and the copy volume. Call it once
// before Copy. Several processes may do so at once.
func (p *Plan) Prepare(ctx context.Context, o Options) error {
	plan, err := volumes.NewPlan(volumes.Input{}, p.Want.want())
	if err != nil {
		return err
	}
	e, err := hardlink.New(o.Engine)
	if err != nil {
		return err
	}
	defer e.Close()
	a, err := e.DiffVolumes(ctx, plan)
	if err != nil || o.DryRun {
		return err
	}
	top, err := topdir.Open(o.Engine.Topdir, o.Engine.ReadOnly)
	if err != nil {
		return err
	}
	defer top.Close()
	top.SetAttributes(o.Engine.Attributes)
	// Others who do the same wait, and then find it done: the topdir's lock is taken once, before anybody copies. Who finds
	// it done waits, too: the one who did it may still hold that lock.
	unlock, err := ledger.Wait(ctx, top, ledger.ShardDir+"/prepare.lock")
	if err != nil {
		return err
	}
	defer unlock()
	toplink := filepath.Join(o.Engine.Topdir, "vol", p.Want.CopyVolume, "toplink")
	if _, err := os.Lstat(toplink); err == nil && !a.Pending() {
		return nil
	}
	if err := topdir.EnsureCopyVolume(top, p.Want.CopyVolume); err != nil {
		return err
	}
	if a, err = e.DiffVolumes(ctx, plan); err != nil || !a.Pending() {
		return err
	}
	_, err = e.Apply(ctx, a)
	return err
}

// Copy makes the files of one shard. If another process works on the shard, it returns a *ledger.ShardLockedError; if one works on all of
// the topdir, another lockfile.ErrLocked. It
// may be canceled, or killed, at any time: the next call goes on. All else that can go wrong is as with Engine.Apply: after a
// *hardlink.LeftOutError all is done but what that names. The result is valid in each case.
func (p *Plan) Copy(ctx context.Context, id string, o Options) (r Result, err error) {
	r.Shard = id
	info, err := p.Shard(id)
	if err != nil {
		return r, err
	}
	r.Plan = info.Total
	top, err := topdir.Open(o.Engine.Topdir, o.Engine.ReadOnly)
	if err != nil {
		return r, err
	}
	defer top.Close()
	top.SetAttributes(o.Engine.Attributes)
	if !o.DryRun {
		unlock, err := ledger.LockShard(top, id)
		if err != nil {
			return r, err
		}
		defer unlock()
	}
	builds, err := p.Read(info)
	if err != nil {
		return r, err
	}
	want := record{Digest: info.Digest, Want: p.wanted(), Decided: decidedDigest(builds, o.Decided)}
	if done, err := readRecord(top.Path(), id); err != nil {
		return r, err
	} else if done.covers(want, top.Path(), id) && !o.looks() && !o.suspects(p.Want.CopyVolume, builds) {
		r.Skipped, r.Done, r.Have = true, true, info.Total
		return r, nil
	}
	plan, err := planOf(p.Want.want(), builds, o.Decided)
	if err != nil {
		return r, err
	}
	if o.DryRun {
		plan, r.Moved, err = withoutMoved(top.Path(), plan)
	} else {
		r.Moved, err = take(ctx, top, id, plan)
	}
	if err != nil {
		return r, err
	}
	err = p.apply(ctx, &r, plan, o)
	var left *hardlink.LeftOutError
	if err != nil && !errors.As(err, &left) || o.DryRun {
		return r, err
	}
	if perr := p.prove(&r, top.Path(), info, builds, o.Decided); perr != nil {
		return r, errors.Join(err, perr)
	}
	if r.Done && err == nil {
		if err := want.write(top, id, info.Total); err != nil {
			return r, err
		}
	}
	return r, err
}

// apply finds the work for a shard and does it.
func (p *Plan) apply(ctx context.Context, r *Result, plan volumes.Plan, o Options) error {
	engine := o.Engine
	engine.Shard, engine.Whole, engine.Saved = r.Shard, true, nil
	if o.Saved != nil {
		engine.Saved = func(ctx context.Context) (*ledger.Ledger, error) { return o.Saved(ctx, r.Shard) }
	}
	plan.Volumes = nil // Prepare's
	e, err := hardlink.New(engine)
	if err != nil {
		return err
	}
	defer e.Close()
	if r.Actions, err = e.Diff(ctx, plan); err != nil {
		return err
	}
	if o.DryRun {
		r.Make.Bytes = r.Actions.Bytes()
		for _, b := range r.Actions.Builds {
			r.Make.Files += len(b.Files)
		}
		return r.Actions.Err()
	}
	r.Report, err = e.Apply(ctx, r.Actions)
	return err
}

// take moves the shard's builds to its ledger.
func take(ctx context.Context, top *topdir.Dir, id string, plan volumes.Plan) (moved int, err error) {
	want := ledger.Wanted{Builds: map[string]bool{}, Links: map[string]bool{}}
	for _, b := range slices.Concat(plan.Linked, plan.Decided) {
		link, err := b.Rel()
		if err != nil {
			return 0, err
		}
		b.Volume = plan.CopyVolume
		dir, err := b.Dir()
		if err != nil {
			return 0, err
		}
		want.Links[link], want.Builds[dir] = true, true
	}
	return ledger.Take(ctx, top, id, want)
}

// withoutMoved leaves out of a plan, for a dry run, the builds that the topdir's own ledger has: a copy would move them, and then
// look at their files.
func withoutMoved(topdir string, plan volumes.Plan) (volumes.Plan, int, error) {
	l, err := ledger.Read(topdir)
	if err != nil || len(l.Builds) == 0 {
		return plan, 0, err
	}
	there := map[string]bool{}
	for _, b := range l.Builds {
		there[b.Build.NVR()] = true
	}
	all := len(plan.Staged)
	plan.Staged = slices.DeleteFunc(plan.Staged, func(s volumes.StagedBuild) bool { return there[s.Build.NVR()] })
	plan.Linked = slices.DeleteFunc(plan.Linked, func(b volumes.Build) bool { return there[b.NVR()] })
	return plan, all - len(plan.Staged), nil
}

// prove compares the shard's ledger with its plan.
func (p *Plan) prove(r *Result, topdir string, info Info, builds []Build, decided map[int64]string) error {
	l, err := ledger.ReadFile(topdir, ledger.ShardFile(info.ID))
	if err != nil {
		return err
	}
	have := &proof{ledger: l, decided: map[string]bool{}}
	for i := range builds {
		if _, own := decided[builds[i].ID]; own {
			b := builds[i].Build
			b.Volume = p.Want.CopyVolume
			if dir, err := b.Dir(); err == nil {
				have.decided[dir] = true
			}
		}
	}
	if r.Have, err = planned(p.Want.want(), builds, have); err != nil {
		return err
	}
	r.Done = r.Have == info.Total
	r.LeftAll = len(have.left)
	r.Left = have.left[:min(len(have.left), LeftShown)]
	return nil
}

// record says that a shard was whole.
type record struct {
	Digest  string    `json:"digest"`            // the plan's of the shard
	Want    string    `json:"want"`              // how the files are placed
	Decided string    `json:"decided,omitempty"` // which builds staging had decided about
	Ledger  string    `json:"ledger"`            // the ledger's state
	At      time.Time `json:"at"`
	Total   Total     `json:"sum"`
}

func recordFile(shard string) string { return ledger.ShardFile(shard) + ".done" }

// readRecord reads a shard's record. A missing or damaged one is empty: the shard is looked at again.
func readRecord(topdir, shard string) (r record, err error) {
	text, err := os.ReadFile(filepath.Join(topdir, recordFile(shard)))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return r, err
	}
	if json.Unmarshal(text, &r) != nil {
		return record{}, nil
	}
	return r, nil
}

// covers reports whether a shard is whole by its record: its rows and its ledger are the same since.
func (r record) covers(want record, topdir, shard string) bool {
	if r.Digest == "" || r.Digest != want.Digest || r.Want != want.Want || r.Decided != want.Decided {
		return false
	}
	state, err := ledger.StateOf(topdir, ledger.ShardFile(shard))
	return err == nil && state == r.Ledger
}

// write writes the record of a shard that is whole now.
func (r record) write(top *topdir.Dir, shard string, sum Total) (err error) {
	if r.Ledger, err = ledger.StateOf(top.Path(), ledger.ShardFile(shard)); err != nil {
		return err
	}
	r.At, r.Total = time.Now().UTC().Truncate(time.Second), sum
	return durable.WriteFile(top.Join(recordFile(shard)), func(w io.Writer) error {
		err := json.NewEncoder(w).Encode(r)
		if f, ok := w.(*os.File); ok && err == nil {
			err = top.Own(f)
		}
		return err
	})
}

// wanted identifies what is wanted of all builds.
func (p *Plan) wanted() string {
	text, _ := json.Marshal(p.Want) // of strings alone
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// decidedDigest identifies those of a shard's builds that staging decided about; "" if there are none.
func decidedDigest(builds []Build, decided map[int64]string) string {
	own := map[int64]bool{}
	for i := range builds {
		if _, is := decided[builds[i].ID]; is {
			own[builds[i].ID] = true
		}
	}
	if len(own) == 0 {
		return ""
	}
	h := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(own)) {
		fmt.Fprintln(h, id)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Status says what a shard's ledger has of its plan, without looking at its files. It reads the ledger only if there is no record.
func (p *Plan) Status(id string, decided map[int64]string, topdir string) (r Result, err error) {
	r.Shard = id
	info, err := p.Shard(id)
	if err != nil {
		return r, err
	}
	r.Plan = info.Total
	done, err := readRecord(topdir, id)
	if err != nil {
		return r, err
	}
	state, err := ledger.StateOf(topdir, ledger.ShardFile(id))
	if err != nil {
		return r, err
	}
	if len(decided) == 0 && done.covers(record{Digest: info.Digest, Want: p.wanted()}, topdir, id) {
		r.Done, r.Have = done.Total == info.Total, done.Total
		return r, nil
	}
	if state == "" { // nothing of it was made
		r.LeftAll = info.Builds
		return r, nil
	}
	builds, err := p.Read(info)
	if err != nil {
		return r, err
	}
	if done.covers(record{Digest: info.Digest, Want: p.wanted(), Decided: decidedDigest(builds, decided)}, topdir, id) {
		r.Done, r.Have = done.Total == info.Total, done.Total
		return r, nil
	}
	return r, p.prove(&r, topdir, info, builds, decided)
}
