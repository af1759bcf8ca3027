package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/trial/inside"
	"kojisnap/kojisnap/verify"
)

var verifyCommand = command{
	name:  "verify",
	short: "check that staging is compose-ready",
	long: `Verify asks the staging hub as a compose tool asks it, pinned at the snapshot's event, and looks at the
files below topdir that a compose would open and link. With --compose it makes a trial repository with
hard links and createrepo_c. It prints what is not ready, and exits with code 3, or with code 6 if a file's
digest did not match. A call that fails, or a tag that cannot be asked for, is one failed check, and all other
checks are made; only a hub that does not answer at all ends the run, with code 5.

With --event it verifies an event before the snapshot's, for a compose that is pinned there: against the history
in the snapshot (pull --since), or with --against against what production answers. With --db there is a failed
check for each tag whose history in staging does not reach back to the event. It does not look at files then.

Verify asks for staging's rows by id. So it finds tags, external repos and packages that staging renamed, and
names them. With --db it also knows which rows staging made first, under its own ids, and does not count
differences that follow from staging's own decisions on record, such as an imported build that was deleted
there: the check "on record" counts those.

With --in the trial repository is made where composes are made: in a container of docker or podman, or a chroot of
mock, of the image that [verify.image] or --image names for the tag and the arch. Kojisnap runs itself there: it
needs the static program that packages have. It links, runs createrepo_c, lets rpm read each rpm, looks for
requirements that nothing meets, and runs --compose-run. The container has no network, a read-only root and no
capabilities, and runs as --compose-user; topdir is one mount in it, so put DIR of --compose below topdir. No image is
pulled. An image whose os-release is not of the tag's release is a failed check; one for another arch that this host
cannot run is "unproven". In the configuration:

    [verify.image]
    "f42*" = "registry.example.com/fedora:42"
    "f42* aarch64" = "registry.example.com/fedora-aarch64:42"
    "eln*" = { image = "registry.example.com/eln:latest", release = "11" }

--in here makes the same checks without an engine, where kojisnap itself runs in the image, as in a pod of Kubernetes.
The exit code is 2 if there is no engine or no image, and 1 if the container was killed.`,
	examples: `
kojisnap verify --hub https://koji.stg.example.com/kojihub --topdir /mnt/koji --store /var/lib/kojisnap
kojisnap verify -c stg.toml --against https://koji.fedoraproject.org/kojihub
kojisnap verify -c stg.toml --event 412345
kojisnap verify -c stg.toml --arch x86_64 --compose /mnt/koji/compose/trial --compose-user apache
kojisnap verify -c stg.toml --compose /mnt/koji/compose/trial --compose-user apache --in podman --image 'f42*=registry.example.com/fedora:42'
kojisnap verify -c stg.toml --compose /mnt/koji/compose/trial --in docker --compose-run 'dnf repoclosure --repofrompath=trial,f42-compose/x86_64 --repo=trial'`,
	setup: func(f *config.Flags) runner {
		var o verifyFlags
		f.Section("verify", nil, o.addAll)
		return o.run
	},
}

// verifyFlags are the flags of verify.
type verifyFlags struct {
	wantFlags
	hub, against, db, topdir, topurl, hubTopdir string
	snapshot, compose, composeUser              string
	in, composeRun                              string
	images                                      config.Images
	composeTimeout                              time.Duration
	event                                       int64
	digest                                      bool
	jobs                                        int
	verifyKeys                                  []string
}

func (o *verifyFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&o.hub, "hub", "", "ask the staging hub at `URL`")
	fs.StringVar(&o.against, "against", "", "compare with the production hub at `URL` (default: with the snapshot)")
	fs.StringVar(&o.topdir, "topdir", "", "look at the files below `DIR`, staging's topdir (default: do not look at files)")
	addHubTopdir(fs, &o.hubTopdir)
	fs.StringVar(&o.topurl, "topurl", "", "fetch some files from `URL`, which serves topdir (default: fetch none)")
	flags.AddSnapshot(fs, &o.snapshot)
	flags.AddVerifyKey(fs, &o.verifyKeys)
	o.wantFlags.add(fs)
	fs.Var(config.NewChoice(&o.builds, "latest", "tagged", "none"), "builds", "which builds of the tags are copied")
	fs.StringVar(&o.db, "db", "", "ask the staging database `DSN` for its ids and for staging's own decisions (default: take neither into account)")
	fs.StringVar(&o.compose, "compose", "", "make a trial repository in `DIR`, which must be empty or missing")
	fs.StringVar(&o.composeUser, "compose-user", "", "try hard links as the user `NAME`")
	fs.Var(config.NewChoice(&o.in, "host", inside.Docker, inside.Podman, inside.Mock, inside.Here), "in", "make the trial repository of --compose on this host, or by an engine in the image of each tag's release; here: kojisnap runs in that image")
	fs.Var(&o.images, "image", "make the trial repositories of tags that match PATTERN in IMAGE; `PATTERN=IMAGE` may have a pattern of arches, too: \"f42* aarch64=…\"; the longest pattern counts; repeatable")
	fs.StringVar(&o.composeRun, "compose-run", "", "after the trial, run the command `CMD` of the shell in its directory, inside the image")
	config.DurationVar(fs, &o.composeTimeout, "compose-timeout", time.Hour, "end a trial inside an image after `DURATION`")
	fs.BoolVar(&o.digest, "digest", true, "read every file and check its digest, not only its size")
	fs.IntVar(&o.jobs, "jobs", 4, "send `N` requests, and read N files, at once")
}

// addAll adds the flags of verify, and those that a sync does not have.
func (o *verifyFlags) addAll(fs *pflag.FlagSet) {
	o.add(fs)
	fs.Int64Var(&o.event, "event", 0, "verify production's `EVENT`, at the latest the snapshot's (default: the snapshot's)")
}

// follow takes from copy what is not set here: verify must look for what was copied.
func (o *verifyFlags) follow(c *copyFlags) {
	o.topdir, o.hubTopdir = cmp.Or(o.topdir, c.topdir), cmp.Or(o.hubTopdir, c.hubTopdir)
	fresh := config.New(verifyCommand.name)
	new(verifyFlags).add(fresh.Set)
	for _, name := range []struct {
		flag     string
		to, from *string
	}{{"builds", &o.builds, &c.builds}, {"volume", &o.volume, &c.volume}, {"copy-volume", &o.copyVolume, &c.copyVolume}} {
		if *name.to == fresh.Set.Lookup(name.flag).DefValue {
			*name.to = *name.from
		}
	}
	for _, list := range []struct{ to, from *[]string }{{&o.tags, &c.tags}, {&o.arches, &c.arches}, {&o.sigkeys, &c.sigkeys}, {&o.unmounted, &c.unmounted}} {
		if len(*list.to) == 0 {
			*list.to = *list.from
		}
	}
}

// options returns the options without the snapshot.
func (o *verifyFlags) options(a *app) (verify.Options, error) {
	opt := verify.Options{
		Want: o.want(a), Event: o.event, Topdir: o.topdir, HubTopdir: o.hubTopdir, TopURL: o.topurl, ComposeDir: o.compose, ComposeUser: o.composeUser,
		Digest: o.digest, Jobs: o.jobs, Log: a.log, Progress: a.progress,
	}
	var err error
	if err := flags.CheckURL("topurl", o.topurl); err != nil {
		return opt, err
	}
	if err := o.checkWant(); err != nil {
		return opt, err
	}
	if o.event < 0 {
		return opt, exit.Usagef("--event %d: events count from 1", o.event)
	}
	if o.event > 0 && o.compose != "" {
		return opt, exit.Usagef("--event and --compose: a trial repository is made of what is copied, which is for the snapshot's event")
	}
	if opt.Inside, err = o.inside(); err != nil {
		return opt, err
	}
	if o.jobs < 1 {
		return opt, exit.Usagef("--jobs %d: one request at least", o.jobs)
	}
	if o.hub == "" {
		return opt, a.missing("staging hub", "--hub URL, or hub = \"…\" in [verify] of the configuration")
	}
	if opt.Hub, err = a.client(o.hub, "", hub.Options{Jobs: o.jobs}); err != nil {
		return opt, err
	}
	if o.against != "" {
		if opt.Against, err = a.client(o.against, "", hub.Options{Jobs: o.jobs}); err != nil {
			return opt, err
		}
	}
	return opt, nil
}

// inside returns how trials are made in images; nil: they are made on this host.
func (o *verifyFlags) inside() (*inside.Options, error) {
	if err := inside.Images(o.images).Check(); err != nil {
		return nil, exit.Usagef("--image %w", err)
	}
	switch {
	case o.composeTimeout <= 0:
		return nil, exit.Usagef("--compose-timeout %v: a trial needs some time", o.composeTimeout)
	case o.in == "host" && o.composeRun != "":
		return nil, exit.Usagef("--compose-run needs --in docker, podman, mock or here: the command runs inside an image")
	case o.in == "host" || o.compose == "": // without a trial repository nothing is run
		return nil, nil
	case len(o.images) == 0 && o.in != inside.Here:
		return nil, exit.Usagef("--in %s needs images: --image PATTERN=IMAGE, or [verify.image] in the configuration, such as \"f42*\" = \"registry.example.com/fedora:42\"", o.in)
	}
	return &inside.Options{Engine: o.in, Images: inside.Images(o.images), ComposeRun: o.composeRun, Timeout: o.composeTimeout}, nil
}

func (o *verifyFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	opt, err := o.options(a)
	if err != nil {
		return err
	}
	if err := a.useKeys("", o.verifyKeys); err != nil {
		return err
	}
	if o.db != "" {
		if err := a.checkDSN(o.db); err != nil {
			return err
		}
	}
	loads, err := a.loads()
	if err != nil {
		return err
	}
	if _, opt.Snapshot, err = a.openSnapshot(ctx, o.snapshot, loads.tags); err != nil {
		return err
	}
	if opt.Snapshot, err = narrow.ForComposes(ctx, opt.Snapshot, opt.Tags); err != nil {
		return err
	}
	if o.db != "" {
		if opt.Record, err = kojisnap.ReadRecord(ctx, o.db, opt.Snapshot); err != nil {
			return err
		}
		if err := a.checkEnv(opt.Record.Mark); err != nil {
			return err
		}
	}
	r, err := verify.Verify(ctx, opt)
	if err != nil {
		return err
	}
	if err := a.result(r, func(w io.Writer) { reporter{a}.showChecks(w, r) }); err != nil {
		return err
	}
	return reporter{a}.verdict(r)
}

// showChecks writes the failed checks, and those that prove nothing; on a terminal and with -v all of them, with -v with everything that is wrong.
func (a reporter) showChecks(w io.Writer, r *verify.Result) {
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	defer func() {
		tw.Flush()
		_, _ = io.WriteString(w, a.results.PaintStatus(table.String())) // a.stdout keeps the error
	}()
	for _, c := range r.Checks {
		if c.Status == verify.StatusFailed || c.Status == verify.StatusUnproven || a.terminal || a.verbose {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", c.Status, c.Name, c.Tag, c.Arch, output.Clean(c.Detail))
			shown := c.Examples
			if a.verbose {
				shown = c.All()
			}
			for _, e := range shown {
				fmt.Fprintf(tw, "\t\t\t\t%s\n", output.Clean(e))
			}
		}
	}
}

// verdict returns the error that gives the checks' exit code.
func (a reporter) verdict(r *verify.Result) error {
	if !r.Ready() {
		failed := 0
		for _, c := range r.Checks {
			if c.Status == verify.StatusFailed {
				failed++
			}
		}
		a.tell("%s at event %d: %d of %d checks failed", a.errors.Paint(output.Red, "staging is not compose-ready"), r.Event, failed, len(r.Checks))
	}
	switch {
	case r.DigestMismatch():
		return exit.AsMismatch(exit.Reported(errors.New("a digest did not match")))
	case !r.Ready():
		return exit.AsNotReady(exit.Reported(errors.New("not compose-ready")))
	}
	a.tell("%s at event %d", a.errors.Paint(output.Green, "staging is compose-ready"), r.Event)
	return nil
}
