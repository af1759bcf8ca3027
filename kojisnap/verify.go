package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/trial"
	"kojisnap/volumes"
)

// VerifyOptions say what a compose needs, and where staging is.
type VerifyOptions struct {
	Want
	Hub      *hub.Client        // staging's
	Against  *hub.Client        // production's; nil: the snapshot says what is expected
	Snapshot *snapfile.Snapshot // may be nil if Against, Event and Tags are given
	Event    int64              // at which both are asked; 0: the snapshot's
	Topdir   string             // staging's; empty: files are not checked
	TopURL   string             // that composes fetch files from; empty: not checked

	ComposeDir  string // where a trial repository is made; empty: none
	ComposeUser string // who makes composes; empty: the process's own user. Another needs root.

	Conflicts Conflicts // known to differ

	Digest bool // read every file to its end; otherwise of rpms the signature header
	Jobs   int  // files read at once; 0: one for each CPU

	Log      *slog.Logger
	Progress progress.Progress
}

// Verify finds out whether staging is compose-ready: whether a compose of the wanted tags gets
// from staging's hub and topdir what it would get from production's. It asks as compose tools
// do. What is not ready is in the result; the error says why it could not be found out, such
// as a hub that is offline (hub.Temporary).
//
// Staging is only read, but for a hard link that is made and removed again, and ComposeDir.
func Verify(ctx context.Context, o VerifyOptions) (*VerifyResult, error) {
	v, err := newVerifier(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := v.eachWanted(ctx); err != nil {
		return v.result, err
	}
	if err := v.tasks(ctx); err != nil {
		return v.result, fmt.Errorf("verify channels and targets: %w", err)
	}
	if err := v.files(ctx); err != nil {
		return v.result, fmt.Errorf("verify files: %w", err)
	}
	return v.result, ctx.Err()
}

type verifier struct {
	VerifyOptions
	expected expectation
	staging  hubAnswers
	user     *trial.User
	takes    func(arch string) bool
	result   *VerifyResult
	log      *slog.Logger
	progress progress.Progress

	listings map[string]*listing     // what staging holds, by tag
	sigs     map[int64][]signature   // production's, by staging's id of the rpm
	modules  map[int64]*moduleBuild  // of all tags, by id
	states   map[int64]*fileState    // by rpm id
	classes  map[fileClass]*linkable // of files that are there
	arches   map[string][]string     // of a tag's configuration
}

func newVerifier(ctx context.Context, o VerifyOptions) (*verifier, error) {
	v := &verifier{VerifyOptions: o, log: o.Log, progress: progress.OrDiscard(o.Progress),
		listings: map[string]*listing{}, sigs: map[int64][]signature{}, modules: map[int64]*moduleBuild{}, states: map[int64]*fileState{},
		classes: map[fileClass]*linkable{}, arches: map[string][]string{}}
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
		v.Want.Tags = v.tags(v.Snapshot)
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
	case len(v.Want.Tags) == 0:
		return nil, errors.New("verify: no tags given")
	case v.ComposeDir != "" && v.Topdir == "":
		return nil, errors.New("verify: a trial repository needs staging's topdir")
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
	if v.staging, err = newHubAnswers(ctx, v.Hub, v.Event); err != nil {
		return nil, fmt.Errorf("verify: staging's %w", err)
	}
	if v.Against != nil {
		v.expected, err = newHubAnswers(ctx, v.Against, v.Event)
	} else {
		v.expected, err = newSnapshotAnswers(ctx, v.Snapshot, v.Want.Tags)
	}
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v.result = &VerifyResult{Event: v.Event, Hub: v.Hub.URL(), Against: v.expected.String()}
	return v, nil
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
	volumes, err := os.ReadDir(filepath.Join(v.Topdir, "vol"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("topdir: %w", err)
	}
	for _, e := range volumes {
		taken = append(taken, filepath.Join(v.Topdir, "vol", e.Name()))
	}
	return trial.CheckDir(v.ComposeDir, taken...)
}

func (v *verifier) eachWanted(ctx context.Context) error {
	counter := v.progress.Begin("verify tags", int64(len(v.Want.Tags)))
	defer counter.End()
	for _, tag := range v.Want.Tags {
		if err := v.tag(ctx, tag); err != nil {
			return fmt.Errorf("verify tag %q: %w", tag, err)
		}
		counter.Add(1)
	}
	return nil
}

// tag makes the checks that ask the hub about one tag.
func (v *verifier) tag(ctx context.Context, tag string) error {
	v.log.DebugContext(ctx, "verify tag", "tag", tag, "event", v.Event)
	there, err := v.checkTag(ctx, tag)
	if err != nil || !there {
		return err
	}
	if err := v.checkRPMs(ctx, tag); err != nil {
		return err
	}
	if err := v.checkExternalRepos(ctx, tag); err != nil {
		return err
	}
	if err := v.checkHidden(ctx, tag); err != nil {
		return err
	}
	return v.checkModules(ctx, tag)
}
