package main

import (
	"io"
	"log/slog"
	"maps"
	"slices"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/dbsync/overlay"
	"kojisnap/kojisnap/progress"
	"kojisnap/volumes"
)

// Values that stand for what an environment leaves to the command line: that something is missing is no fault of a
// configuration.
const (
	someHub = "https://koji.invalid/kojihub"
	someDir = "/mnt/koji"
	someDSN = "dbname=koji"
)

// valueChecks are the checks that commands make before they work, by the sections whose keys they check. Each adds
// its sections to f, and returns what checks their values.
var valueChecks = []func(f *config.Flags) func(a *app) error{
	checkPullValues, checkCopyValues, checkLoadValues, checkVerifyValues, checkSyncValues, checkStatusValues, checkInitValues, checkWorkerValues, checkOtherValues,
}

// checkValues returns what is wrong with the values of a configuration as an environment sees it, key by key. env is
// empty if it has no environments.
func checkValues(c *config.Config, env string) (faults []*config.KeyFault) {
	common := func(a *app) error {
		if err := a.checkCommon(); err != nil {
			return err
		}
		_, err := a.remoteStore()
		return err
	}
	for _, add := range append([]func(f *config.Flags) func(a *app) error{nil}, valueChecks...) {
		f := config.New("")
		new(app).addFlags(f)
		if add != nil {
			add(f)
		}
		faults = append(faults, c.Blame(f.Sections(), func(c *config.Config) error {
			f := config.New("")
			a := &app{stdout: io.Discard, stderr: io.Discard, log: slog.New(slog.DiscardHandler), progress: progress.Discard, config: c, volumes: c.Volumes()}
			a.addFlags(f)
			check := common
			if add != nil {
				check = add(f)
			}
			if err := f.Configure(c); err != nil {
				return exit.AsUsage(err)
			}
			if env != "" {
				a.env = env
			}
			return check(a)
		})...)
	}
	return faults
}

func checkPullValues(f *config.Flags) func(a *app) error {
	var o pullFlags
	f.Section("pull", nil, o.add)
	return func(a *app) error {
		o.complete()
		if _, err := o.options(a); err != nil {
			return err
		}
		c, err := o.client(a)
		if err != nil {
			return err
		}
		if _, err := o.production(a, c.URL()); err != nil {
			return err
		}
		return a.usePullKeys(o.signKey, o.verifyKeys)
	}
}

// complete sets what pull needs.
func (o *pullFlags) complete() {
	if o.hub == "" && o.profile == "" {
		o.hub = someHub
	}
	if len(o.tags) == 0 && len(o.builds) == 0 && !o.everything {
		o.tags = []string{"some"}
	}
}

func checkCopyValues(f *config.Flags) func(a *app) error {
	var o copyFlags
	f.Section("copy", nil, o.add)
	return func(a *app) error {
		if o.topdir == "" {
			o.topdir = someDir
		}
		opt, err := o.options(a)
		if err != nil {
			return err
		}
		if err := opt.CheckSources(); err != nil {
			return err
		}
		return a.useKeys("", o.verifyKeys)
	}
}

func checkLoadValues(f *config.Flags) func(a *app) error {
	var o loadFlags
	f.Section("load", nil, o.add)
	return func(a *app) error {
		if o.db == "" {
			o.db = someDSN
		}
		if o.topdir == "" {
			o.topdir = someDir
		}
		if err := o.check(a); err != nil {
			return err
		}
		if _, err := flags.EventFile(o.eventFile, o.topdir, nil); err != nil {
			return err
		}
		if err := (volumes.Mapping{Prod: o.volume, Rules: a.volumes}).Validate(slices.Sorted(maps.Keys(a.volumes))); err != nil {
			return err
		}
		if o.overlay != "" {
			if _, err := overlay.Read(o.overlay); err != nil {
				return err
			}
		}
		return a.useKeys("", o.verifyKeys)
	}
}

func checkVerifyValues(f *config.Flags) func(a *app) error {
	var o verifyFlags
	f.Section("verify", nil, o.addAll)
	return func(a *app) error {
		if o.hub == "" {
			o.hub = someHub
		}
		if _, err := o.options(a); err != nil {
			return err
		}
		if o.db != "" {
			if err := a.checkDSN(o.db); err != nil {
				return err
			}
		}
		return a.useKeys("", o.verifyKeys)
	}
}

// checkSyncValues checks what only holds for the keys of several commands together.
func checkSyncValues(f *config.Flags) func(a *app) error {
	var o syncFlags
	o.add(f)
	return func(a *app) error {
		if err := flags.CheckKeepDays(o.copy.keepDays, o.load.waitFor); err != nil {
			return err
		}
		if err := checkHookTimeout(o.end.timeout); err != nil {
			return err
		}
		return a.useKeys("", o.verifyKeys)
	}
}

func checkStatusValues(f *config.Flags) func(a *app) error {
	var o statusFlags
	f.Section("status", nil, o.add)
	return func(a *app) error {
		if o.db == "" {
			o.db = someDSN
		}
		if err := o.check(a); err != nil {
			return err
		}
		return a.useKeys("", o.verifyKeys)
	}
}

func checkInitValues(f *config.Flags) func(a *app) error {
	var o initFlags
	f.Section("init", nil, o.add)
	return func(a *app) error {
		if o.db == "" {
			o.db = someDSN
		}
		return o.check(a)
	}
}

func checkWorkerValues(f *config.Flags) func(a *app) error {
	var o workerFlags
	f.Section("worker", nil, o.add)
	return func(a *app) error {
		if o.queue == "" {
			o.queue = someDSN
		}
		return o.check(a)
	}
}

// checkOtherValues checks the keys of commands that read a store.
func checkOtherValues(f *config.Flags) func(a *app) error {
	var diff diffFlags
	var prune pruneFlags
	f.Section("diff", nil, diff.add)
	f.Section("prune", nil, prune.add)
	return func(a *app) error {
		if prune.keep < 0 {
			return exit.Usagef("--keep %d: one snapshot at least", prune.keep)
		}
		if diff.db != "" {
			if err := a.checkDSN(diff.db); err != nil {
				return err
			}
		}
		return a.useKeys("", diff.verifyKeys)
	}
}
