package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/kojisnap"
	"kojisnap/volumes/clone"
)

const cloneHelp = `A clone is a writable copy of production's tree that costs nothing: composes whose directory is inside it hard-link
production's rpms, and nothing is copied. Production's tree is never changed. Where clones are used, say builds = "none"
in [copy]. Staging's own builds stay below topdir; a compose copies them.

Providers:
overlay   overlayfs on this host, over a tree as it was at one moment: a snapshot of the file server (--lower, a path, or
          a pattern of which the last match by name counts). What is written goes below --dir. Needs root.
btrfs     a snapshot of --subvolume, below --dir on the same file system
exec      a program of yours; volumes/clone/program/PROTOCOL.md, and examples for ZFS, LVM and CSI in scripts/clone
ontap     FlexClone volumes of NetApp ONTAP by its REST API; --dir is where this host has --ontap-junction. Tested
          against a server of our own that answers as NetApp's documentation says; no filer has been tried.
`

var cloneCommand = command{
	name:  "clone",
	short: "make a writable clone of production's tree, and show it in staging",
	long: cloneHelp + `
Clone makes a clone, checks it, and then leads the symlink vol/prod/packages below topdir there, by one rename. The
symlink .kojisnap/clone leads to the clone, too: composes resolve it when they begin, and work in its directory
compose. Composes that run stay in the clone in which they began. The provider overlay first links a large file and
counts what that writes; where links would copy the data it refuses.

The id of a clone is ENVIRONMENT-EVENT-TIME. The event is that of the snapshot, the latest one unless --snapshot says
another; make clones after the pull. A note below topdir, in .kojisnap/clones, is written before the clone is made: a
run that was killed is resumed by the next one. If anything fails, vol/prod goes on to show what it showed.

Production's other volumes, such as archives, are other file systems: vol/prod_NAME goes on to lead into the read-only
tree (--source), and composes copy the rpms that they take from there. A volume that [volumes] maps to prod itself
cannot be seen through a clone.

If --provider and its keys are in [clone], a sync makes a clone after the pull, unless the one in use is of the same
snapshot and well, and discards old ones at its end.`,
	examples: `
kojisnap clone --provider overlay --dir /srv/clones --lower '/mnt/fedora_koji_prod/.snapshot/daily.*/koji' -c stg.toml
kojisnap clone --provider btrfs --dir /srv/koji/clones --subvolume /srv/koji/prod --topdir /mnt/koji --store /var/lib/kojisnap
kojisnap clone -c stg.toml --dry-run`,
	setup: func(f *config.Flags) runner {
		var o cloneCommandFlags
		f.Section("copy", nil, o.site.add)
		f.Section("clone", nil, o.add)
		return o.clone
	},
}

var clonesCommand = command{
	name:  "clones",
	short: "list the clones of production's tree",
	long: `Clones lists the clones on record below topdir, and those beside them that the provider knows: state, id, the
directory, and what is wrong. With --mount it mounts again all that are on record, as is necessary after a reboot with
the provider overlay; run it then before staging's hub and its composes start.

Exit code 3: the clone in use cannot be used.`,
	examples: `
kojisnap clones -c stg.toml
kojisnap clones -c stg.toml --mount
kojisnap clones -c stg.toml --json`,
	setup: func(f *config.Flags) runner {
		var o cloneCommandFlags
		o.addSite(f)
		f.Section("clones", nil, func(fs *pflag.FlagSet) {
			fs.BoolVar(&o.mount, "mount", false, "mount again the clones on record")
		})
		return o.clones
	},
}

var discardCommand = command{
	name: "discard",
	args: "[ID]",

	short: "discard a clone of production's tree, with what composes wrote in it",
	long: `Discard removes the clone with an id, as kojisnap clones lists it, and all that was written into it. A clone in which
files are open is left alone, with exit code 5. The one that vol/prod shows is refused, unless --back is given: then
vol/prod shows the read-only tree (--source) again first.

Without an id it discards what a sync would: all clones but the one in use, --keep before it, and the last one with
which verify found staging ready. It discards only clones with a note below topdir, and nothing else.`,
	examples: `
kojisnap discard stg-412345-20261129t202030z -c stg.toml
kojisnap discard -c stg.toml --keep 0
kojisnap discard stg-412345-20261129t202030z -c stg.toml --back`,
	setup: func(f *config.Flags) runner {
		var o cloneCommandFlags
		o.addSite(f)
		f.Section("discard", nil, func(fs *pflag.FlagSet) {
			fs.BoolVar(&o.back, "back", false, "lead the volume back to the read-only tree, if it shows the clone")
		})
		return o.discard
	},
}

type cloneCommandFlags struct {
	cloneFlags
	site        cloneSite
	mount, back bool
}

// addSite adds the flags of the site for commands on clones that there are: they take no snapshot.
func (o *cloneCommandFlags) addSite(f *config.Flags) {
	f.Section("copy", nil, o.site.add)
	f.Section("clone", nil, o.add)
	f.Set.Lookup("snapshot").Hidden = true
}

// open returns the options of all clone commands, which need a provider.
func (o *cloneCommandFlags) open(a *app) (c kojisnap.CopyOptions, opt kojisnap.CloneOptions, err error) {
	if c, err = o.site.options(a); err != nil {
		return c, opt, err
	}
	if opt, err = o.options(a, firstDirectory(c.Sources)); err != nil {
		return c, opt, err
	}
	if opt.Provider == nil {
		return c, opt, a.missing("provider of clones", "--provider overlay, btrfs, exec or ontap, or provider = \"…\" in [clone] of the configuration")
	}
	return c, opt, nil
}

// cloneResult is the result of clone.
type cloneResult struct {
	*clone.Cloned
	Provider string `json:"provider"`
	DryRun   bool   `json:"dry_run,omitempty"`
	Snapshot string `json:"snapshot"`
	Event    int64  `json:"event"`
}

func (o *cloneCommandFlags) clone(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	c, opt, err := o.open(a)
	if err != nil {
		return err
	}
	opt.Again = true
	if err := a.useKeys("", o.site.verifyKeys); err != nil {
		return err
	}
	s, snap, err := a.openSnapshot(ctx, o.site.snapshot, nil)
	if err != nil {
		return err
	}
	r := cloneResult{Cloned: &clone.Cloned{}, Provider: opt.ProviderName, Snapshot: snap.ID, Event: snap.Manifest.Event}
	if a.dryRun {
		r.DryRun = true
		if err := checkProvider(ctx, c, opt, r.Cloned); err != nil {
			return err
		}
		if err := a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "clone by %s after event %d (%s)\n", r.Provider, r.Event, r.Snapshot)
		}); err != nil {
			return err
		}
		return exit.Pending()
	}
	if r.Cloned, err = kojisnap.MakeClone(ctx, snap, s, c, opt); err != nil {
		return err
	}
	a.tell("clone %s is at %s, made in %.1f s", r.ID, r.Path, r.Seconds)
	return a.result(r, func(w io.Writer) { fmt.Fprintln(w, r.ID) })
}

// checkProvider says why no clone could be made, and what is in use now.
func checkProvider(ctx context.Context, c kojisnap.CopyOptions, opt kojisnap.CloneOptions, m *clone.Cloned) error {
	k, err := opt.Keeper(c)
	if err != nil {
		return err
	}
	if p, ok := opt.Provider.(clone.Checker); ok {
		if err := p.Check(ctx); err != nil {
			return err
		}
	}
	now, err := clone.Current(k.Topdir, k.Volume)
	if err == nil && now != nil {
		m.Previous = now.ID
	}
	return err
}

// clonesResult is the result of clones.
type clonesResult struct {
	Clones []clone.Listed `json:"clones"`
}

func (o *cloneCommandFlags) clones(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	c, opt, err := o.open(a)
	if err != nil {
		return err
	}
	k, err := opt.Keeper(c)
	if err != nil {
		return err
	}
	var failed error
	if o.mount && !a.dryRun {
		failed = k.Remount(ctx)
	}
	list, err := k.List(ctx)
	if err != nil {
		return errors.Join(failed, err)
	}
	err = a.result(clonesResult{list}, func(w io.Writer) { showClones(w, list) })
	if err != nil {
		return err
	}
	for _, l := range list {
		if l.State == "in use" && l.Trouble != "" && failed == nil {
			return exit.AsNotReady(exit.Reported(errors.New(l.Trouble)))
		}
	}
	return failed
}

func showClones(w io.Writer, list []clone.Listed) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	for _, l := range list {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", l.State, l.ID, output.Clean(l.Path), output.Clean(l.Trouble))
	}
}

func (o *cloneCommandFlags) discard(ctx context.Context, a *app, args []string) error {
	if len(args) > 1 {
		return noArgs(args[1:])
	}
	c, opt, err := o.open(a)
	if err != nil {
		return err
	}
	k, err := opt.Keeper(c)
	if err != nil {
		return err
	}
	d := &clone.Discarded{Discarded: []string{}}
	switch {
	case len(args) == 1:
		if _, err := clone.ParseID(args[0]); err != nil {
			return exit.AsUsage(err)
		}
		if a.dryRun {
			d.Discarded = args
			break
		}
		if err := k.Discard(ctx, args[0], o.back); err != nil {
			return err
		}
		d.Discarded = args
	case o.back:
		return exit.Usagef("--back is about the clone that vol/prod shows: give its id")
	case a.dryRun:
		if d.Discarded, err = k.Leaving(); err != nil {
			return err
		}
	default:
		if d, err = k.Retire(ctx); err != nil {
			return err
		}
	}
	err = a.result(d, func(w io.Writer) {
		for _, id := range d.Discarded {
			fmt.Fprintln(w, id)
		}
	})
	if err != nil {
		return err
	}
	if a.dryRun && len(d.Discarded) > 0 {
		return exit.Pending()
	}
	reporter{a}.tellDiscarded(d)
	return nil
}

// tellDiscarded says which clones could not be discarded.
func (a reporter) tellDiscarded(d *clone.Discarded) {
	if d == nil {
		return
	}
	for _, id := range d.Busy {
		a.log.Info("a clone is in use, and is discarded later", "clone", id)
	}
	for _, id := range d.Others {
		a.log.Warn("a clone of another provider stays: kojisnap discard ID --provider NAME removes it", "clone", id)
	}
	for id, why := range d.Failed {
		a.log.Warn("a clone could not be discarded: the next sync tries again", "clone", id, "why", why)
	}
}
