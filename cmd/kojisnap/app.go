package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/version"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/store/signed"
)

// app has what every command needs: the common flags, and what follows from them.
type app struct {
	stdout, stderr io.Writer

	configDir                string // of the configuration, if configFile is empty
	configFile, env, store   string
	envSet                   bool // env was chosen, and is not the default for want of a choice
	dryRun, json, exitOnLock bool
	quiet, verbose, debug    bool
	progressMode, logFormat  string
	lockFile                 string

	config    *config.Config    // as the chosen environment sees it
	configErr error             // what is wrong with it
	volumes   map[string]string // production's volumes by name: staging's
	keys      signed.Options    // of the store
	log       *slog.Logger
	progress  progress.Progress
	terminal  bool            // standard error is one
	errors    output.Console  // standard error
	results   output.Console  // standard output
	command   string          // its name
	outcome   any             // what the command did, for the hooks; nil: nothing, or not yet
	hooks     *endHooks       // to run when the command has ended; nil: none
	document  output.Document // the JSON document has been begun
	nagios    bool            // the caller wants a monitoring plugin's line and codes, also for errors
	unlock    func()
}

// addFlags adds the common flags.
func (a *app) addFlags(f *config.Flags) {
	f.Section(config.Common, nil, func(fs *pflag.FlagSet) {
		fs.StringVarP(&a.configFile, "config", "c", "", "read `FILE` instead of "+config.Dir+"/"+config.Name+" and conf.d/*.toml")
		fs.StringVar(&a.env, "env", repository.DefaultEnv, "work for the staging environment `NAME`")
		fs.StringVar(&a.store, "store", "", "keep snapshots in the directory `DIR`, or in s3://BUCKET/PREFIX[?endpoint=URL&region=NAME]")
		fs.BoolVarP(&a.dryRun, "dry-run", "n", false, "print what would be done, and change nothing")
		fs.BoolVar(&a.dryRun, "test", false, "the same as --dry-run")
		fs.BoolVarP(&a.quiet, "quiet", "q", false, "print errors only")
		fs.BoolVarP(&a.verbose, "verbose", "v", false, "log what is done")
		fs.BoolVar(&a.debug, "debug", false, "log everything")
		fs.Var(config.NewChoice(&a.progressMode, "auto", "bar", "plain", "none"), "progress", "how to show progress; auto: bars on a terminal")
		fs.BoolVar(&a.json, "json", false, "print one JSON document: the result, the error, the exit code")
		fs.Var(config.NewChoice(&a.logFormat, "text", "json"), "log-format", "format of messages on standard error")
		fs.StringVar(&a.lockFile, "lock-file", "", "hold a lock on `FILE` while at work; the file says who holds it, and belongs in a directory of kojisnap's own")
		fs.BoolVar(&a.exitOnLock, "exit-on-lock", false, "if the lock is held, do not wait but exit with code 4, without a message unless -v is given")
	})
}

// begin reads the configuration, and takes the lock.
func (a *app) begin(ctx context.Context, cmd command, f *config.Flags) error {
	a.command = cmd.name
	var err error
	if a.config, err = config.Read(a.configFile, a.configDir, schema()); err != nil && !cmd.anyConfig {
		return exit.AsUsage(err)
	}
	a.configErr = err
	if err := a.selectEnv(cmd, f.Set); err != nil {
		return err
	}
	if !cmd.anyConfig {
		if err := f.Configure(a.config); err != nil {
			return exit.AsUsage(err)
		}
	}
	if err := a.settle(f.Set); err != nil {
		return err
	}
	if !cmd.anyConfig {
		if err := a.checkCommon(); err != nil {
			return err
		}
	}
	a.volumes = a.config.Volumes()
	a.terminal = a.errors.Terminal()
	a.progress = a.standardError().Progress(a.progressMode)
	a.log = a.standardError().Log()
	for _, name := range a.config.Unread {
		if cmd.anyConfig { // it tells of them itself
			break
		}
		a.log.WarnContext(ctx, "not read, as only *.toml is: rename it, or remove it", "file", name)
	}
	// Status and report must not wait for a running sync, nor a sync for a worker, which runs on: the queue keeps workers
	// apart, and it takes the lock only if its own command line says so.
	free := cmd.name == statusCommand.name || cmd.name == "report" || cmd.name == "worker" && !f.Set.Changed("lock-file")
	if a.lockFile != "" && !free {
		if a.unlock, err = lockfile.Lock(ctx, a.lockFile, !a.exitOnLock); err != nil {
			return err
		}
	}
	a.log.DebugContext(ctx, "kojisnap", "version", version.Number, "command", cmd.name)
	return nil
}

// selectEnv makes the configuration that of the environment to work for: --env, or what the configuration names, or
// else the default one. It refuses one that the configuration does not have, if it has others.
func (a *app) selectEnv(cmd command, set *pflag.FlagSet) error {
	env, chosen := a.env, set.Changed("env")
	if v, _, ok := a.config.Lookup(config.Common, "env"); ok && !chosen {
		env, chosen = fmt.Sprint(v), true
	}
	named := slices.Contains(a.config.Environments(), env)
	a.envSet = chosen || named
	if !a.envSet && (cmd.noEnv || wantsAll(set) || a.onlyPulls(set)) {
		return nil
	}
	if err := a.config.Require(env); err != nil && !cmd.anyConfig {
		return exit.AsUsage(err)
	}
	a.env, a.config = env, a.config.For(env)
	return nil
}

// wantsAll reports whether a command is about all environments.
func wantsAll(set *pflag.FlagSet) bool {
	all := set.Lookup("all")
	return all != nil && all.Changed
}

// onlyPulls reports whether a sync is of the half that serves all environments alike: one pull of all their tags.
func (a *app) onlyPulls(set *pflag.FlagSet) bool {
	only := set.Lookup("only")
	if only == nil || only.Changed {
		return only != nil && only.Value.String() == string(kojisnap.OnlyPull)
	}
	v, _, _ := a.config.Lookup(syncCommand.name, "only")
	return v == string(kojisnap.OnlyPull)
}

// settle decides between flags that exclude each other: the command line goes before the configuration, and must
// not have both.
func (a *app) settle(set *pflag.FlagSet) error {
	if louder := a.verbose || a.debug; a.quiet && louder {
		switch said := set.Changed("verbose") || set.Changed("debug"); {
		case said == set.Changed("quiet"):
			return exit.Usagef("-q and -v (or --debug) exclude each other: give one of them")
		case said:
			a.quiet = false
		default:
			a.verbose, a.debug = false, false
		}
	}
	return nil
}

// checkCommon refuses wrong values of the common flags.
func (a *app) checkCommon() error {
	if err := setup.CheckEnvironment(a.env); err != nil {
		return exit.AsUsage(err)
	}
	if a.exitOnLock && a.lockFile == "" {
		return exit.Usagef("--exit-on-lock has no effect without --lock-file FILE, the lock that it is about")
	}
	return nil
}

func (a *app) end() {
	if a.unlock != nil {
		a.unlock()
	}
}

// urlRE matches a store that is a URL, or was meant as one, and is no directory.
var urlRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:/`)

// openStore opens the store of --store, with the keys in use. For reading only, it must exist.
func (a *app) openStore(write bool) (store.Store, error) {
	s, err := a.plainStore(write)
	if err != nil {
		return nil, err
	}
	return a.withKeys(s), nil
}

func (a *app) plainStore(write bool) (store.Store, error) {
	if s, err := a.remoteStore(); s != nil || err != nil {
		return s, err
	}
	switch {
	case a.store == "":
		return nil, a.missing("store", "--store DIR or s3://BUCKET/PREFIX, or store = \"…\" in the configuration")
	case write && !a.dryRun:
		return dir.Open(a.store)
	}
	s, err := dir.OpenExisting(a.store)
	if err != nil && write && errors.Is(err, os.ErrNotExist) {
		return nil, nil // a dry run before the first pull
	}
	return s, err
}

// allStores opens the stores of all environments of the configuration, each once.
func (a *app) allStores() ([]store.Store, error) {
	places := []string{a.store}
	for _, env := range a.config.Environments() {
		if v, _, ok := a.config.For(env).Lookup(config.Common, "store"); ok {
			if place, isText := v.(string); isText && !slices.Contains(places, place) {
				places = append(places, place)
			}
		}
	}
	if len(places) > 1 && a.store == "" {
		places = places[1:]
	}
	var all []store.Store
	for _, place := range places {
		of := *a
		of.store = place
		s, err := of.openStore(false)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// remoteStore returns a store that is not a directory, or nil. It only reads the AWS configuration, and asks no server.
func (a *app) remoteStore() (store.Store, error) {
	switch {
	case strings.HasPrefix(a.store, "s3:"):
		s, err := s3.Open(context.Background(), a.store, s3.Options{Log: a.log}) // there is nothing to cancel
		if err != nil {
			return nil, exit.AsUsage(err)
		}
		return s, nil
	case urlRE.MatchString(a.store):
		return nil, exit.Usagef("store %q: want a directory or s3://BUCKET/PREFIX", a.store)
	}
	return nil, nil
}

// scope returns what the configuration pulls. On a host that only loads, the configuration need not say that.
func (a *app) scope() (repository.Scope, error) {
	f := config.New("pull")
	var o pullFlags
	f.Section("pull", nil, o.add)
	if err := f.Configure(a.config); err != nil {
		return repository.Scope{}, exit.AsUsage(err)
	}
	return o.scope(a)
}

// loads returns what the configuration says of load, for commands that depend on what is loaded.
func (a *app) loads() (loadFlags, error) {
	f := config.New("load")
	var o loadFlags
	f.Section("load", nil, o.add)
	if err := f.Configure(a.config); err != nil {
		return o, exit.AsUsage(err)
	}
	return o, flags.CheckTags(o.tags)
}

// latest opens the latest snapshot of what the configuration pulls. If it does not say that, the store must have
// snapshots of one scope only, or look must be set, for commands that only show something.
func (a *app) latest(ctx context.Context, s store.Store, look bool) (*snapfile.Snapshot, error) {
	scope, err := a.scope()
	if err != nil {
		return nil, err
	}
	scope.Any = look
	return repository.Latest(ctx, s, scope)
}

// openSnapshot opens the store of --store and a snapshot in it, to load or copy it, with some of its tags or, without
// any, with all.
func (a *app) openSnapshot(ctx context.Context, id string, tags []string) (store.Store, *snapfile.Snapshot, error) {
	s, err := a.openStore(false)
	if err != nil {
		return nil, nil, err
	}
	var snap *snapfile.Snapshot
	if id == "" || id == "latest" {
		snap, err = a.latest(ctx, s, false)
	} else {
		snap, err = openID(ctx, s, id)
	}
	if err == nil {
		snap, err = narrow.To(ctx, snap, tags)
	}
	return s, snap, err
}

func openID(ctx context.Context, s store.Store, id string) (*snapfile.Snapshot, error) {
	if _, err := snapfile.ManifestObject(id); err != nil {
		return nil, exit.AsUsage(err)
	}
	return repository.Open(ctx, s, id)
}

// lookAt opens a snapshot to show it.
func (a *app) lookAt(ctx context.Context, s store.Store, id string) (*snapfile.Snapshot, error) {
	if id == "latest" {
		return a.latest(ctx, s, true)
	}
	return openID(ctx, s, id)
}

// missing returns the error for something that neither the command line nor the configuration gives. how says
// how to give it.
func (a *app) missing(what, how string) error {
	return exit.Usagef("no %s: give %s (%s)", what, how, a.config.Sources())
}

// checkEnv refuses a database of another environment than --env or the configuration names.
func (a *app) checkEnv(m book.Mark) error {
	if !a.envSet {
		return nil
	}
	return m.CheckEnv(a.env)
}

func noArgs(args []string) error {
	if len(args) > 0 {
		return exit.Usagef("unexpected argument %q", args[0])
	}
	return nil
}
