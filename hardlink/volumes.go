package hardlink

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/source"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// volumes compares the staging volumes that show production's builds. topdir's own comes last: symlinks of
// earlier versions lead through it until the others are right.
func (d *differ) volumes(a *Actions) error {
	if d.opts.ReadOnly == "" {
		return nil
	}
	tree := d.treeFromVolume()
	for _, v := range slices.Concat(d.plan.Volumes, []volumes.VolumeLink{{Name: d.plan.Prod, Source: "."}}) {
		l := v.Link(tree)
		if v.Name == d.plan.Prod {
			l = v.Link(cmp.Or(d.opts.Clone, d.opts.ReadOnly))
		}
		s, err := d.top.CheckVolume(l, func(path, target string) bool { return d.ledger.Ours(path)(target) })
		if volume, ok := strings.CutPrefix(v.Source, "vol/"); ok && err != nil && d.tree.Away(volume) != nil {
			continue // it cannot be compared
		}
		if err != nil {
			return err
		}
		if s.Whole {
			d.opts.Log.Warn("all of production's tree is mounted there, so that Koji's tools go through its repos and dist repos: mount it elsewhere, name that as the source, and a directory with its builds alone is made", "path", d.top.Join(path.Dir(l.Path)))
		}
		if s.Outcome != topdir.Unchanged {
			a.Volumes = append(a.Volumes, LinkAction{Link: l, Switch: s.Outcome == topdir.Switch, Convert: s.Outcome == topdir.Convert})
		}
	}
	d.renamed(a, tree)
	return nil
}

// DiffVolumes is the part of Diff that is about the volumes that show production's builds: shards, which have plans without
// volumes, need them.
func (e *Engine) DiffVolumes(ctx context.Context, plan volumes.Plan) (Actions, error) {
	known, a, err := e.look(ctx, plan)
	if err != nil {
		return Actions{}, err
	}
	a.known = known
	return a, newDiffer(e, plan, known).volumes(&a)
}

// renamed finds volumes for production's volumes that have another name now, and points them there: symlinks
// in copied builds, and rows of builds that left the scope, still lead through them.
func (d *differ) renamed(a *Actions, tree string) {
	for _, name := range d.leadNowhere(d.plan, d.ledger) {
		now := d.nameNow(name)
		i := slices.IndexFunc(d.plan.Volumes, func(v volumes.VolumeLink) bool { return v.Name == now })
		if i < 0 {
			continue // DiffRemove decides whether it is needed
		}
		link := "vol/" + name + "/packages"
		l := volumes.Link{Path: link, Target: d.plan.Volumes[i].Link(tree).Target}
		d.opts.Log.Warn("production renamed a volume: staging's volume with the old name leads to it, too, from now on", "path", d.top.Join(link), "target", l.Target)
		a.Volumes = append(a.Volumes, LinkAction{Link: l, Switch: true})
	}
}

// leadNowhere returns staging's volumes that were made for one of production's, whose target does not exist,
// and that the plan no longer has.
func (e *Engine) leadNowhere(plan volumes.Plan, ledger *ledger.Ledger) (names []string) {
	for _, link := range slices.Sorted(maps.Keys(ledger.Links)) {
		below, ok := strings.CutPrefix(link, "vol/")
		name, is := strings.CutSuffix(below, "/packages")
		if !ok || !is || strings.Contains(name, "/") || name == plan.Prod || name == plan.CopyVolume ||
			slices.ContainsFunc(plan.Volumes, func(v volumes.VolumeLink) bool { return v.Name == name }) {
			continue
		}
		have, err := e.top.Readlink(link)
		if err != nil || !ledger.Ours(link)(have) {
			continue
		}
		if _, err := os.Stat(e.top.Join(link)); source.Absent(err) {
			names = append(names, name)
		}
	}
	return names
}

// nameNow returns the volume that the plan now has for builds of another one, or "".
func (d *differ) nameNow(old string) string {
	for _, b := range d.plan.Linked {
		rel, err := b.Rel()
		said := d.ledger.Links[rel]
		if err != nil || len(said) == 0 || b.Volume == d.plan.CopyVolume {
			continue
		}
		if volume, ok := linkVolume(rel, said[len(said)-1]); ok && volume == old {
			return b.Volume
		}
	}
	for _, s := range d.plan.Staged {
		b := s.Build
		b.Volume = d.plan.CopyVolume
		dir, err := b.Dir()
		if err != nil || d.ledger.Builds[dir] == nil {
			continue
		}
		for _, e := range d.ledger.Builds[dir].Entries {
			if strings.Contains(e.Target, "/vol/"+old+"/packages/") {
				return s.SourceVolume
			}
		}
	}
	return ""
}

// treeFromVolume returns production's tree as volumes' links name it. If it is mounted below topdir, the path
// is relative to a volume's directory, so that topdir may be reached by any path.
func (e *Engine) treeFromVolume() string {
	tree, err := filepath.EvalSymlinks(e.opts.ReadOnly)
	if err != nil {
		return e.opts.ReadOnly
	}
	if below, ok := strings.CutPrefix(tree, e.top.Path()+"/"); ok {
		return "../../" + below
	}
	return e.opts.ReadOnly
}

// volumes executes what differ.volumes found, one link after the other.
func (r *run) volumes(list []LinkAction) error {
	if len(list) == 0 {
		return nil
	}
	var intent, done ledger.Batch
	for _, l := range list {
		intent.Link(l.Path, l.Target)
	}
	if err := r.ledger.Append(&intent); err != nil {
		return err
	}
	done.LinksMade(len(list))
	for _, l := range list {
		o, err := r.top.EnsureVolume(l.Link, r.tempName(), func(path, target string) bool { return r.known.Ours(path)(target) })
		if err != nil {
			return err
		}
		if o != topdir.Unchanged {
			r.report.Links++
		}
		if l.Convert {
			done.Unlink(path.Dir(l.Path))
		}
	}
	if err := r.top.Sync(); err != nil {
		return err
	}
	return r.ledger.Append(&done)
}

// Nowhere is one of production's volumes that is not here: its mount is missing, or Options.Unmounted names
// it. Builds on it that are not copied yet are left out.
type Nowhere struct {
	volumes.Link        // staging's link to it; the zero value if it has none of its own
	Volume       string `json:"volume"`         // production's name of it
	Why          string `json:"why"`            // what is missing: the path that was looked at
	Builds       int    `json:"builds"`         // builds that are on it
	Wanted       int    `json:"wanted"`         // of these, builds to copy that are left out
	Said         bool   `json:"said,omitempty"` // Options.Unmounted names it
}

func (n Nowhere) String() string {
	return fmt.Sprintf("volume %q: %s, and %d builds are on that volume: %s", n.Volume, n.Why, n.Builds, n.cure())
}

func (n Nowhere) cure() string {
	if n.Said {
		return "they are left out"
	}
	return "mount production's volume there, or name it with --unmounted if this site never has it"
}

// held describes the builds that are left out for it.
func (n Nowhere) held() *HeldError {
	outcome := fmt.Sprintf("the %d builds on it that are to be copied stay where they are; %s", n.Wanted, n.cure())
	return &HeldError{Held: volumes.Held{Kind: "volume", Name: n.Volume, Reason: n.Why, Outcome: outcome}}
}

// nowhere reports the volumes that are not here, once it is known which builds are left out.
func (d *differ) nowhere(a *Actions) {
	for _, volume := range d.plan.Production {
		why := d.tree.Away(volume)
		if why == nil {
			continue
		}
		n := Nowhere{Volume: volume, Why: why.Why, Said: why.Said}
		source := ""
		for _, v := range d.plan.Volumes {
			if v.Source == "vol/"+volume {
				n.Link, source = v.Link(d.treeFromVolume()), v.Name
			}
		}
		for _, b := range d.plan.Linked {
			if source != "" && b.Volume == source {
				n.Builds++
			}
		}
		for _, s := range d.plan.Staged {
			if s.Build.Volume == volume {
				n.Builds++
			}
		}
		for _, left := range a.away {
			if left == volume {
				n.Wanted++
			}
		}
		a.Nowhere = append(a.Nowhere, n)
		if n.Wanted > 0 && !n.Said {
			a.hold(n.held())
		}
	}
}

// leaveAway leaves a build as it is, because production's volume with it is not here.
func (d *differ) leaveAway(a *Actions, s volumes.StagedBuild, known *ledger.Build, leaveOut func()) {
	if known != nil && known.Complete {
		if present, absent, ok := known.Has(s.Files); ok {
			a.Present += present
			a.Absent += absent
			return
		}
	} else {
		leaveOut()
	}
	a.away = append(a.away, s.Build.Volume)
}
