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
	"kojisnap/kojisnap/trial/inside"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// Options say what a compose needs, and where staging is.
type Options struct {
	compose.Want
	Hub      *hub.Client        // staging's
	Against  *hub.Client        // production's, to compare with; nil: compare with the snapshot
	Snapshot *snapfile.Snapshot // may be nil if Against, Event and Tags are given
	Event    int64              // to verify; 0: the snapshot's. At an earlier event files are not checked
	Topdir   string             // staging's; empty: files are not checked
	// HubTopdir is the path that staging's hub has for topdir, if that is another: symlinks begin with it.
	HubTopdir string
	TopURL    string // from which composes fetch files; empty: not checked

	ComposeDir  string // where a trial repository is made; empty: none is made
	ComposeUser string // who makes composes; empty: the process's user. Another user needs root
	// Inside makes the trial in a container or a chroot of the release that composes are for. Nil: on this machine.
	Inside *inside.Options

	Record Record // what staging's database knows of itself; the zero value: nothing is known

	Digest bool // read every file to its end; otherwise only the signature headers of rpms
	Jobs   int  // files read at once; 0: one for each CPU

	Log      *slog.Logger
	Progress progress.Progress
}

// Verify finds out whether staging is compose-ready: whether a compose of the wanted tags gets from staging's
// hub and topdir what it would get from production's. It asks as compose tools do. Whatever is not ready is a
// failed check in the result, with the reason; so is a call that fails, and a tag or a file that cannot be
// looked at, and all other checks are made. An error says why nothing can be found out: wrong options, a hub
// that is offline (hub.Temporary), a damaged snapshot; see the table in the package's documentation.
//
// Verify only reads, except that it makes a hard link and removes it again, and makes ComposeDir.
func Verify(ctx context.Context, o Options) (*Result, error) {
	v, err := newVerifier(ctx, o)
	if err != nil {
		return nil, err
	}
	files := newFileChecks(v)
	for _, step := range []func(context.Context) error{
		v.checkHub, v.checkEvent, v.reportUnmatched, v.checkTags, namedChecks{v}.checkNamed, taskChecks{v}.checkTasks, files.checkTopdir, topURLChecks{files}.checkTopURL,
	} {
		if err := step(ctx); err != nil {
			return v.result, fmt.Errorf("verify: %w", err)
		}
	}
	return v.result, ctx.Err()
}

// verifier is what all checks share: what is compared, who answers, what earlier checks found, and the
// report. The checks themselves are methods of tagChecks, rpmChecks, moduleChecks, namedChecks, taskChecks,
// fileChecks, linkChecks and topURLChecks.
type verifier struct {
	Options
	report
	expected expectation // what production answers
	staging  hubAnswers
	takes    func(arch string) bool // whether composes take rpms of an arch
	user     *trial.User
	topurl   *url.URL // nil: not checked
	log      *slog.Logger
	progress progress.Progress
	back     *lookback // nil: the event is the snapshot's
	tags     *tagFinder

	// What checks of the hubs find, for later ones.
	listings map[string]*listing    // what staging holds, by wanted tag or byName
	named    *listing               // the builds that were asked for by name; nil: none
	sigs     map[int64][]signature  // production's, by staging's id of the rpm
	rows     map[int64][]signature  // staging's
	modules  map[int64]*moduleBuild // of all tags, by id
	arches   map[string][]string    // of a tag's configuration

	content   map[string]bool // wanted tags that are nothing but content tags
	unmatched []string        // patterns of Want.Tags that no tag matches
}

func newVerifier(ctx context.Context, o Options) (*verifier, error) {
	v := &verifier{Options: o, log: o.Log, progress: progress.OrDiscard(o.Progress),
		listings: map[string]*listing{}, sigs: map[int64][]signature{}, rows: map[int64][]signature{},
		modules: map[int64]*moduleBuild{}, arches: map[string][]string{}, content: map[string]bool{}}
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
		v.unmatched = v.Want.UnmatchedPatterns(v.Snapshot)
		var err error
		if v.Want, err = v.Want.Resolve(ctx, v.Snapshot); err != nil {
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
	if v.Inside != nil {
		if err := v.Inside.CheckEngine(ctx); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
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
	var scope []snapfile.Tag
	if v.Snapshot != nil {
		scope = v.Snapshot.Manifest.Scope.All
	}
	v.tags = newTagFinder(v.staging, v.Record.IDs["tag"], scope)
	if v.expected, err = v.expectation(ctx); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v.result = &Result{Event: v.Event, Hub: v.Hub.URL(), Against: v.expected.String()}
	return v, nil
}

// expectation returns what staging is compared with: production's hub if one is given, or else the snapshot.
func (v *verifier) expectation(ctx context.Context) (expectation, error) {
	if v.Against == nil {
		return newSnapshotAnswers(ctx, v.Snapshot, v.Want)
	}
	a, err := newHubAnswers(ctx, v.Against, "production's", v.Event)
	if err != nil {
		return nil, err
	}
	if v.Snapshot != nil {
		if err := v.Want.Check(ctx, v.Snapshot); err != nil {
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

// checkDirs refuses unusable directories, before anything is asked.
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
	// vol/NAME leads to production's tree, or to another mount of Koji's.
	taken := []string{filepath.Join(v.Topdir, "packages"), filepath.Join(v.Topdir, "vol")}
	list, err := os.ReadDir(filepath.Join(v.Topdir, "vol"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("topdir: %w", err)
	}
	for _, e := range list {
		taken = append(taken, filepath.Join(v.Topdir, "vol", e.Name()))
		if tree, err := topdir.FindTree(v.Topdir, e.Name()); err == nil && tree != "" {
			taken = append(taken, besides(v.findClone().note, tree)...)
		}
	}
	return trial.CheckDir(v.ComposeDir, taken...)
}

// reportUnmatched reports patterns that choose no tag.
func (v *verifier) reportUnmatched(context.Context) error {
	if len(v.unmatched) > 0 {
		v.add(Check{Name: "tags", Count: len(v.unmatched), Bad: len(v.unmatched), Detail: "no tag of the snapshot matches " + tagglob.Quote(v.unmatched)}, StatusWarning)
	}
	return nil
}

func (v *verifier) checkTags(ctx context.Context) error {
	counter := v.progress.Begin("verify tags", int64(len(v.Want.Tags)))
	defer counter.End()
	for _, tag := range v.Want.Tags {
		if err := v.checkTag(ctx, tag); err != nil {
			return fmt.Errorf("tag %q: %w", tag, err)
		}
		counter.Add(1)
	}
	return nil
}

// checkTag makes the checks that ask the hubs about one tag.
func (v *verifier) checkTag(ctx context.Context, name string) error {
	v.log.DebugContext(ctx, "verify tag", "tag", name, "event", v.Event)
	tags, rpms, modules := tagChecks{v}, rpmChecks{v}, moduleChecks{v}
	if !tags.hasHistory(name) {
		return nil
	}
	t, err := tags.checkExists(ctx, name)
	if err != nil || t == nil {
		return err
	}
	tags.checkFilters(t)
	for _, check := range []func(context.Context, *taggedTag) error{
		tags.checkInheritance, rpms.checkRPMs, rpms.checkSignatures, tags.checkExternalRepos, tags.checkHidden,
		modules.checkModules, modules.checkModuleArchives, modules.checkContentTags,
	} {
		if err := check(ctx, t); err != nil {
			return err
		}
	}
	v.reportNames(t)
	v.reportRecord(t)
	return nil
}

// eachListing calls check with what the wanted tags hold that staging has, then with the builds that were asked
// for by name.
func (v *verifier) eachListing(check func(tag string, l *listing)) {
	for _, tag := range append(slices.Clone(v.Want.Tags), byName) {
		if l := v.listings[tag]; l != nil {
			check(tag, l)
		}
	}
}

// local reports whether the files on a volume are in staging's own topdir, where a compose can link them.
func (v *verifier) local(volume string) bool {
	return volume == "" || volume == volumes.DefaultVolume || volume == v.CopyVolume
}
