package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

var copyCommand = command{
	name:  "copy",
	short: "make the files that composes hard-link exist below topdir",
	long: `Copy makes a snapshot's builds complete below staging's topdir: Koji's relative symlink for every build
on DEFAULT, and the latest builds of the tags as regular files on a writable volume, where a compose can
hard-link them. It verifies every file before the file is visible. It writes nothing below the read-only
volume, and never touches staging's own files.

Volumes vol/prod and vol/prod_NAME are directories with one symlink, packages, into production's tree. Copy
refuses a tree that staging's hub could write, because a build that is deleted or moved in staging would be
deleted in production; --writable-source accepts it. The hub's user is --owner, or else the owner of topdir's
directory work, or else of topdir. A tree counts as writable if it is not on a read-only mount and its mode
lets that user write. This does not concern URLs.

Beside its wanted files a copied build has symlinks to production's other files. They begin with the absolute
path that staging's hub has for topdir: give --hub-topdir if that differs from --topdir. All who read topdir's
files must have it at that path. The next run replaces symlinks that an earlier version made, and those with
another path.

Files belong to the process's user and have production's mode, unless --owner, --mode or --selinux say
otherwise; only root can give files to another user. A hard link is production's own inode, and copy never
changes that: if its owner, mode or label differ, copy copies the file instead.

A ledger below topdir, .kojisnap/ledger, lists what was copied; the store has a copy of it. A run compares
the ledger with what the snapshot's tags need, and does not look at files that the ledger has, unless a
package's directory is missing. It does look at the symlinks on DEFAULT: if a delete or move in Koji failed on
the read-only volume and removed one, copy restores and names it, as far as the database (--db) does not say
that staging decided so. It makes no files of builds again that staging deleted, reset, promoted or moved.

--audit looks at every file, makes missing ones again, and reports what has changed; --verify digest reads all
of them, too. A damaged copy is named, and the exit code is 6, until --repair or a sync makes it again, as a
new file: composes keep what they have linked. --repair reads all that was copied. Another whole rpm in the
place of a copy belongs to somebody, and stays. Owners and modes that somebody changed are put right and
named. If --owner, --mode or --selinux differ from those of the last run, all files get the new ones. An audit
also rebuilds a damaged ledger: files whose digest is the snapshot's count as copied, others stay and are
reported. If the ledger is lost, copy takes the one in the store. Copies of builds that are no longer needed
stay; sync removes them after --keep-days.

A source s3://BUCKET/PREFIX is production's tree as objects, PREFIX/packages/NAME/… and
PREFIX/vol/VOLUME/packages/…, with the credentials and the ?endpoint=URL, ?region=NAME and
?path-style=false that --store takes. Files get the time that rclone or s3fs stored with the object
(x-amz-meta-mtime), or else the time of its upload.

If something is wrong with one row, file or directory (a name that no path can have, a malformed digest, a file
that is lost or cannot be read, something in the way), that keeps back its build, file or symlink alone. Each
is named once, in a line and in --json as "held". All else is done, and the exit code is 3, or 6 if a digest did
not match. The next run tries again. A file that a server denies (403) counts as missing there.

If one of production's volumes is not here, such as an archive whose mount is missing, only its builds are kept
back: existing copies stay, other builds stay on the read-only volume, copy names the volume and the directory
that it looked for, and the exit code is 3. A site that never mounts a volume says so with --unmounted VOLUME, or
unmounted = ["archive"] in the configuration: its builds are then left out without an error, verify counts their
rpms in a warning, and -v lists them.

Copy matches the package filters of inheritance as Koji's hub does, by Python's regular expressions. If one
cannot be evaluated, because Python refuses it or a match takes too long, packages that depend on it stay where
they are; copy says so, and the exit code is 3.

--list0 is for a site that reaches production's files by other means alone: it prints what a copy needs and staging
does not have, for rsync --files-from=- -0, and asks no source. Of a signed copy it names the rpm and the signature
header, of which copy makes it. --ignore-missing-args makes rsync pass over what production does not have, such as
signature headers that nobody needs. The tree that is carried then is a source, as file:///DIR: a source like that
may have any part of production's tree, and is never taken for the read-only volume. Without --topdir the ledger in
the store says what staging has.

--builds all copies every complete build of the snapshot, whole, whatever --tag and --arch say: files that the database knows, checked by their
digests, and all others of a build's directory (logs, metadata.json), by size and time. Nothing else of production's tree
is copied. It works by shards, blocks of 4096 builds by id, each at most 500 GB. The first run plans: it reads the snapshot once,
and writes the rows of each shard below topdir, in .kojisnap/plans. --shard I/N does the part of worker I of N, each with topdir
at hand, on as many hosts as there are. A shard is done when its ledger, in .kojisnap/ledger.d, has all of its plan; such a shard
costs nothing in later runs while production's rows of it stay the same. If shards are not done in the end, each is named, and
the exit code is 3; --status tells the same without copying. A shard that another process works on is passed over. Builds that a
copy of tags made before move to the shards' ledgers, and get what they lack. Of --sigkey, signed copies that production has pruned
are made. A copy of tags leaves builds alone that shards have.

--dry-run prints for each tag and arch how many files and bytes are planned, exist already, and would be made in
which way, then a line for each action. With --json it prints the same as "summary" and "actions": for each
build the directory at the source and below topdir, for each file its path in it, how it would be made, and its
size and digest.`,
	examples: `
kojisnap copy --source /mnt/fedora_koji_prod/koji --topdir /mnt/koji --store /var/lib/kojisnap
kojisnap copy -c stg.toml --arch x86_64 --sigkey 105ef944 --dry-run
kojisnap copy -c stg.toml --source /mnt/fedora_koji_prod/koji --source 's3://koji/tree?endpoint=https://s3.example.com'
kojisnap copy -c stg.toml --bwlimit 50M --bwlimit https://kojipkgs.fedoraproject.org=5M
kojisnap copy -c stg.toml --audit --verify digest
kojisnap copy -c stg.toml --builds all --shard 1/4
kojisnap copy -c stg.toml --builds all --status
kojisnap copy -c stg.toml --repair
kojisnap copy -c stg.toml --list0 | rsync -a -0 --files-from=- --ignore-missing-args production:/mnt/koji/ /srv/carried/
kojisnap copy -c stg.toml --source file:///srv/carried`,
	setup: func(f *config.Flags) runner {
		var o copyFlags
		f.Section("copy", nil, func(fs *pflag.FlagSet) {
			o.add(fs)
			fs.StringVar(&o.shard, "shard", "", "with --builds all, do the part of worker I of N, as `I/N`, or as I+1/N counted from 0; the parts of N workers are all (default: do all)")
			fs.IntVar(&o.slots, "slots", 16, "with --queue, let all workers together copy `N` shards at a time; each keeps to an Nth of --bwlimit and --max-requests")
			fs.StringVar(&o.auditPart, "part", "", "with --builds all and --audit, look at part I of N of all shards, as `I/N`: all parts, one each day, are a rolling audit")
			fs.BoolVar(&o.status, "status", false, "with --builds all, tell which shards are whole, and with --queue how far workers are, and copy nothing")
			fs.BoolVar(&o.list0, "list0", false, "print, each with a NUL at its end, the paths below production's topdir that a copy needs, and copy nothing")
		})
		f.Section("worker", nil, o.queueFlags.add)
		return o.run
	},
}

// wantFlags say which files composes need; copy and verify share them.
type wantFlags struct {
	tags, arches, sigkeys      []string
	unmounted                  []string
	builds, volume, copyVolume string
}

func (o *wantFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&o.tags, "tag", nil, "compose `TAG`, with the content tags of its modules: a name, a pattern, or !TAG to leave out, as for pull; repeatable (default: the tags that were pulled)")
	fs.StringArrayVar(&o.arches, "arch", nil, "compose `ARCH`; repeatable (default: all)")
	fs.StringArrayVar(&o.sigkeys, "sigkey", nil, "take rpms signed by `KEY`; repeatable, in the order of preference; empty: unsigned rpms")
	flags.AddVolumes(fs, &o.volume, &o.copyVolume)
	fs.StringArrayVar(&o.unmounted, "unmounted", nil, "leave out the builds on production's `VOLUME`, which this site never mounts; repeatable")
}

// checkWant refuses names that nothing can have.
func (o *wantFlags) checkWant() error {
	for _, volume := range []struct{ flag, name string }{{"volume", o.volume}, {"copy-volume", o.copyVolume}} {
		if err := volumes.CheckName("volume name", volume.name); err != nil {
			return exit.Usagef("--%s: %w", volume.flag, err)
		}
	}
	if err := flags.CheckTags(o.tags); err != nil {
		return err
	}
	return flags.CheckNames("arch", o.arches)
}

func (o *wantFlags) want(a *app) compose.Want {
	return compose.Want{
		Tags: o.tags, Arches: o.arches, SigKeys: o.sigkeys, Builds: compose.Builds(o.builds),
		Volume: o.volume, CopyVolume: o.copyVolume, Rules: a.volumes, Unmounted: o.unmounted,
	}
}

// addHubTopdir adds the flag that copy and verify share.
func addHubTopdir(fs *pflag.FlagSet, path *string) {
	fs.StringVar(path, "hub-topdir", "", "make symlinks for a hub whose topdir is at `PATH` (default: the path in --topdir)")
}

// copyFlags are the flags of copy.
type copyFlags struct {
	wantFlags
	queueFlags
	topdir, snapshot, verify string
	hubTopdir, db            string
	writableSource           bool
	owner, mode, selinux     string
	sources, verifyKeys      []string
	jobs                     int
	keepDays                 int
	audit, repair, newTopdir bool
	list0, status            bool
	shard, auditPart         string
	slots                    int
	maxRequests              int
	bwlimit                  config.Limits
}

func (o *copyFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&o.topdir, "topdir", "", "copy below `DIR`, staging's topdir, usually /mnt/koji")
	addHubTopdir(fs, &o.hubTopdir)
	fs.StringArrayVar(&o.sources, "source", nil, "copy from production's tree at `DIR|URL`: a directory, file:///DIR with any part of it, http(s)://… or s3://BUCKET/PREFIX as for --store; repeatable, asked in turn; the first directory is the read-only volume")
	fs.BoolVar(&o.writableSource, "writable-source", false, "accept a production tree that staging's hub could write (default: refuse it)")
	fs.StringVar(&o.db, "db", "", "ask the staging database `DSN` which builds staging has decided about (default: the store has what the last load knew)")
	flags.AddSnapshot(fs, &o.snapshot)
	flags.AddVerifyKey(fs, &o.verifyKeys)
	o.wantFlags.add(fs)
	fs.Var(config.NewChoice(&o.builds, "latest", "tagged", "none", "all"), "builds", "which builds of the tags to copy; all: whole, every build of the snapshot, by shards")
	fs.IntVar(&o.jobs, "jobs", 0, "copy `N` files at a time (default: one for each CPU, at least 4, or 8 if the first source is a URL)")
	fs.Var(&o.bwlimit, "bwlimit", "read at most `[SOURCE=]RATE` bytes a second, such as 20M, from all sources together or from one as --source names it; repeatable (default: no limit)")
	fs.IntVar(&o.maxRequests, "max-requests", 0, "ask each source for at most `N` files a second (default: no limit)")
	fs.StringVar(&o.owner, "owner", "", "make files and directories of `USER[:GROUP]`, such as apache:apache (default: the process's)")
	fs.StringVar(&o.mode, "mode", "", "make files with the octal `MODE`, and directories passable for whoever may read the files (default: production's mode; 0755)")
	fs.StringVar(&o.selinux, "selinux", "", "make files and directories with the SELinux label `TYPE|CONTEXT`, such as httpd_sys_rw_content_t")
	fs.BoolVar(&o.audit, "audit", false, "look at every file, not only at those that the ledger does not have")
	fs.BoolVar(&o.repair, "repair", false, "read every copied file, and copy damaged ones again")
	fs.BoolVar(&o.newTopdir, "new-topdir", false, "accept an empty topdir although copies were made there (default: refuse it as not mounted)")
	fs.Var(config.NewChoice(&o.verify, "size", "digest"), "verify", "how an audit checks files that are there; digest implies --audit. New files are always checked by digest")
	flags.AddKeepDays(fs, &o.keepDays)
}

func (o *copyFlags) options(a *app) (kojisnap.CopyOptions, error) {
	if o.topdir == "" && !o.list0 {
		return kojisnap.CopyOptions{}, a.missing("topdir", "--topdir DIR, or topdir = \"…\" in the configuration")
	}
	if err := o.checkWant(); err != nil {
		return kojisnap.CopyOptions{}, err
	}
	if o.jobs < 0 {
		return kojisnap.CopyOptions{}, exit.Usagef("--jobs %d: want 1 or more, or 0 for the default", o.jobs)
	}
	if err := flags.CheckLimits(&o.bwlimit, o.sources); err != nil {
		return kojisnap.CopyOptions{}, err
	}
	if o.maxRequests < 0 {
		return kojisnap.CopyOptions{}, exit.Usagef("--max-requests %d: want 1 or more, or 0 for no limit", o.maxRequests)
	}
	if o.hubTopdir != "" {
		if err := volumes.CheckHubTopdir(o.hubTopdir); err != nil {
			return kojisnap.CopyOptions{}, exit.Usagef("%w", err)
		}
	}
	attributes, err := o.attributes(a)
	if err != nil {
		return kojisnap.CopyOptions{}, exit.Usagef("%w", err)
	}
	var database *kojisnap.StagingDatabase
	if o.db != "" {
		if err := a.checkDSN(o.db); err != nil {
			return kojisnap.CopyOptions{}, err
		}
		database = &kojisnap.StagingDatabase{DSN: o.db, Optional: true}
	}
	return kojisnap.CopyOptions{
		Attributes: attributes, Database: database, SourcePause: sourcePause,
		Want: o.want(a), Topdir: o.topdir, HubTopdir: o.hubTopdir, WritableSource: o.writableSource, Sources: o.sources, Env: a.env, Jobs: o.jobs, BwLimit: int64(o.bwlimit.All), SourceLimits: o.bwlimit.Of, Requests: float64(o.maxRequests),
		Audit: o.audit, Digest: o.verify == "digest" || o.repair, Repair: o.repair, NewTopdir: o.newTopdir, KeepFor: time.Duration(o.keepDays) * 24 * time.Hour, DryRun: a.dryRun, Log: a.log, Progress: a.progress,
	}, nil
}

// sourcePause is CopyOptions.SourcePause. Tests set a shorter one.
var sourcePause time.Duration

func (o *copyFlags) attributes(a *app) (attr topdir.Attributes, err error) {
	if o.owner != "" {
		owner, err := topdir.ParseOwner(o.owner)
		if err != nil {
			return attr, err
		}
		if owner.CanGive() {
			attr.Owner = &owner
		} else {
			a.log.Warn("only root gives files to another user: what is made is this process's", "owner", o.owner, "uid", os.Geteuid())
		}
	}
	if o.mode != "" {
		if attr.Mode, err = topdir.ParseMode(o.mode); err != nil {
			return attr, err
		}
	}
	if o.selinux != "" {
		attr.Context, err = topdir.ParseContext(o.selinux)
	}
	return attr, err
}

func (o *copyFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	opt, err := o.options(a)
	if err != nil {
		return err
	}
	part, err := o.part()
	if err != nil {
		return err
	}
	if o.status && o.queue != "" {
		return o.queueStatus(ctx, a)
	}
	loads, err := a.loads()
	if err == nil { // copy removes nothing, but shares keep-days with sync
		err = flags.CheckKeepDays(o.keepDays, loads.waitFor)
	}
	if err != nil {
		return err
	}
	if err := a.useKeys("", o.verifyKeys); err != nil {
		return err
	}
	s, snap, err := a.openSnapshot(ctx, o.snapshot, loads.tags)
	if err != nil {
		return err
	}
	if o.list0 {
		return a.list0(ctx, snap, s, opt)
	}
	if opt.Builds == compose.BuildsAll && o.queue != "" && o.shard == "" {
		return o.enqueue(ctx, a, snap, s, opt, part)
	}
	if opt.Builds == compose.BuildsAll {
		return o.runShards(ctx, a, snap, s, opt, part)
	}
	r, incomplete := kojisnap.Copy(ctx, snap, s, opt)
	if incomplete != nil && !kojisnap.Incomplete(incomplete) {
		if r != nil {
			a.partial(r)
		}
		return incomplete
	}
	var show func(io.Writer)
	if a.dryRun {
		show = func(w io.Writer) { _, err = r.WriteTo(w) }
	}
	if jsonErr := a.result(r, show); err == nil {
		err = jsonErr
	}
	if err != nil {
		return err
	}
	say := a.teller()
	say.Copy(r)
	err = exit.Together(say.LeftOut(incomplete), say.Undecided(r))
	if err == nil && a.dryRun && r.Actions.Pending() {
		return exit.Pending()
	}
	return err
}

// list0 prints what a copy needs.
func (a *app) list0(ctx context.Context, snap *snapfile.Snapshot, s store.Store, opt kojisnap.CopyOptions) error {
	if a.json {
		return exit.Usagef("--list0 and --json: --list0 prints paths alone; copy --dry-run --json lists the files")
	}
	c, err := kojisnap.ListCarried(ctx, snap, s, opt)
	if err != nil {
		return err
	}
	for _, path := range c.Unsure {
		a.log.InfoContext(ctx, "production may have this file in a subdirectory, which the database does not tell", "path", path)
	}
	w := bufio.NewWriter(output.Raw(a.stdout))
	for _, path := range c.Paths {
		fmt.Fprintf(w, "%s\x00", path)
	}
	return w.Flush()
}
