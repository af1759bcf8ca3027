package hardlink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// Diff computes the work for a plan, and writes nothing.
//
// It compares two sets in memory: the plan and the ledger. It trusts the ledger about complete builds, with
// one exception: it lists topdir's packages directories. If one lacks a package of the ledger, something else
// has removed files (or a volume is not mounted), and Diff audits everything. On the disk it looks at what
// the plan has and the ledger lacks, at the links of volumes, and at each symlink on DEFAULT, because a
// delete or a move in Koji that fails on the read-only volume removes it.
//
// An audit (Options.Audit) looks at everything. It compares each planned file with the ledger by size and
// mtime, with VerifyDigest by content; it checks the symlinks; and it reports what else is there. A file that
// the ledger lacks and whose digest is the planned one is added to the ledger. So an audit rebuilds a damaged
// or lost ledger.
func (e *Engine) Diff(ctx context.Context, plan volumes.Plan) (Actions, error) {
	known, a, err := e.look(ctx, plan)
	if err != nil {
		return Actions{}, err
	}
	a.known, a.logs = known, map[string]*ledger.Build{}
	for _, h := range plan.Held {
		a.Held = append(a.Held, &HeldError{Held: h})
	}
	if a.Rebuilt != "" {
		e.opts.Log.WarnContext(ctx, "the ledger is made anew", "topdir", e.top.Path(), "why", a.Rebuilt)
	}
	d := newDiffer(e, plan, known)
	d.audit = e.opts.Audit || e.opts.Verify == VerifyDigest || a.instead != nil
	if err := d.forget(&a); err != nil {
		return Actions{}, err
	}
	if !d.audit {
		gone, err := d.vanished()
		if err != nil {
			return Actions{}, err
		}
		if gone != "" {
			e.opts.Log.WarnContext(ctx, "what the ledger has is not there: all files are looked at", "path", e.top.Join(gone))
			d.audit = true
		}
	}
	if d.audit {
		if err := d.decided(ctx); err != nil {
			return Actions{}, err
		}
		if err := d.forget(&a); err != nil {
			return Actions{}, err
		}
		plan = d.plan
	}
	if e.opts.Shard == "" {
		if err := d.volumes(&a); err != nil {
			return Actions{}, err
		}
	}
	if err := d.copiesLeft(ctx, &a); err != nil {
		return Actions{}, err
	}
	counter := e.opts.Progress.Begin("compare files", int64(len(plan.Staged)))
	defer counter.End()
	results := make([]Actions, len(plan.Staged))
	failed := make([]error, len(plan.Staged))
	err = e.parallel(ctx, len(plan.Staged), func(ctx context.Context, i int) error {
		err := d.build(ctx, &results[i], plan.Staged[i])
		if err != nil && !ofOne(ctx, err) {
			return fmt.Errorf("build %q: %w", plan.Staged[i].Build.NVR(), err)
		}
		if failed[i] = err; err != nil {
			results[i] = d.holdBuild(plan.Staged[i], err)
		}
		counter.Add(1)
		return nil
	})
	if err != nil {
		return Actions{}, err
	}
	for i := range results {
		a.add(&results[i])
	}
	d.nowhere(&a)
	if n, first := firstOf(failed); tooMany(n, len(failed)) {
		return Actions{}, &manyError{n, len(failed), "builds cannot be looked at", first}
	}
	if err := d.retargets(ctx, &a); err != nil {
		return Actions{}, err
	}
	if !e.opts.Whole {
		if err := d.logs(ctx, &a); err != nil {
			return Actions{}, err
		}
	}
	if err := d.links(ctx, &a); err != nil {
		return Actions{}, err
	}
	if d.audit || e.attributesChanged() {
		d.auditAttributes()
		if err := d.attributes(ctx, &a); err != nil {
			return Actions{}, err
		}
	}
	if d.audit {
		if err := d.others(ctx, &a); err != nil {
			return Actions{}, err
		}
	}
	if e.opts.Leave {
		if err := d.leaving(&a); err != nil {
			return Actions{}, err
		}
	}
	return a, d.grace(&a)
}

// holdBuild returns the actions for a build that could not be compared: it stays on its volume.
func (d *differ) holdBuild(s volumes.StagedBuild, why error) (a Actions) {
	staged := s.Build
	staged.Volume = d.plan.CopyVolume
	dir, _ := staged.Dir() // was checked
	if known := d.ledger.Builds[dir]; known != nil && known.Complete {
		a.Held = append(a.Held, held("build", s.Build.NVR(), "", why, asIs))
		return a
	}
	a.Held = append(a.Held, held("build", s.Build.NVR(), "", why, stays))
	b := s.Build
	b.Volume = s.SourceVolume
	a.LeftOut = append(a.LeftOut, b)
	return a
}

func firstOf(errs []error) (n int, first error) {
	for _, err := range errs {
		if err != nil {
			if n++; first == nil {
				first = err
			}
		}
	}
	return n, first
}

// differ is one call of Diff.
type differ struct {
	*Engine
	plan         volumes.Plan
	ledger       *ledger.Ledger
	audit        bool
	managed      map[string]bool            // staging's volumes that have builds of the plan
	listed       map[string]map[string]bool // names in directories, by directory
	needsRecheck map[string]bool            // Options.Suspects, and the directories of their builds
	left         *int                       // the user that owns files made without a given owner
	going        map[string]bool            // strays; true: it is removed
}

func newDiffer(e *Engine, plan volumes.Plan, known *ledger.Ledger) *differ {
	d := &differ{Engine: e, plan: plan, ledger: known, managed: map[string]bool{plan.CopyVolume: true, plan.Prod: true},
		listed: map[string]map[string]bool{}, going: map[string]bool{}, needsRecheck: map[string]bool{}}
	for _, file := range e.opts.Suspects {
		for p := path.Clean(file); p != "." && p != "/"; p = path.Dir(p) {
			d.needsRecheck[p] = true
		}
	}
	e.volumeDirs = nil
	for _, v := range plan.Volumes {
		d.managed[v.Name] = true
		e.volumeDirs = append(e.volumeDirs, v.Source)
	}
	return d
}

// look checks the trees that a plan is about, and reads the ledger.
func (e *Engine) look(ctx context.Context, plan volumes.Plan) (*ledger.Ledger, Actions, error) {
	if err := e.tree.Check(plan); err != nil {
		return nil, Actions{}, err
	}
	if err := topdir.CheckCopyVolume(e.top, plan.CopyVolume); err != nil {
		return nil, Actions{}, err
	}
	return e.readLedger(ctx, plan)
}

// readLedger reads the ledger. If it is lost, or damaged in an audit, the saved copy replaces it.
func (e *Engine) readLedger(ctx context.Context, plan volumes.Plan) (*ledger.Ledger, Actions, error) {
	a := Actions{CopyVolume: plan.CopyVolume}
	saved := func() (*ledger.Ledger, error) {
		if e.opts.Saved == nil {
			return nil, nil
		}
		return e.opts.Saved(ctx)
	}
	if _, err := e.top.Lstat(e.ledgerFile()); errors.Is(err, fs.ErrNotExist) {
		l, err := saved()
		if err != nil || l == nil || len(l.Builds)+len(l.Links) == 0 {
			return ledger.New(), a, err
		}
		a.instead, a.Rebuilt = l, "there is none"
		return l, a, nil
	}
	var l *ledger.Ledger
	var err error
	if e.opts.Shard != "" {
		l, err = ledger.ReadFile(e.top.Path(), e.ledgerFile())
	} else {
		l, err = e.prefetch.Read(e.top.Path())
	}
	if err == nil || !errors.Is(err, ledger.ErrDamaged) {
		return l, a, err
	}
	if !e.opts.Audit {
		return nil, a, cureLedger(err)
	}
	a.Rebuilt = err.Error()
	if l, err = saved(); err == nil && l == nil {
		l = ledger.New()
	}
	a.instead = l
	return l, a, err
}

// cureLedger adds to an error about a damaged ledger what to do.
func cureLedger(err error) error {
	if !errors.Is(err, ledger.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w; an audit (copy --audit) makes it anew", err)
}

// vanished returns a package's directory that the ledger has files in and that does not exist.
func (d *differ) vanished() (string, error) {
	missing := func(packages, name string) (bool, error) {
		names, err := d.names(packages)
		return !names[name], err
	}
	volume, packages := "", ""
	for _, b := range d.ledger.Builds {
		if !b.Complete {
			continue
		}
		if packages == "" || volume != b.Build.Volume {
			dir, err := volumes.VolumeDir(b.Build.Volume)
			if err != nil {
				return "", err
			}
			volume, packages = b.Build.Volume, dir+"/packages"
		}
		if gone, err := missing(packages, b.Build.Name); gone || err != nil {
			return packages + "/" + b.Build.Name, err
		}
	}
	for link := range d.ledger.Made {
		name, ok := strings.CutPrefix(link, "packages/")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, "/")
		if gone, err := missing("packages", name); gone || err != nil {
			return "packages/" + name, err
		}
	}
	return "", nil
}

// names returns the names in a directory, as they were at the first call.
func (d *differ) names(dir string) (map[string]bool, error) {
	if names, ok := d.listed[dir]; ok {
		return names, nil
	}
	list, err := d.top.Names(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names := make(map[string]bool, len(list))
	for _, n := range list {
		names[n] = true
	}
	d.listed[dir] = names
	return names, nil
}
