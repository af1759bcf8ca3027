package hardlink

import (
	"context"
	"errors"
	"io/fs"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/progress"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// links makes symlinks on DEFAULT. Staging's own hub may make one at the same time: its one
// stays.
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
	done.Placed(len(links))
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

// link makes one of them.
func (r *run) link(l LinkAction) (topdir.Outcome, error) {
	if l.stray == nil {
		return r.top.EnsureLink(l.Link, r.tempName(), func(string) bool { return l.Switch })
	}
	s := Stray{Path: l.stray.Path, Build: l.stray.Build}
	if r.examine(&s, l.stray.Volume != r.volume); s.Keep != "" {
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

// leave notes that a build stays where it is: on the read-only volume.
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

// redirected is the links, those of builds that are left out leading to the
// read-only volume instead.
func (r *run) redirected(links []LinkAction) []LinkAction {
	if len(r.stay) == 0 {
		return links
	}
	var out []LinkAction
	for _, l := range links {
		if target, ok := r.stay[l.Path]; ok {
			if r.opts.ReadOnly == "" {
				continue // it would lead nowhere
			}
			l.Target = target
		}
		out = append(out, l)
	}
	return out
}
