package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/store/signed"
)

// app is what every command has: the common flags and what follows from them.
type app struct {
	stdout, stderr io.Writer

	configDir                string // where it is looked for without configFile
	configFile, env, store   string
	envSet                   bool // env is not the default
	dryRun, json, exitOnLock bool
	quiet, verbose, debug    bool
	progressMode, logFormat  string
	lockFile                 string

	config   *config
	volumes  map[string]string // production's volumes by name: staging's
	keys     signed.Options    // of the store
	log      *slog.Logger
	progress progress.Progress
	terminal bool // standard error is one
	document bool // the JSON document has been begun
	nagios   bool // the caller wants a monitoring plugin's line and codes, also for errors
	unlock   func()
}

// addFlags adds the common flags.
func (a *app) addFlags(f *flags) {
	f.section(commonSection, nil, func(fs *pflag.FlagSet) {
		fs.StringVarP(&a.configFile, "config", "c", "", "read `FILE` instead of "+configDir+"/"+configName+" and conf.d/*.toml")
		fs.StringVar(&a.env, "env", repository.DefaultEnv, "`NAME` of the staging environment")
		fs.StringVar(&a.store, "store", "", "where snapshots are: a `DIR`ectory, or s3://BUCKET/PREFIX[?endpoint=URL&region=NAME]")
		fs.BoolVarP(&a.dryRun, "dry-run", "n", false, "say what would be done, and do nothing")
		fs.BoolVar(&a.dryRun, "test", false, "the same as --dry-run")
		fs.BoolVarP(&a.quiet, "quiet", "q", false, "errors only")
		fs.BoolVarP(&a.verbose, "verbose", "v", false, "say what is done")
		fs.BoolVar(&a.debug, "debug", false, "say everything")
		fs.Var(newChoice(&a.progressMode, "auto", "bar", "plain", "none"), "progress", "how progress is shown; auto: bars on a terminal")
		fs.BoolVar(&a.json, "json", false, "one JSON document on standard output: the result, the error, the exit code")
		fs.Var(newChoice(&a.logFormat, "text", "json"), "log-format", "of messages on standard error")
		fs.StringVar(&a.lockFile, "lock-file", "", "hold a lock on `FILE` while at work, which says who holds it; in a directory of kojisnap's own")
		fs.BoolVar(&a.exitOnLock, "exit-on-lock", false, "exit with code 4 if the lock is held, instead of waiting, and without a word unless -v is given")
	})
}

// begin reads the configuration, and takes the lock.
func (a *app) begin(ctx context.Context, command string, f *flags) error {
	var err error
	if a.config, err = readConfig(a.configFile, a.configDir); err != nil {
		return err
	}
	if err := f.configure(a.config); err != nil {
		return err
	}
	if err := a.settle(f.set); err != nil {
		return err
	}
	if a.volumes, err = a.config.volumes(); err != nil {
		return err
	}
	if file, ok := unhidden(a.stderr).(*os.File); ok {
		a.terminal = term.IsTerminal(int(file.Fd()))
	}
	a.progress = a.newProgress()
	a.log = a.newLog()
	for _, name := range a.config.unread {
		a.log.WarnContext(ctx, "not read, as only *.toml is: rename it, or remove it", "file", name)
	}
	// Who asks how things stand does not wait for a sync that is at work.
	if a.lockFile != "" && command != statusCommand.name {
		if a.unlock, err = lockfile.Lock(ctx, a.lockFile, !a.exitOnLock); err != nil {
			return err
		}
	}
	a.log.DebugContext(ctx, "kojisnap", "version", version, "command", command)
	return nil
}

// settle decides between flags that exclude each other: what the command line says goes before the
// configuration, and one of them alone can be said there.
func (a *app) settle(set *pflag.FlagSet) error {
	_, _, configured := a.config.lookup(commonSection, "env")
	a.envSet = configured || set.Changed("env")
	if louder := a.verbose || a.debug; a.quiet && louder {
		switch said := set.Changed("verbose") || set.Changed("debug"); {
		case said == set.Changed("quiet"):
			return usagef("-q and -v (or --debug) exclude each other: give one of them")
		case said:
			a.quiet = false
		default:
			a.verbose, a.debug = false, false
		}
	}
	if err := setup.CheckEnvironment(a.env); err != nil {
		return usageError{err}
	}
	if a.exitOnLock && a.lockFile == "" {
		return usagef("--exit-on-lock has no effect without --lock-file FILE, the lock that it is about")
	}
	return nil
}

func (a *app) end() {
	if a.unlock != nil {
		a.unlock()
	}
}

// urlRE finds what is a URL, or was meant for one, and would be a strange directory.
var urlRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:/`)

// openStore opens the store of the flag, with the keys that are in use. One that is only read must exist.
func (a *app) openStore(write bool) (store.Store, error) {
	s, err := a.plainStore(write)
	if err != nil {
		return nil, err
	}
	return a.withKeys(s), nil
}

func (a *app) plainStore(write bool) (store.Store, error) {
	switch {
	case a.store == "":
		return nil, a.missing("store", "--store DIR or s3://BUCKET/PREFIX, or store = \"…\" in the configuration")
	case strings.HasPrefix(a.store, "s3:"):
		// This reads the AWS configuration and asks no server: there is nothing to cancel.
		s, err := s3.Open(context.Background(), a.store, s3.Options{Log: a.log})
		if err != nil {
			return nil, usageError{err}
		}
		return s, nil
	case urlRE.MatchString(a.store):
		return nil, usagef("store %q: want a directory or s3://BUCKET/PREFIX", a.store)
	case write && !a.dryRun:
		return dir.Open(a.store)
	}
	s, err := dir.OpenExisting(a.store)
	if err != nil && write && errors.Is(err, os.ErrNotExist) {
		return nil, nil // a dry run before the first pull
	}
	return s, err
}

// scope is what the configuration pulls, as far as it says: on a host that only loads it need not.
func (a *app) scope() (repository.Scope, error) {
	f := newFlags("pull")
	var o pullFlags
	f.section("pull", nil, o.add)
	if err := f.configure(a.config); err != nil {
		return repository.Scope{}, err
	}
	if err := checkTags(o.tags); err != nil {
		return repository.Scope{}, err
	}
	scope := repository.Scope{Tags: o.tags}
	if o.hub == "" && o.profile == "" {
		return scope, nil
	}
	c, err := o.client(a)
	if err != nil {
		return scope, err
	}
	scope.Hub = c.URL()
	return scope, nil
}

// latest opens the latest snapshot of what the configuration pulls. Where that is not said, the store
// must leave no choice, but to who only looks.
func (a *app) latest(ctx context.Context, s store.Store, look bool) (*snapfile.Snapshot, error) {
	scope, err := a.scope()
	if err != nil {
		return nil, err
	}
	scope.Any = look
	return repository.Latest(ctx, s, scope)
}

// openSnapshot opens a snapshot of the flag's store, as what is to be staged.
func (a *app) openSnapshot(ctx context.Context, id string) (store.Store, *snapfile.Snapshot, error) {
	s, err := a.openStore(false)
	if err != nil {
		return nil, nil, err
	}
	if id == "" || id == "latest" {
		snap, err := a.latest(ctx, s, false)
		return s, snap, err
	}
	snap, err := openID(ctx, s, id)
	return s, snap, err
}

func openID(ctx context.Context, s store.Store, id string) (*snapfile.Snapshot, error) {
	if _, err := snapfile.ManifestObject(id); err != nil {
		return nil, usageError{err}
	}
	return repository.Open(ctx, s, id)
}

// lookAt opens a snapshot only to show it.
func (a *app) lookAt(ctx context.Context, s store.Store, id string) (*snapfile.Snapshot, error) {
	if id == "latest" {
		return a.latest(ctx, s, true)
	}
	return openID(ctx, s, id)
}

// result shows what a command did: as JSON if asked, else as the text that show writes.
func (a *app) result(v any, show func(w io.Writer)) error {
	if !a.json {
		if show != nil {
			show(a.stdout)
		}
		return nil
	}
	return a.openDocument(v)
}

// tell writes a line for a person who watches; cron and pipes get none.
func (a *app) tell(format string, args ...any) {
	if a.terminal && !a.quiet && !a.json && a.logFormat == "text" {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// missing is the error of something that neither the command line nor the configuration names, with how to
// give it.
func (a *app) missing(what, how string) error {
	return usagef("no %s: give %s (%s)", what, how, a.config.sources())
}

// checkEnv refuses a database of another environment than the one that was named, if one was.
func (a *app) checkEnv(m book.Mark) error {
	if !a.envSet {
		return nil
	}
	return m.CheckEnv(a.env)
}

func noArgs(args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q", args[0])
	}
	return nil
}
