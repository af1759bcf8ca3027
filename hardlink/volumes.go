package hardlink

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"kojisnap/volumes"
)

// volumes compares the staging volumes that show production's builds. The one of topdir is the
// last: until then the symlinks of earlier versions led through it.
func (d *differ) volumes(a *Actions) error {
	if d.opts.ReadOnly == "" {
		return nil
	}
	tree := d.treeFromVolume()
	for _, v := range slices.Concat(d.plan.Volumes, []volumes.VolumeLink{{Name: d.plan.Prod, Source: "."}}) {
		l := v.Link(tree)
		if v.Name == d.plan.Prod {
			l = v.Link(d.opts.ReadOnly)
		}
		s, err := d.top.CheckVolume(l, func(path, target string) bool { return d.ledger.ours(path)(target) })
		if volume, ok := strings.CutPrefix(v.Source, "vol/"); ok && err != nil && d.away[volume] != nil {
			continue // what is there cannot be judged
		}
		if err != nil {
			return err
		}
		if s.Whole {
			d.opts.Log.Warn("all of production's tree is mounted there, so that Koji's tools go through its repos and dist repos: mount it elsewhere, name that as the source, and a directory with its builds alone is made", "path", d.top.Join(path.Dir(l.Path)))
		}
		if s.Outcome != volumes.Unchanged {
			a.Volumes = append(a.Volumes, LinkAction{Link: l, Switch: s.Outcome == volumes.Switch, Convert: s.Outcome == volumes.Convert})
		}
	}
	return nil
}

// treeFromVolume is production's tree as links of volumes name it: if it is mounted below topdir
// relative to a volume's directory, so that it does not matter by which path topdir is reached.
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

// volumes makes what the method of differ found, one after the other.
func (r *run) volumes(list []LinkAction) error {
	if len(list) == 0 {
		return nil
	}
	var intent, done batch
	for _, l := range list {
		intent.line("K", l.Path, l.Target)
	}
	if err := r.ledger.append(&intent); err != nil {
		return err
	}
	done.placed(len(list))
	for _, l := range list {
		o, err := r.top.EnsureVolume(l.Link, r.tempName(), func(path, target string) bool { return r.known.ours(path)(target) })
		if err != nil {
			return err
		}
		if o != volumes.Unchanged {
			r.report.Links++
		}
		if l.Convert {
			done.line("k", path.Dir(l.Path))
		}
	}
	if err := r.top.Sync(); err != nil {
		return err
	}
	return r.ledger.append(&done)
}
