package hardlink

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kojisnap/volumes"
)

// Diff computes what is to be made for the plan. It writes nothing, and reads no
// directory but those of production's builds that are to be staged.
func (e *Engine) Diff(ctx context.Context, plan volumes.Plan) (Actions, error) {
	nowhere, err := e.checkTree(plan)
	if err != nil {
		return Actions{}, err
	}
	if err := e.top.CheckCopyVolume(plan.CopyVolume); err != nil {
		return Actions{}, err
	}
	e.tellWritable()
	ledger, err := ReadLedger(e.top.Path())
	if err != nil {
		return Actions{}, err
	}
	a := Actions{CopyVolume: plan.CopyVolume, Nowhere: nowhere}
	if err := e.diffVolumes(&a, plan, ledger); err != nil {
		return Actions{}, err
	}
	counter := e.opts.Progress.Begin("compare files", int64(len(plan.Staged)))
	defer counter.End()
	results := make([]Actions, len(plan.Staged))
	err = e.parallel(ctx, len(plan.Staged), func(ctx context.Context, i int) error {
		if err := e.diffBuild(ctx, &results[i], plan, plan.Staged[i], ledger); err != nil {
			return fmt.Errorf("build %q: %w", plan.Staged[i].Build.NVR(), err)
		}
		counter.Add(1)
		return nil
	})
	if err != nil {
		return Actions{}, err
	}
	for _, r := range results {
		a.Builds = append(a.Builds, r.Builds...)
		a.Kept = append(a.Kept, r.Kept...)
		a.Missing = append(a.Missing, r.Missing...)
		a.LeftOut = append(a.LeftOut, r.LeftOut...)
		a.Present += r.Present
		a.Absent += r.Absent
	}
	return a, e.diffLinks(&a, plan, ledger)
}

func (e *Engine) diffVolumes(a *Actions, plan volumes.Plan, ledger *Ledger) error {
	if e.opts.ReadOnly == "" {
		return nil
	}
	links := append([]volumes.VolumeLink{{Name: plan.Prod, Target: e.opts.ReadOnly}}, plan.Volumes...)
	for _, v := range links {
		path := "vol/" + v.Name
		o, err := e.top.CheckVolume(v, ledger.ours(path))
		if err != nil {
			return err
		}
		if o != volumes.Unchanged {
			a.Volumes = append(a.Volumes, LinkAction{volumes.Link{Path: path, Target: v.Target}, o == volumes.Switch})
		}
	}
	return nil
}

// ours tells whether a symlink at path is one that the ledger knows.
func (l *Ledger) ours(path string) func(string) bool {
	return func(target string) bool {
		return slices.Contains(l.Links[path], target)
	}
}

// diffLinks compares the symlinks on DEFAULT. One that Koji or a tool before this
// one left for the same build on a volume that this plan manages counts as ours.
func (e *Engine) diffLinks(a *Actions, plan volumes.Plan, ledger *Ledger) error {
	managed := map[string]bool{plan.CopyVolume: true, plan.Prod: true}
	for _, v := range plan.Volumes {
		managed[v.Name] = true
	}
	stays := map[string]string{}
	for _, b := range a.LeftOut {
		stays[b.NVR()] = b.Volume
	}
	for _, b := range plan.Linked {
		if volume, ok := stays[b.NVR()]; ok {
			b.Volume = volume
		}
		if b.Volume != plan.CopyVolume && e.opts.ReadOnly == "" {
			continue // it would lead nowhere
		}
		link, target, err := b.Link()
		if err != nil {
			return err
		}
		l := volumes.Link{Path: link, Target: target}
		o, have, err := e.top.Check(l, func(target string) bool {
			volume, ok := strings.CutSuffix(strings.TrimPrefix(target, "../../../vol/"), "/"+link)
			return ledger.ours(link)(target) || ok && managed[volume] && strings.HasPrefix(target, "../../../vol/")
		})
		if err != nil {
			return err
		}
		switch o {
		case volumes.Make, volumes.Switch:
			a.Links = append(a.Links, LinkAction{l, o == volumes.Switch})
		case volumes.Keep:
			why := "staging's own"
			if have != "" {
				why = fmt.Sprintf("staging's own symlink to %q", have)
			}
			a.Kept = append(a.Kept, Kept{link, why})
		}
	}
	return nil
}
