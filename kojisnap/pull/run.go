package pull

import (
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/convert"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/tagglob"
)

// run is one pull: its target, and what its steps share. Once the target is set, it may be used concurrently.
type run struct {
	hub      *hub.Client
	opt      Options
	tags     tagglob.Set // opt.Tags
	log      *slog.Logger
	version  hub.Version
	versions int         // how many versions the hub had sent by then
	store    store.Store // nil: a dry run without one

	target

	pager   *pager.Pager
	journal *checkpoint.Journal // nil: a dry run
	builder *snapshot.Builder
	convert convert.Converter

	btypes     map[string][]byte // ids of build types by name
	repoArches map[string][]byte // of external repos, for hubs whose history does not show them
	drafts     drafts
	recheck    lockedSet // builds whose taggings may be gone
	complete   lockedSet // of these, those that everything has whether they are tagged or not
	holes      holes
	before     earlier // where skipped rows are looked for
}

// target is what a pull is about.
type target struct {
	*scope.Found
	base *snapfile.Snapshot // nil: there is none, or it is ignored
	inc  *incremental       // nil: the pull asks for everything
	// since: rows that were revoked after this event are wanted with their revocations.
	since    int64
	outdated bool // the store has a snapshot of the same hub and scope at a later event
}

func newRun(ctx context.Context, h *hub.Client, o Options) (*run, error) {
	o, set, err := o.Complete()
	if err != nil {
		return nil, err
	}
	r := &run{hub: h, opt: o, tags: set, log: o.Log, pager: pager.New(h, o.Log, o.Progress, o.pager)}
	r.builder = snapshot.New(snapshot.Options{TempDir: o.TempDir, Progress: o.Progress,
		Unseen: "other rows of the hub's refer to it, and it does not show it: production may have changed meanwhile"})
	if _, err := h.AskVersion(ctx); err != nil {
		return nil, fmt.Errorf("hub %s: %w", h.URL(), err)
	}
	all := h.Versions()
	r.version, r.versions = all[len(all)-1], len(all)
	r.convert = convert.New(r.version)
	return r, nil
}

// The readers: each asks the hub for a part of the snapshot.
func (r *run) histories() historyReader { return historyReader{r} }
func (r *run) builds() buildReader      { return buildReader{r} }
func (r *run) archives() archiveReader  { return archiveReader{r} }
func (r *run) names() nameReader        { return nameReader{r} }

// inStage runs a stage of the pull, after taking over what an earlier pull has finished of it. Without a
// name, it takes over and keeps nothing.
func (r *run) inStage(ctx context.Context, name string, fn func(t task) error) error {
	return r.journal.Stage(ctx, name, taker{r}, func(s *checkpoint.Stage) error { return fn(task{run: r, stage: s}) })
}

// fillSkipped takes what the hub could not give from the last snapshot, as far as that has it.
func (r *run) fillSkipped(ctx context.Context) error { return r.builder.Fill(ctx, r.lastSnapshot) }

// together runs independent steps concurrently, so that the hub has work while one of them ends. They share
// the slots.
func together(ctx context.Context, steps ...func(context.Context) error) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, step := range steps {
		g.Go(func() error { return step(gctx) })
	}
	return g.Wait()
}
