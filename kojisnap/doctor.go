package kojisnap

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/overlay"
	"kojisnap/dbsync/preflight"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/tagglob"
	"kojisnap/kojisnap/verify"
	"kojisnap/volumes"
)

// Finding is the outcome of one check of Doctor.
type Finding struct {
	Check  string        `json:"check"` // production's hub, staging's hub, database, …
	Status verify.Status `json:"status"`
	Detail string        `json:"detail"` // one line; if not ok, it says what to do
	Err    error         `json:"-"`
}

// Doctor checks everything that commands depend on, each part by itself. It changes nothing except that it puts
// an object into the store and removes it again. missing has, by name, the checks that cannot be made: nil for
// what is not configured, which is skipped, or the error of its options, which fails the check.
func Doctor(ctx context.Context, s store.Store, o SyncOptions, missing map[string]error) []Finding {
	var found []Finding
	for _, c := range o.preflights(s) {
		f := Finding{Check: c.name, Status: verify.StatusOK}
		err, left := missing[c.name]
		if left && err == nil && c.name == CheckClones { // most sites have none
			continue
		}
		switch {
		case !o.Only.does(c.half):
			f.Status, f.Detail = verify.StatusSkipped, "not needed by --only "+string(o.Only)
		case left && err == nil:
			f.Status, f.Detail = verify.StatusSkipped, "not configured"
		case left:
			f.Err = err
		default:
			f.Detail, f.Err = c.run(ctx)
		}
		if f.Err != nil {
			f.Status, f.Detail = verify.StatusFailed, oneline.Of(f.Err).Error()
		}
		if errors.As(f.Err, new(*notYetError)) {
			f.Status, f.Err = verify.StatusWarning, nil
		}
		if i := len(found) - 1; i >= 0 && f.Err != nil && f.Detail == found[i].Detail { // of topdir and sources alike
			f = Finding{Check: f.Check, Status: verify.StatusSkipped, Detail: "see " + found[i].Check}
		}
		found = append(found, f)
		if ctx.Err() != nil {
			break
		}
	}
	return found
}

// precheck is one check. run returns what it found.
type precheck struct {
	name string
	half Half // that needs it; Whole: both do
	sync bool // Sync also makes it, before its first step
	run  func(ctx context.Context) (string, error)
}

// notYetError is a finding that is no fault by itself.
type notYetError struct{ error }

func (e *notYetError) Unwrap() error { return e.error }

// The names of the checks.
const (
	CheckStore         = "store"
	CheckOverlay       = "overlay"
	CheckProductionHub = "production's hub"
	CheckStagingHub    = "staging's hub"
	CheckTopdir        = "topdir"
	CheckSources       = "sources"
	CheckClones        = "clones"
	CheckDatabase      = "database"
)

// preflights returns the checks, the cheapest first.
func (o SyncOptions) preflights(s store.Store) []precheck {
	return []precheck{
		{CheckOverlay, OnlyApply, true, func(context.Context) (string, error) { return o.checkOverlay() }},
		{CheckStore, Whole, false, func(ctx context.Context) (string, error) { return o.checkStore(ctx, s) }},
		{CheckProductionHub, OnlyPull, false, o.checkProductionHub},
		{CheckStagingHub, OnlyApply, !o.NoVerify, o.checkStagingHub},
		{CheckTopdir, OnlyApply, true, func(ctx context.Context) (string, error) { return o.checkTopdir(ctx, s) }},
		{CheckSources, OnlyApply, true, o.checkSources},
		{CheckClones, OnlyApply, true, o.checkClone},
		{CheckDatabase, OnlyApply, true, func(ctx context.Context) (string, error) { return o.checkDatabase(ctx, s) }},
	}
}

func (o SyncOptions) checkOverlay() (string, error) {
	if o.Load.Overlay == "" {
		return "none", nil
	}
	_, err := overlay.Read(o.Load.Overlay)
	return o.Load.Overlay, err
}

// checkStore writes, reads and removes an object. A host that only applies needs a snapshot to apply, and may be
// refused to write.
func (o SyncOptions) checkStore(ctx context.Context, s store.Store) (string, error) {
	all, err := repository.Snapshots(ctx, s)
	if err != nil {
		return "", err
	}
	if o.Only == OnlyApply {
		snap, err := repository.Latest(ctx, s, o.Scope)
		if err != nil {
			return "", err
		}
		found, err := probeStore(ctx, s, len(all))
		if err != nil {
			err = &notYetError{fmt.Errorf("%w; apply can do without, but prune does not know then what this environment needs", err)}
		}
		return found + ", the latest is " + snap.ID, err
	}
	return probeStore(ctx, s, len(all))
}

// probeStore writes, reads and removes an object. Its name is this process's own: others may probe the store at the
// same time.
func probeStore(ctx context.Context, s store.Store, snapshots int) (string, error) {
	name := "doctor/probe-" + strings.ToLower(rand.Text())
	content := []byte("kojisnap doctor\n")
	if err := s.Put(ctx, name, bytes.NewReader(content)); err != nil {
		return "", fmt.Errorf("store %s: no object can be written: %w", s, err)
	}
	r, err := s.Get(ctx, name)
	if err != nil {
		return "", fmt.Errorf("store %s: what was written cannot be read: %w", s, err)
	}
	defer r.Close()
	if got, err := io.ReadAll(io.LimitReader(r, 1<<10)); err != nil || !bytes.Equal(got, content) {
		return "", fmt.Errorf("store %s: what is read is not what was written: %q, %v", s, got, err)
	}
	if err := s.Delete(ctx, name); err != nil {
		return "", fmt.Errorf("store %s: no object can be removed: %w", s, err)
	}
	return fmt.Sprintf("%s: %d snapshots", s, snapshots), nil
}

func (o SyncOptions) checkProductionHub(ctx context.Context) (string, error) {
	if o.Production != nil {
		return o.Production.Check(ctx, o.Pull)
	}
	version, err := o.Hub.AskVersion(ctx)
	if err != nil {
		return "", fmt.Errorf("hub %s: %w", o.Hub.URL(), err)
	}
	last, err := o.Hub.Call(ctx, hub.Call{Method: "getLastEvent"})
	if err != nil {
		return "", fmt.Errorf("hub %s: %w", o.Hub.URL(), err)
	}
	var lacks []string
	set, err := tagglob.Parse(o.Pull.Tags)
	if err != nil {
		return "", err
	}
	chosen, unmatched, err := scope.ChooseTags(ctx, o.Hub, version, set, 0)
	if err != nil {
		return "", fmt.Errorf("hub %s: %w", o.Hub.URL(), err)
	}
	tags := len(set.Names())
	for _, name := range chosen {
		if !slices.Contains(set.Names(), name) {
			tags++
		}
	}
	for _, tag := range set.Names() {
		t, err := o.Hub.Call(ctx, hub.Call{Method: "getTag", Args: []any{tag}})
		if err != nil {
			return "", fmt.Errorf("hub %s: tag %q: %w", o.Hub.URL(), tag, err)
		}
		if t.IsNil() {
			lacks = append(lacks, fmt.Sprintf("%q", tag))
		}
	}
	if len(lacks) > 0 {
		return "", fmt.Errorf("hub %s has no tag %s: correct the names of the tags that are pulled", o.Hub.URL(), strings.Join(lacks, ", "))
	}
	if len(set.List()) > 0 && tags == 0 {
		return "", &scope.NoTagsError{Hub: o.Hub.URL(), Tags: set.List()}
	}
	if len(unmatched) > 0 {
		return "", &notYetError{fmt.Errorf("hub %s has no tag that %s matches", o.Hub.URL(), tagglob.Quote(unmatched))}
	}
	id, _ := last.Field("id").Int()
	if o.Pull.Everything {
		return fmt.Sprintf("%s: Koji %s, last event %d, everything", o.Hub.URL(), version, id), nil
	}
	return fmt.Sprintf("%s: Koji %s, last event %d, %d tags", o.Hub.URL(), version, id, tags), nil
}

func (o SyncOptions) checkStagingHub(ctx context.Context) (string, error) {
	var production []string
	for _, c := range []*hub.Client{o.Hub, o.Verify.Against} {
		if c != nil {
			production = append(production, c.URL())
		}
	}
	if o.Scope.Hub != "" {
		production = append(production, o.Scope.Hub)
	}
	if err := verify.CheckStagingHub(ctx, o.Verify.Hub, production...); err != nil {
		return "", fmt.Errorf("%w (verify asks it at the end; --no-verify leaves that out)", err)
	}
	version, err := o.Verify.Hub.AskVersion(ctx)
	return fmt.Sprintf("%s: Koji %s", o.Verify.Hub.URL(), version), err
}

func (o SyncOptions) checkTopdir(ctx context.Context, s store.Store) (string, error) {
	if !o.Copy.NewTopdir {
		if err := checkTopdir(ctx, o.Copy.Topdir, o.Copy.Env, o.Copy.CopyVolume, s, &StagingDatabase{DSN: o.Load.DSN, Optional: true}); err != nil {
			return "", err
		}
	}
	engine, err := o.Copy.engine(ctx, nil, nil)
	if err != nil {
		return "", err
	}
	defer engine.Close()
	volume := o.Copy.CopyVolume
	if volume == "" {
		volume = volumes.CopyVolume
	}
	if err := engine.Check(volume); err != nil {
		return "", err
	}
	if err := engine.CheckRoom(); err != nil {
		return "", &notYetError{err} // there may be nothing to copy
	}
	return o.Copy.Topdir, o.Load.EventFile.check()
}

func (o SyncOptions) checkSources(ctx context.Context) (string, error) {
	engine, err := o.Copy.engine(ctx, nil, nil)
	if err != nil {
		return "", err
	}
	defer engine.Close()
	answers := engine.CheckSources(ctx)
	var bad []string
	var first error
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		if err := answers[name]; err != nil {
			bad = append(bad, fmt.Sprintf("source %s: %v", name, err))
			first = err
		}
	}
	switch {
	case first == nil:
		return strings.Join(slices.Sorted(maps.Keys(answers)), ", "), nil
	case len(bad) < len(answers): // the others may have what one lacks
		return "", &notYetError{errors.New(strings.Join(bad, "; "))}
	}
	return "", &sourcesError{strings.Join(bad, "; "), first}
}

// sourcesError says why no source answers. It wraps the first source's error.
type sourcesError struct {
	text  string
	first error
}

func (e *sourcesError) Error() string { return e.text }
func (e *sourcesError) Unwrap() error { return e.first }

func (o SyncOptions) checkDatabase(ctx context.Context, s store.Store) (string, error) {
	conn, err := dbconn.Connect(ctx, o.Load.DSN)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	p := preflight.Options{Env: o.Load.Env, HubMoved: o.Load.HubMoved, Event: o.Pull.Event, Tags: o.Pull.Tags,
		Overlay: o.Load.Overlay != "", Replace: o.Load.OnConflict == dbsync.Replace}
	if p.Hub = o.Scope.Hub; o.Hub != nil {
		p.Hub = o.Hub.URL()
	}
	if o.Pull.Everything {
		p.Tags = []string{"*"}
	}
	if o.Load.Rollback {
		p.Event = 0
	}
	if err := preflight.CheckDatabase(ctx, conn, p); err != nil {
		return "", err
	}
	if snap, err := o.unfinished(ctx, conn, s); err != nil {
		return "", err
	} else if snap != nil {
		return "", &notYetError{fmt.Errorf("a full import of snapshot %s was broken off: the next sync goes on with it", snap.ID)}
	}
	c := conn.Config()
	return fmt.Sprintf("%s on %s, environment %s", c.Database, c.Host, o.Load.Env), nil
}

// Preflight refuses, before the first step of a sync, what a later step would refuse after hours of work.
func (o SyncOptions) Preflight(ctx context.Context, s store.Store) error {
	for _, c := range o.preflights(s) {
		if !c.sync || !o.Only.does(c.half) {
			continue
		}
		if _, err := c.run(ctx); err != nil && !errors.As(err, new(*notYetError)) {
			return err
		}
	}
	return nil
}
