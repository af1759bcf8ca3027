package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/verify"
)

var doctorCommand = command{
	name:  "doctor",
	short: "check all that the other commands depend on",
	long: `Doctor checks each part of a site by itself, and says in one line what it found and, if something is wrong, what
to do: the overlay, the store (it writes, reads and removes an object), production's hub and the tags that are
pulled, staging's hub, topdir with the mounted volumes, the sources of files, the provider of clones, the database with its mark,
schema, triggers and rules, and the privileges of the role. It changes nothing else. It skips what the
configuration does not name, so it is of use on hosts that only pull or only load. Its flags are those of sync,
which makes the same checks before its first step. With --only pull or --only apply it checks what that half of a
sync needs: for apply that the store has a snapshot to apply; that it takes no objects is then only a warning.

Exit code 3: a check failed.`,
	examples: `
kojisnap doctor
kojisnap doctor -c stg.toml --json
kojisnap doctor -c stg.toml --only apply`,
	setup: func(f *config.Flags) runner {
		var o syncFlags
		o.add(f)
		for _, name := range []string{"snapshot", "stamp", "metrics", "on-success", "on-failure", "on-not-ready", "pre-load", "post-load", "hook-timeout"} {
			f.Set.Lookup(name).Hidden = true
		}
		return o.doctor
	},
}

// add adds the flags of all commands that a sync runs.
func (o *syncFlags) add(f *config.Flags) {
	f.Section("pull", nil, o.pull.add)
	o.pull.flags = f.Set
	f.Section("copy", map[string]string{"tag": "compose-tag"}, o.copy.add)
	f.Section("load", map[string]string{"tag": "load-tag"}, o.load.add)
	f.Section("verify", map[string]string{"hub": "staging-hub", "tag": "compose-tag"}, o.verify.add)
	f.Section("clone", o.clone.inSync(), o.clone.add)
	f.Section("sync", nil, func(fs *pflag.FlagSet) {
		fs.Var(config.NewChoice(&o.only, "both", "pull", "apply"), "only", "run one half of a sync: pull into the store, or apply what is in the store")
		fs.BoolVar(&o.noVerify, "no-verify", false, "leave out verify")
		flags.AddStamp(fs, &o.stamp)
		o.end.add(fs)
		addHookTimeout(fs, &o.end.timeout)
		flags.AddMetrics(fs, &o.metrics)
		flags.AddVerifyKey(fs, &o.verifyKeys)
	})
}

// half is what this host runs of a sync.
func (o *syncFlags) half() kojisnap.Half {
	if o.only == "both" {
		return kojisnap.Whole
	}
	return kojisnap.Half(o.only)
}

// useKeys uses the keys of all commands together: what one of them requires holds for all.
func (o *syncFlags) useKeys(a *app) error {
	switch o.half() {
	case kojisnap.OnlyPull:
		return a.usePullKeys(o.pull.signKey, o.pull.verifyKeys)
	case kojisnap.OnlyApply: // it writes no snapshot, and need not have the private key
		return a.useKeys("", o.copy.verifyKeys, o.load.verifyKeys, o.verify.verifyKeys, o.verifyKeys)
	}
	return a.usePullKeys(o.pull.signKey, o.pull.verifyKeys, o.copy.verifyKeys, o.load.verifyKeys, o.verify.verifyKeys, o.verifyKeys)
}

// diagnosis is doctor's result.
type diagnosis struct {
	OK     bool               `json:"ok"`
	Checks []kojisnap.Finding `json:"checks"`
}

func (o *syncFlags) doctor(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	var opt kojisnap.SyncOptions
	var err error
	opt.Only = o.half()
	missing := map[string]error{} // nil: not configured
	if opt.Only == kojisnap.OnlyApply {
		if opt.Scope, err = o.pull.scope(a); err != nil {
			return err
		}
	}
	if o.pull.hub == "" && o.pull.profile == "" {
		missing[kojisnap.CheckProductionHub] = nil
	} else if opt.Hub, err = o.pull.client(a); err != nil {
		missing[kojisnap.CheckProductionHub] = err
	} else if opt.Production, err = o.pull.production(a, opt.Hub.URL()); err != nil {
		missing[kojisnap.CheckProductionHub] = err
	} else if len(o.pull.tags) > 0 || o.pull.everything {
		if opt.Pull, err = o.pull.options(a); err != nil {
			missing[kojisnap.CheckProductionHub] = err
		}
	}
	if opt.NoVerify = o.noVerify; o.verify.hub == "" {
		missing[kojisnap.CheckStagingHub] = nil
	} else if opt.Verify, err = o.verify.options(a); err != nil {
		missing[kojisnap.CheckStagingHub] = err
	}
	if o.copy.topdir == "" {
		missing[kojisnap.CheckTopdir], missing[kojisnap.CheckSources] = nil, nil
	} else if opt.Copy, err = o.copy.options(a); err != nil {
		missing[kojisnap.CheckTopdir], missing[kojisnap.CheckSources] = err, err
	} else if err := flags.CheckKeepDays(o.copy.keepDays, o.load.waitFor); err != nil {
		missing[kojisnap.CheckTopdir] = err
	}
	opt.Load = o.load.options(a)
	if opt.Load.EventFile, err = flags.EventFile(o.load.eventFile, cmp.Or(o.load.topdir, o.copy.topdir), opt.Copy.Attributes.Owner); err != nil {
		missing[kojisnap.CheckTopdir] = err
	}
	if o.clone.provider == "none" || o.copy.topdir == "" {
		missing[kojisnap.CheckClones] = nil
	} else if opt.Clone, err = o.clone.options(a, firstDirectory(opt.Copy.Sources)); err != nil {
		missing[kojisnap.CheckClones] = err
	}
	if !namesDatabase(o.load.db) {
		missing[kojisnap.CheckDatabase] = nil
	} else if err := a.checkDSN(o.load.db); err != nil {
		missing[kojisnap.CheckDatabase] = err
	}
	a.dryRun = true // do not make the directory of a store
	unusable := o.useKeys(a)
	s, err := a.openStore(false)
	switch {
	case unusable != nil:
		missing[kojisnap.CheckStore] = unusable
	case errors.Is(err, os.ErrNotExist):
		missing[kojisnap.CheckStore] = fmt.Errorf("%w; the first pull makes it, if this is where it is to be", err)
	case err != nil:
		missing[kojisnap.CheckStore] = err
	}
	r := diagnosis{Checks: kojisnap.Doctor(ctx, s, opt, missing)}
	r.OK = !slices.ContainsFunc(r.Checks, func(f kojisnap.Finding) bool { return f.Status == verify.StatusFailed })
	if err := a.result(r, func(w io.Writer) {
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, f := range r.Checks {
			if f.Status == verify.StatusFailed || !a.quiet {
				fmt.Fprintf(tw, "%s\t%s\t%s\n", f.Status, f.Check, output.Clean(f.Detail))
			}
		}
		tw.Flush()
	}); err != nil {
		return err
	}
	if !r.OK {
		return exit.AsNotReady(exit.Reported(errors.New("a check failed")))
	}
	return ctx.Err()
}
