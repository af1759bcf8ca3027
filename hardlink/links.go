package hardlink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/progress"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// links makes symlinks on DEFAULT. If staging's own hub makes one at the same time, the hub's stays.
func (r *run) links(ctx context.Context, links []LinkAction, counter progress.Counter) error {
	if len(links) == 0 {
		return nil
	}
	var intent ledger.Batch
	for _, l := range links {
		intent.Link(l.Path, l.Target)
	}
	if err := r.ledger.Append(&intent); err != nil {
		return err
	}
	outcomes := make([]topdir.Outcome, len(links))
	failed := make([]error, len(links))
	err := r.parallel(ctx, len(links), func(ctx context.Context, i int) error {
		l := links[i]
		o, err := r.link(l)
		if errors.Is(err, fs.ErrExist) {
			o, err = topdir.Keep, nil
		}
		if err != nil && !ofOne(ctx, err) {
			return err
		}
		if failed[i] = err; err != nil {
			return nil
		}
		outcomes[i] = o
		counter.Add(1)
		return nil
	})
	var done ledger.Batch
	done.LinksMade(len(links))
	for i, o := range outcomes {
		if failed[i] != nil {
			r.broken = append(r.broken, held("symlink", "", links[i].Path, failed[i], notMade))
			done.Unlink(links[i].Path)
			continue
		}
		switch o {
		case topdir.Make, topdir.Switch:
			r.report.Links++
		case topdir.Keep:
			r.report.Kept = append(r.report.Kept, Kept{Path: links[i].Path, Why: "made by another meanwhile"})
			done.Unlink(links[i].Path)
		}
	}
	if err != nil {
		return err
	}
	if n, first := firstOf(failed); tooMany(n, len(links)) {
		return &manyError{n, len(links), "symlinks cannot be made", first}
	}
	if err := r.top.Sync(); err != nil {
		return err
	}
	return r.ledger.Append(&done)
}

// link makes one symlink.
func (r *run) link(l LinkAction) (topdir.Outcome, error) {
	if l.stray == nil {
		return r.top.EnsureLink(l.Link, r.tempName(), func(string) bool { return l.Switch })
	}
	s := Stray{Path: l.stray.Path, Build: l.stray.Build}
	if (strayCheck{r.Engine}).examine(&s, l.stray.Volume != r.volume); s.Keep != "" {
		return topdir.Keep, nil
	}
	if err := r.top.ReplaceDir(l.Link, r.tempName(), r.tempName()); err != nil {
		return topdir.Switch, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Strays++
	return topdir.Switch, nil
}

// leave notes that a build is left out: its symlink leads to the read-only volume.
func (r *run) leave(b volumes.Build, behind string) error {
	b.Volume = behind
	link, target, err := b.Link()
	if err != nil {
		return err
	}
	if r.stay == nil {
		r.stay = map[string]string{}
	}
	r.stay[link] = target
	return nil
}

// redirected returns the links. Those of builds that are left out lead to the read-only volume.
func (r *run) redirected(links []LinkAction) []LinkAction {
	if len(r.stay) == 0 {
		return links
	}
	var out []LinkAction
	for _, l := range links {
		if target, ok := r.stay[l.Path]; ok {
			if r.opts.ReadOnly == "" {
				continue // without a read-only volume it has no target
			}
			l.Target = target
		}
		out = append(out, l)
	}
	return out
}

// wantedLink is a symlink on DEFAULT.
type wantedLink struct {
	volumes.Link
	build volumes.Build // Volume is staging's
	made  bool          // the ledger says that the symlink is in place
}

// links compares the symlinks on DEFAULT. A symlink of Koji's or of another tool's to the same build on a
// volume of this plan counts as ours. A symlink of ours that is gone is made again, unless staging's database
// speaks against it. A stray in its place is removed.
func (d *differ) links(ctx context.Context, a *Actions) error {
	look, known, err := linkDiffer{d}.linksToLookAt(ctx, a)
	if err != nil {
		return err
	}
	more, err := linkDiffer{d}.otherLinks(known)
	if err != nil {
		return err
	}
	var kept []Kept
	found, err := linkDiffer{d}.compareLinks(a, &kept, append(look, more...))
	if err != nil {
		return err
	}
	if err := (linkDiffer{d}).mend(ctx, a, &kept, found); err != nil {
		return err
	}
	slices.SortFunc(kept, func(x, y Kept) int { return strings.Compare(x.Path, y.Path) })
	a.Kept = append(a.Kept, kept...)
	slices.SortFunc(a.Links, func(x, y LinkAction) int { return strings.Compare(x.Path, y.Path) })
	return nil
}

// linkDiffer compares the symlinks on DEFAULT.
type linkDiffer struct{ *differ }

// linksToLookAt returns the planned symlinks that one look does not show to be as they were made. known is
// how many planned symlinks the ledger has.
func (d linkDiffer) linksToLookAt(ctx context.Context, a *Actions) (look []wantedLink, known int, err error) {
	stays := map[string]string{}
	for _, b := range a.LeftOut {
		stays[b.NVR()] = b.Volume
	}
	const chunk = 512
	builds := d.plan.Linked
	found := make([][]wantedLink, (len(builds)+chunk-1)/chunk)
	counts := make([]int, len(found))
	err = d.parallel(ctx, len(found), func(_ context.Context, i int) error {
		for _, b := range builds[i*chunk : min((i+1)*chunk, len(builds))] {
			if len(stays) > 0 {
				if volume, ok := stays[b.NVR()]; ok {
					b.Volume = volume
				}
			}
			link, target, err := b.Link()
			if err != nil {
				return err
			}
			said := d.ledger.Links[link]
			if len(said) > 0 {
				counts[i]++
			}
			if b.Volume != d.plan.CopyVolume && d.opts.ReadOnly == "" {
				continue // without a read-only volume it has no target
			}
			w := wantedLink{volumes.Link{Path: link, Target: target}, b, len(said) > 0 && d.ledger.Made[link]}
			if !d.audit && w.made && said[len(said)-1] == target {
				if same, err := d.top.LooksLike(w.Link); same && err == nil {
					continue
				}
			}
			found[i] = append(found[i], w)
		}
		return nil
	})
	for _, n := range counts {
		known += n
	}
	return slices.Concat(found...), known, err
}

// otherLinks returns symlinks that were made for builds which the plan no longer has, and that have changed
// since. The database still has such builds. Symlinks of builds that staging decided about are left out.
// known is how many planned symlinks the ledger has.
func (d linkDiffer) otherLinks(known int) (links []wantedLink, err error) {
	if len(d.ledger.Links) == known+len(d.plan.Volumes)+1+stubs(d.ledger) && len(d.plan.Decided) == 0 {
		return nil, nil // the ledger has only symlinks of the plan, of volumes, and stubs
	}
	planned, err := linkedPaths(d.plan)
	if err != nil {
		return nil, err
	}
	for link, said := range d.ledger.Links {
		b, ok := linkBuild(link)
		if !ok || planned[link] || !d.ledger.Made[link] {
			continue
		}
		target := said[len(said)-1]
		b.Volume, ok = linkVolume(link, target)
		if !ok || b.Volume != d.plan.CopyVolume && d.opts.ReadOnly == "" {
			continue
		}
		w := wantedLink{volumes.Link{Path: link, Target: target}, b, true}
		if same, err := d.top.LooksLike(w.Link); !same || err != nil {
			links = append(links, w)
		}
	}
	slices.SortFunc(links, func(x, y wantedLink) int { return strings.Compare(x.Path, y.Path) })
	return links, nil
}

// linkVolume returns the volume that a symlink on DEFAULT leads to.
func linkVolume(link, target string) (volume string, ok bool) {
	below, up := strings.CutPrefix(target, "../../../vol/")
	volume, ok = strings.CutSuffix(below, "/"+link)
	return volume, up && ok
}

// broken is a symlink on DEFAULT that is gone, or a directory in its place.
type broken struct {
	wantedLink
	gone bool
}

// compareLinks compares symlinks with the disk. It returns those whose repair depends on the database.
func (d linkDiffer) compareLinks(a *Actions, kept *[]Kept, links []wantedLink) (found []broken, err error) {
	noted, bad := 0, 0
	for _, w := range links {
		o, have, err := d.top.Check(w.Link, func(target string) bool {
			volume, ok := linkVolume(w.Path, target)
			return d.ledger.Ours(w.Path)(target) || ok && d.managed[volume]
		})
		if err != nil {
			a.hold(held("symlink", "", w.Path, err, notMade))
			if bad++; tooMany(bad, len(d.plan.Linked)) {
				return nil, &manyError{bad, len(d.plan.Linked), "symlinks cannot be looked at", err}
			}
			continue
		}
		switch o {
		case topdir.Make:
			if w.made {
				found = append(found, broken{w, true})
				continue
			}
			a.Links = append(a.Links, LinkAction{Link: w.Link})
		case topdir.Switch:
			a.Links = append(a.Links, LinkAction{Link: w.Link, Switch: true})
		case topdir.Unchanged:
			said := d.ledger.Links[w.Path]
			known := len(said) > 0 && said[len(said)-1] == w.Target
			if known && !d.ledger.Made[w.Path] || !known && d.audit {
				a.notes.Link(w.Path, w.Target)
				noted++
			}
		case topdir.Keep:
			if have != "" {
				*kept = append(*kept, Kept{Path: w.Path, Why: fmt.Sprintf("staging's own symlink to %q", have)})
				continue
			}
			found = append(found, broken{w, false})
		}
	}
	a.notes.LinksMade(noted)
	return found, nil
}

// mend decides about symlinks that are gone and about directories in their place. If there is no database, it
// makes missing symlinks again, and leaves directories to staging.
func (d linkDiffer) mend(ctx context.Context, a *Actions, kept *[]Kept, found []broken) error {
	builds := make([]volumes.Build, len(found))
	for i, b := range found {
		builds[i] = b.build
	}
	rows, err := d.rowsOf(ctx, builds)
	if err != nil {
		return err
	}
	for _, b := range found {
		volume, named := rows[b.build.NVR()]
		own := named && !d.managed[volume] // staging has it on DEFAULT or on another volume of its own, or has it incomplete
		switch {
		case b.gone && own:
			*kept = append(*kept, Kept{Path: b.Path, Why: "no symlink: " + whereStagingHas(volume)})
		case b.gone:
			a.Links = append(a.Links, LinkAction{Link: b.Link, Mend: true})
		case own || !named || d.opts.ReadOnly == "":
			*kept = append(*kept, Kept{Path: b.Path, Why: "staging's own"})
		default:
			s := Stray{Path: b.Path, Build: b.build, Volume: volume}
			s.Build.Volume = "" // it is on DEFAULT
			(strayCheck{d.Engine}).examine(&s, volume != d.plan.CopyVolume)
			a.Strays = append(a.Strays, s)
			if s.Keep == "" {
				a.Links = append(a.Links, LinkAction{Link: b.Link, stray: &s})
			}
		}
	}
	return nil
}

// whereStagingHas says on which volume staging has a build, for people.
func whereStagingHas(volume string) string {
	if volume == "" {
		return "staging's database has the build, but not as a complete one"
	}
	return fmt.Sprintf("staging's database has the build on volume %q", volume)
}
