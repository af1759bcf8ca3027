// Package verify tells whether composes can run in staging: it asks staging's hub what compose tools ask,
// compares the answers with a snapshot's or production's, and looks for the files that the answers name.
package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagglob"
	"kojisnap/kojisnap/trial"
	"kojisnap/volumes"
)

// Options say what a compose needs, and where staging is.
type Options struct {
	compose.Want
	Hub      *hub.Client        // staging's
	Against  *hub.Client        // production's; nil: the snapshot says what is expected
	Snapshot *snapfile.Snapshot // may be nil if Against, Event and Tags are given
	Event    int64              // at which both are asked; 0: the snapshot's. Files are looked at for that of the snapshot alone
	Topdir   string             // staging's; empty: files are not checked
	// HubTopdir is topdir's path as staging's hub has it, where that is another: symlinks say it.
	HubTopdir string
	TopURL    string // that composes fetch files from; empty: not checked

	ComposeDir  string // where a trial repository is made; empty: none
	ComposeUser string // who makes composes; empty: the process's own user. Another needs root.

	Record Record // what staging's database says of itself; the zero value: nothing is known

	Digest bool // read every file to its end; otherwise of rpms the signature header
	Jobs   int  // files read at once; 0: one for each CPU

	Log      *slog.Logger
	Progress progress.Progress
}

// Verify finds out whether staging is compose-ready: whether a compose of the wanted tags gets
// from staging's hub and topdir what it would get from production's. It asks as compose tools
// do. What is not ready is in the result, and so is a call that failed and a tag or a file that could
// not be looked at: each is a failed check with the reason, and all others are made. The error says
// why nothing can be found out: options that will not do, a hub that is offline (hub.Temporary), a
// snapshot that is damaged.
//
// Staging is only read, but for a hard link that is made and removed again, and ComposeDir.
func Verify(ctx context.Context, o Options) (*Result, error) {
	v, err := newVerifier(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{v.checkHub, v.checkEvent, v.reportUnmatched, v.eachWanted, v.checkNamed, v.tasks, v.files} {
		if err := step(ctx); err != nil {
			return v.result, fmt.Errorf("verify: %w", err)
		}
	}
	return v.result, ctx.Err()
}

type verifier struct {
	Options
	expected expectation
	staging  hubAnswers
	user     *trial.User
	takes    func(arch string) bool
	topurl   *url.URL // nil: not checked
	result   *Result
	log      *slog.Logger
	progress progress.Progress
	back     *lookback // nil: the event is the snapshot's

	here     map[int64]*stagingTag   // tags, by production's ids
	tagNames *names                  // of those
	orders   map[string]*inheritance // production's, by wanted tag
	listings map[string]*listing     // what staging holds, by wanted tag or byName
	named    *listing                // the builds that were asked for by name; nil: none
	sigs     map[int64][]signature   // production's, by staging's id of the rpm
	rows     map[int64][]signature   // staging's
	modules  map[int64]*moduleBuild  // of all tags, by id
	states   map[int64]*fileState    // by rpm id
	classes  map[fileClass]*linkable // of files that are there
	arches   map[string][]string     // of a tag's configuration
	content  map[string]bool         // wanted tags that are nothing but content tags

	unmatched []string // patterns of Want.Tags
}

func newVerifier(ctx context.Context, o Options) (*verifier, error) {
	v := &verifier{Options: o, log: o.Log, progress: progress.OrDiscard(o.Progress),
		here: map[int64]*stagingTag{}, tagNames: newNames(nil), orders: map[string]*inheritance{}, listings: map[string]*listing{},
		sigs: map[int64][]signature{}, rows: map[int64][]signature{}, modules: map[int64]*moduleBuild{}, states: map[int64]*fileState{},
		classes: map[fileClass]*linkable{}, arches: map[string][]string{}, content: map[string]bool{}}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	if v.Jobs <= 0 {
		v.Jobs = runtime.NumCPU()
	}
	if v.CopyVolume == "" {
		v.CopyVolume = volumes.CopyVolume
	}
	if v.Snapshot != nil {
		v.unmatched = v.Want.Unmatched(v.Snapshot)
		var err error
		if v.Want, err = v.Want.Chosen(ctx, v.Snapshot); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		for _, tag := range v.Snapshot.Manifest.Scope.ContentTags() {
			v.content[tag] = !slices.Contains(v.Snapshot.Manifest.Scope.Tags, tag)
		}
		if v.Event == 0 {
			v.Event = v.Snapshot.Manifest.Event
		}
	}
	switch {
	case v.Hub == nil:
		return nil, errors.New("verify: no hub of staging given")
	case v.Snapshot == nil && v.Against == nil:
		return nil, errors.New("verify: neither a snapshot nor a hub to compare with")
	case v.Event <= 0:
		return nil, errors.New("verify: no event given; kojisnap status prints the one that is loaded")
	case len(v.Want.Tags) == 0 && v.Snapshot == nil:
		return nil, errors.New("verify: no tags given")
	case v.Snapshot == nil && slices.ContainsFunc(v.Want.Tags, func(tag string) bool { return strings.HasPrefix(tag, "!") || tagglob.IsPattern(tag) }):
		return nil, errors.New("verify: patterns of tags need a snapshot to be told by")
	case v.ComposeDir != "" && v.Topdir == "":
		return nil, errors.New("verify: a trial repository needs staging's topdir")
	}
	if err := v.parseTopURL(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if err := v.lookBack(ctx); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v.takes = volumes.Want{Arches: v.Arches}.TakesArch()
	if v.ComposeUser != "" {
		var err error
		if v.user, err = trial.LookupUser(v.ComposeUser); err != nil {
			return nil, fmt.Errorf("verify: compose %w", err)
		}
	}
	if err := v.checkDirs(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	var err error
	if v.staging, err = newHubAnswers(ctx, v.Hub, "staging's", v.Event); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if v.expected, err = v.expectation(ctx); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v.result = &Result{Event: v.Event, Hub: v.Hub.URL(), Against: v.expected.String()}
	return v, nil
}

// expectation is production's hub if one is given, else the snapshot.
func (v *verifier) expectation(ctx context.Context) (expectation, error) {
	if v.Against == nil {
		return newSnapshotAnswers(ctx, v.Snapshot, v.Want)
	}
	a, err := newHubAnswers(ctx, v.Against, "production's", v.Event)
	if err != nil {
		return nil, err
	}
	if v.Snapshot != nil {
		if err := compose.CheckSnapshot(ctx, v.Snapshot, v.Want); err != nil {
			return nil, err
		}
		a.ids = map[string]int64{}
		for _, t := range v.Snapshot.Manifest.Scope.All {
			a.ids[t.Name] = t.ID
		}
	}
	return a, nil
}

// checkHub refuses a hub that is not staging's.
func (v *verifier) checkHub(ctx context.Context) error {
	var production []string
	if v.Snapshot != nil {
		production = append(production, v.Snapshot.Manifest.Hub)
	}
	if v.Against != nil {
		production = append(production, v.Against.URL())
	}
	var refused error
	err := v.attempt(ctx, Check{Name: "hub"}, func() error {
		err := CheckStagingHub(ctx, v.Hub, production...)
		if errors.Is(err, ErrNotStagingHub) {
			refused = err
			return nil
		}
		return err
	})
	if err == nil {
		err = refused
	}
	return err
}

// checkDirs refuses directories that will not do, before anything is asked.
func (v *verifier) checkDirs() error {
	if v.Topdir == "" {
		return nil
	}
	info, err := os.Stat(v.Topdir)
	if err != nil {
		return fmt.Errorf("topdir: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("topdir %s: is not a directory", v.Topdir)
	}
	if v.Topdir, err = filepath.Abs(v.Topdir); err != nil || v.ComposeDir == "" {
		return err
	}
	if v.ComposeDir, err = filepath.Abs(v.ComposeDir); err != nil {
		return err
	}
	// What vol/NAME leads to is production's tree, or another mount of Koji's.
	taken := []string{filepath.Join(v.Topdir, "packages"), filepath.Join(v.Topdir, "vol")}
	list, err := os.ReadDir(filepath.Join(v.Topdir, "vol"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("topdir: %w", err)
	}
	for _, e := range list {
		taken = append(taken, filepath.Join(v.Topdir, "vol", e.Name()))
		if tree, err := volumes.FindTree(v.Topdir, e.Name()); err == nil && tree != "" {
			taken = append(taken, tree)
		}
	}
	return trial.CheckDir(v.ComposeDir, taken...)
}

// reportUnmatched tells of patterns that choose no tag.
func (v *verifier) reportUnmatched(context.Context) error {
	if len(v.unmatched) > 0 {
		v.add(Check{Name: "tags", Count: len(v.unmatched), Bad: len(v.unmatched), Detail: "no tag of the snapshot matches " + compose.QuotedPatterns(v.unmatched)}, StatusWarning)
	}
	return nil
}

func (v *verifier) eachWanted(ctx context.Context) error {
	counter := v.progress.Begin("verify tags", int64(len(v.Want.Tags)))
	defer counter.End()
	for _, tag := range v.Want.Tags {
		if err := v.tag(ctx, tag); err != nil {
			return fmt.Errorf("tag %q: %w", tag, err)
		}
		counter.Add(1)
	}
	return nil
}

// tag makes the checks that ask the hubs about one tag.
func (v *verifier) tag(ctx context.Context, name string) error {
	v.log.DebugContext(ctx, "verify tag", "tag", name, "event", v.Event)
	if !v.hasHistory(name) {
		return nil
	}
	t, err := v.checkTag(ctx, name)
	if err != nil || t == nil {
		return err
	}
	v.checkFilters(t)
	for _, check := range []func(context.Context, *taggedTag) error{
		v.checkInheritance, v.checkRPMs, v.checkSignatures, v.checkExternalRepos, v.checkHidden, v.checkModules, v.checkModuleArchives, v.checkContentTags,
	} {
		if err := check(ctx, t); err != nil {
			return err
		}
	}
	v.reportNames(t)
	v.reportRecord(t)
	return nil
}
