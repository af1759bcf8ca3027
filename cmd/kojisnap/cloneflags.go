package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/volumes/clone"
	"kojisnap/volumes/clone/btrfs"
	"kojisnap/volumes/clone/ontap"
	"kojisnap/volumes/clone/overlay"
	"kojisnap/volumes/clone/program"
	"kojisnap/volumes/topdir"
)

// cloneFlags say how clones are made: the table [clone].
type cloneFlags struct {
	provider, dir            string
	lower, subvolume         string
	liveLower, metacopy      bool
	program                  []string
	programTimeout           time.Duration
	ontap                    ontap.Options
	ontapPasswordFile        string
	keep                     int
	composeDir, composeOwner string
}

func (o *cloneFlags) add(fs *pflag.FlagSet) {
	fs.Var(config.NewChoice(&o.provider, "none", overlay.Name, btrfs.Name, program.Name, ontap.Name), "provider", "how clones are made; none: none are")
	fs.IntVar(&o.keep, "keep", 2, "keep `N` clones beside the one in use, for composes that run")
	fs.StringVar(&o.dir, "dir", "", "overlay, btrfs: make clones below `DIR`; ontap: where this host has --ontap-junction")
	fs.StringVar(&o.lower, "lower", "", "overlay: production's tree as it was at one moment, `PATH|PATTERN`")
	fs.BoolVar(&o.liveLower, "live-lower", false, "overlay: accept a lower tree that production goes on to change (default: refuse it)")
	fs.BoolVar(&o.metacopy, "metacopy", false, "overlay: no reflinks with --live-lower: links take half the time, and change with production's files")
	fs.StringVar(&o.subvolume, "subvolume", "", "btrfs: production's tree, a subvolume or `DIR` in one")
	fs.StringArrayVar(&o.program, "program", nil, "exec: the `PROGRAM`, and its arguments; repeatable")
	fs.DurationVar(&o.programTimeout, "program-timeout", program.DefaultTimeout, "exec: kill a call of the program after `DURATION`")
	fs.StringVar(&o.ontap.URL, "ontap-url", "", "ontap: the cluster's management interface, `https://HOST`")
	fs.StringVar(&o.ontap.User, "ontap-user", "", "ontap: log in as `USER`")
	fs.StringVar(&o.ontapPasswordFile, "ontap-password-file", "", "ontap: read the password from `FILE` (default: the environment variable KOJISNAP_ONTAP_PASSWORD)")
	fs.StringVar(&o.ontap.CAFile, "ontap-ca-file", "", "ontap: trust the certificates in `FILE` (default: the system's)")
	fs.StringVar(&o.ontap.SVM, "ontap-svm", "", "ontap: the `SVM` of production's volume")
	fs.StringVar(&o.ontap.Volume, "ontap-volume", "", "ontap: production's `VOLUME`")
	fs.StringVar(&o.ontap.Junction, "ontap-junction", "", "ontap: mount clones below `PATH` in the SVM's namespace")
	fs.StringVar(&o.ontap.Below, "ontap-below", "", "ontap: production's tree is at `PATH` in its volume (default: it is the volume)")
	fs.StringVar(&o.composeDir, "compose-dir", "compose", "make the directory `NAME` in each clone, for composes; empty: none")
	fs.StringVar(&o.composeOwner, "compose-owner", "", "make that directory of `USER[:GROUP]` (default: the process's)")
}

// inSync are the names of the flags on the command lines of sync and doctor.
func (o *cloneFlags) inSync() map[string]string {
	names := map[string]string{}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(cloneFlags).add(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		if !strings.HasPrefix(f.Name, "ontap-") {
			names[f.Name] = "clone-" + f.Name
		}
	})
	return names
}

// options returns the options; Provider is nil for none.
func (o *cloneFlags) options(a *app, source string) (opt kojisnap.CloneOptions, err error) {
	opt = kojisnap.CloneOptions{ProviderName: o.provider, Keep: o.keep, Compose: o.composeDir}
	if o.keep < 0 {
		return opt, exit.Usagef("--keep %d: want 0 or more clones beside the one in use", o.keep)
	}
	if o.composeOwner != "" {
		owner, err := topdir.ParseOwner(o.composeOwner)
		if err != nil {
			return opt, exit.Usagef("--compose-owner: %w", err)
		}
		opt.ComposeOwner = &owner
	}
	switch o.provider {
	case overlay.Name:
		opt.Provider, err = provider(overlay.New(overlay.Options{Env: a.env, Dir: o.dir, Lower: o.lower, LiveLower: o.liveLower, Metacopy: o.metacopy}))
	case btrfs.Name:
		opt.Provider, err = provider(btrfs.New(btrfs.Options{Env: a.env, Dir: o.dir, Subvolume: o.subvolume}))
	case program.Name:
		if o.programTimeout <= 0 {
			return opt, exit.Usagef("--program-timeout %v: want more than 0", o.programTimeout)
		}
		opt.Provider, err = provider(program.New(program.Options{Env: a.env, Command: o.program, Source: source, Timeout: o.programTimeout}))
	case ontap.Name:
		with := o.ontap
		with.Env, with.Dir = a.env, o.dir
		if with.Password, err = o.ontapPassword(); err == nil {
			opt.Provider, err = provider(ontap.New(with))
		}
	}
	if err != nil {
		err = exit.AsUsage(err)
	}
	return opt, err
}

// provider makes no interface of a nil pointer.
func provider[P clone.Provider](p P, err error) (clone.Provider, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (o *cloneFlags) ontapPassword() (string, error) {
	if o.ontapPasswordFile == "" {
		return os.Getenv("KOJISNAP_ONTAP_PASSWORD"), nil
	}
	text, err := os.ReadFile(o.ontapPasswordFile)
	if err != nil {
		return "", fmt.Errorf("--ontap-password-file: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// cloneSite are the flags that say where staging is: some of [copy].
type cloneSite struct {
	topdir, snapshot   string
	sources            []string
	volume, copyVolume string
	newTopdir          bool
	verifyKeys         []string
}

func (o *cloneSite) add(fs *pflag.FlagSet) {
	fs.StringVar(&o.topdir, "topdir", "", "work below `DIR`, staging's topdir, usually /mnt/koji")
	fs.StringArrayVar(&o.sources, "source", nil, "production's tree at `DIR|URL`, as for copy; the first directory is the read-only volume")
	flags.AddVolumes(fs, &o.volume, &o.copyVolume)
	flags.AddSnapshot(fs, &o.snapshot)
	flags.AddVerifyKey(fs, &o.verifyKeys)
	fs.BoolVar(&o.newTopdir, "new-topdir", false, "accept an empty topdir although a clone was in use there (default: refuse it as not mounted)")
}

// options returns what of copy's options says where staging is.
func (o *cloneSite) options(a *app) (kojisnap.CopyOptions, error) {
	if o.topdir == "" {
		return kojisnap.CopyOptions{}, a.missing("topdir", "--topdir DIR, or topdir = \"…\" in [copy] of the configuration")
	}
	want := wantFlags{volume: o.volume, copyVolume: o.copyVolume}
	if err := want.checkWant(); err != nil {
		return kojisnap.CopyOptions{}, err
	}
	return kojisnap.CopyOptions{Want: compose.Want{Volume: o.volume, CopyVolume: o.copyVolume, Rules: a.volumes}, Topdir: o.topdir, Sources: o.sources,
		Env: a.env, NewTopdir: o.newTopdir, DryRun: a.dryRun, Log: a.log, Progress: a.progress}, nil
}

// directory returns the first source that is a directory.
func firstDirectory(sources []string) string {
	for _, s := range sources {
		if !strings.Contains(s, "://") {
			return s
		}
	}
	return ""
}
