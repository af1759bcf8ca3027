package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/hardlink"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/volumes"
)

var copyCommand = command{
	name:  "copy",
	short: "make the files that composes hardlink exist below topdir",
	long: `Copy makes a snapshot's builds complete below staging's topdir: Koji's relative symlink for every
build on DEFAULT, and the latest builds of the tags as regular files on a writable volume, where
a compose can hard-link them. Every file is verified before it is visible. Nothing is written
below the read-only volume; staging's own files stay.

Volumes vol/prod and vol/prod_NAME are directories with one symlink, packages, into production's
tree. A tree that staging's hub could write is refused unless --writable-source says that it is
meant: a build that is deleted or moved in staging would go in production. The hub's user is
--owner, else the owner of topdir's directory work, else of topdir. Refused is what is on no
read-only mount and what that user may write by its mode. URLs are not concerned.

What a copied build has beside the files that are wanted are symlinks to production's, by the
absolute path that staging's hub has for topdir: --hub-topdir where that is another than --topdir.
All who read topdir's files must have it there. Symlinks that an earlier version made, and those
of another path, are moved over by the next run.

What is made is the process's, with production's mode, unless --owner, --mode or --selinux say
otherwise; only root can give files to another user. A hard link is production's own inode,
which is never changed: a file that is not as these flags say is copied instead.

What was copied is in a ledger below topdir, .kojisnap/ledger, with a copy in the store. A run
compares it with what the snapshot's tags need and looks at no file that the ledger has, unless
a package's directory is missing. Symlinks on DEFAULT are looked at: what a delete or move of Koji's
that failed on the read-only volume broke is put right and named, as far as the database (--db)
says that it is not staging's own. Of builds that staging deleted, reset, promoted or moved nothing
is made again. --audit looks at every file, makes again what is missing, and
reports what is not as it was left; --verify digest reads them all, too. A copy that is damaged is
named, and the exit code is 6, until --repair or a sync makes it again, as a new file: what composes
have linked stays as it was. --repair reads all that was copied. Another rpm in the place of a copy,
whole in itself, somebody put there: it stays. Owners and modes that
somebody changed are put right and told. An --owner, --mode or --selinux that was another at the run
before is given to all that is there. An audit also makes a
damaged ledger anew: files that are what the snapshot says, by their digest, count as copied,
others stay and are reported. A ledger that is lost is had from the store. Copies of builds
that are not needed any longer stay; sync removes them after --keep-days.

A source s3://BUCKET/PREFIX is production's tree as objects, PREFIX/packages/NAME/… and
PREFIX/vol/VOLUME/packages/…, with the credentials and the ?endpoint=URL, ?region=NAME and
?path-style=false that --store takes. Files get the time that rclone or s3fs noted with the
object (x-amz-meta-mtime), else that of its upload.

What is wrong with one row, file or directory (a name that no path can have, a digest that is none, a
file that is lost or cannot be read, something in the way) keeps back that build, file or symlink.
Each is named once, in a line and in --json as "held", all else is done, and the exit code is 3, or 6
where a digest did not match. The next run tries again. That a server denies a file (403) counts as
a file that is missing there.

One of production's volumes that is not here, as an archive whose mount is missing, keeps back its builds
alone: copies that are there stay, others stay on the read-only volume, the volume is named with the
directory that was looked for, and the exit code is 3. A site that never mounts it says so once,
--unmounted VOLUME or unmounted = ["archive"] in the configuration: its builds are left out without that,
verify counts their rpms in a warning, and -v tells of them.

Package filters of inheritance are matched as Koji's hub does, by Python's regular expressions.
Where one cannot be evaluated, because Python refuses it or a match takes too long, the packages
that only it could bring stay where they are; that is told, and the exit code is 3.

--dry-run prints for each tag and arch how many files and bytes are planned, are there, and
would be made in which way, then a line for each thing that would be done. With --json it prints
the same as "summary" and "actions": of each build the directory at the source and below topdir,
of each file the path in it, how it would be made, and its size and digest.`,
	examples: `
kojisnap copy --source /mnt/fedora_koji_prod/koji --topdir /mnt/koji --store /var/lib/kojisnap
kojisnap copy -c stg.toml --arch x86_64 --sigkey 105ef944 --dry-run
kojisnap copy -c stg.toml --source /mnt/fedora_koji_prod/koji --source 's3://koji/tree?endpoint=https://s3.example.com'
kojisnap copy -c stg.toml --bwlimit 50M --bwlimit https://kojipkgs.fedoraproject.org=5M
kojisnap copy -c stg.toml --audit --verify digest
kojisnap copy -c stg.toml --repair`,
	setup: func(f *flags) runner {
		var o copyFlags
		f.section("copy", nil, o.add)
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
	fs.StringArrayVar(&o.tags, "tag", nil, "a `TAG` that is composed, or a pattern, or !TAG to leave out, as of pull; with the content tags of its modules; repeatable (default: those that were pulled)")
	fs.StringArrayVar(&o.arches, "arch", nil, "an `ARCH` that is composed; repeatable (default: all)")
	fs.StringArrayVar(&o.sigkeys, "sigkey", nil, "a `KEY` whose signed copies are wanted, in order; repeatable; empty: unsigned")
	addVolumes(fs, &o.volume, &o.copyVolume)
	fs.StringArrayVar(&o.unmounted, "unmounted", nil, "a `VOLUME` of production that this site never has, by production's name: its builds are left out; repeatable")
}

// checkWant refuses names that cannot be any.
func (o *wantFlags) checkWant() error {
	for _, volume := range []struct{ flag, name string }{{"volume", o.volume}, {"copy-volume", o.copyVolume}} {
		if err := volumes.CheckName("volume name", volume.name); err != nil {
			return usagef("--%s: %w", volume.flag, err)
		}
	}
	if err := checkTags(o.tags); err != nil {
		return err
	}
	return checkNames("arch", o.arches)
}

func (o *wantFlags) want(a *app) compose.Want {
	return compose.Want{
		Tags: o.tags, Arches: o.arches, SigKeys: o.sigkeys, Builds: compose.Builds(o.builds),
		Volume: o.volume, CopyVolume: o.copyVolume, Rules: a.volumes, Unmounted: o.unmounted,
	}
}

// addHubTopdir adds the flag that copy and verify share.
func addHubTopdir(fs *pflag.FlagSet, path *string) {
	fs.StringVar(path, "hub-topdir", "", "`PATH` that staging's hub, and all who read its files, have for topdir, if it is another here")
}

// copyFlags are the flags of copy.
type copyFlags struct {
	wantFlags
	topdir, snapshot, verify string
	hubTopdir, db            string
	writableSource           bool
	owner, mode, selinux     string
	sources, verifyKeys      []string
	jobs                     int
	keepDays                 int
	audit, repair, newTopdir bool
	bwlimit                  limits
}

func (o *copyFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&o.topdir, "topdir", "", "staging's topdir, usually /mnt/koji")
	addHubTopdir(fs, &o.hubTopdir)
	fs.StringArrayVar(&o.sources, "source", nil, "`DIR|URL` of production's tree: a directory, http(s)://…, s3://BUCKET/PREFIX as --store; repeatable, asked in turn; the first directory is the read-only volume")
	fs.BoolVar(&o.writableSource, "writable-source", false, "take a tree of production that staging's hub could write, which else is refused")
	fs.StringVar(&o.db, "db", "", "`DSN` of the staging database, which is asked what staging decided of builds (default: the store has what the last load noted)")
	addSnapshot(fs, &o.snapshot)
	addVerifyKey(fs, &o.verifyKeys)
	o.wantFlags.add(fs)
	fs.Var(newChoice(&o.builds, "latest", "tagged", "none"), "builds", "which builds of the tags are copied")
	fs.IntVar(&o.jobs, "jobs", 0, "files at a time (default: one for each CPU, at least 4, and 8 if the first source is a URL)")
	fs.Var(&o.bwlimit, "bwlimit", "`[SOURCE=]RATE`: bytes a second to read, as 20M, of all sources together or of one, as --source names it; repeatable (default: no limit)")
	fs.StringVar(&o.owner, "owner", "", "`USER[:GROUP]` whose what is made below topdir is, as apache:apache (default: the process's)")
	fs.StringVar(&o.mode, "mode", "", "octal `MODE` of files that are made; directories are passable where files are readable (default: production's; 0755)")
	fs.StringVar(&o.selinux, "selinux", "", "`TYPE|CONTEXT` of what is made, as httpd_sys_rw_content_t, where SELinux is enabled")
	fs.BoolVar(&o.audit, "audit", false, "look at every file, not only at what the ledger does not have")
	fs.BoolVar(&o.repair, "repair", false, "read every copied file, and make again those that are damaged")
	fs.BoolVar(&o.newTopdir, "new-topdir", false, "take a topdir in which nothing is, though copies were made there, which else is refused as one that is not mounted")
	fs.Var(newChoice(&o.verify, "size", "digest"), "verify", "how an audit looks at files that are there; digest is always an audit. New files: always by digest")
	addKeepDays(fs, &o.keepDays)
}

func (o *copyFlags) options(a *app) (kojisnap.CopyOptions, error) {
	if o.topdir == "" {
		return kojisnap.CopyOptions{}, a.missing("topdir", "--topdir DIR, or topdir = \"…\" in the configuration")
	}
	if err := o.checkWant(); err != nil {
		return kojisnap.CopyOptions{}, err
	}
	if o.jobs < 0 {
		return kojisnap.CopyOptions{}, usagef("--jobs %d: want 1 or more, or 0 for the default", o.jobs)
	}
	if err := o.bwlimit.check(o.sources); err != nil {
		return kojisnap.CopyOptions{}, err
	}
	if o.hubTopdir != "" {
		if err := volumes.CheckHubTopdir(o.hubTopdir); err != nil {
			return kojisnap.CopyOptions{}, usagef("%w", err)
		}
	}
	attributes, err := o.attributes(a)
	if err != nil {
		return kojisnap.CopyOptions{}, usagef("%w", err)
	}
	var database *kojisnap.StagingDatabase
	if o.db != "" {
		if err := a.checkDSN(o.db); err != nil {
			return kojisnap.CopyOptions{}, err
		}
		database = &kojisnap.StagingDatabase{DSN: o.db, Optional: true}
	}
	return kojisnap.CopyOptions{
		Attributes: attributes, Database: database,
		Want: o.want(a), Topdir: o.topdir, HubTopdir: o.hubTopdir, WritableSource: o.writableSource, Sources: o.sources, Env: a.env, Jobs: o.jobs, BwLimit: int64(o.bwlimit.all), SourceLimits: o.bwlimit.of,
		Audit: o.audit, Digest: o.verify == "digest" || o.repair, Repair: o.repair, NewTopdir: o.newTopdir, KeepFor: time.Duration(o.keepDays) * 24 * time.Hour, DryRun: a.dryRun, Log: a.log, Progress: a.progress,
	}, nil
}

func (o *copyFlags) attributes(a *app) (attr volumes.Attributes, err error) {
	if o.owner != "" {
		owner, err := volumes.ParseOwner(o.owner)
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
		if attr.Mode, err = volumes.ParseMode(o.mode); err != nil {
			return attr, err
		}
	}
	if o.selinux != "" {
		attr.Context, err = volumes.ParseContext(o.selinux)
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
	waitFor, err := a.waitsFor() // copy removes nothing, but shares keep-days with sync
	if err == nil {
		err = checkKeepDays(o.keepDays, waitFor)
	}
	if err != nil {
		return err
	}
	if err := a.useKeys("", o.verifyKeys); err != nil {
		return err
	}
	s, snap, err := a.openSnapshot(ctx, o.snapshot)
	if err != nil {
		return err
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
	a.tellCopy(r)
	err = together(a.tellLeftOut(incomplete), a.tellUndecided(r))
	if err == nil && a.dryRun && r.Actions.Pending() {
		return pending()
	}
	return err
}

// tellUndecided has a line for each package filter that could not be evaluated, and returns an
// error if there are any.
func (a *app) tellUndecided(r *kojisnap.CopyResult) error {
	if r == nil || len(r.Undecided) == 0 {
		return nil
	}
	for _, u := range r.Undecided {
		a.complain(u.String())
	}
	return notReadyError{quietError{errors.New("package filters could not be evaluated")}}
}

// tellLeftOut has a line for each thing that is kept back, and one for what follows of files that could
// not be had. It returns the error as told.
func (a *app) tellLeftOut(err error) error {
	if err == nil {
		return nil
	}
	for _, line := range messages(err) {
		a.complain(line)
	}
	if errors.As(err, new(*hardlink.MissingError)) || errors.As(err, new(*hardlink.SourceError)) {
		a.complain("builds that lack such a file stay on the read-only volume")
	}
	return quietError{err}
}

// tellCopy says what a copy did, or would do.
func (a *app) tellCopy(r *kojisnap.CopyResult) {
	for _, k := range r.Actions.Kept {
		a.tellKept(k)
	}
	a.tellDamaged(r)
	for _, l := range r.Actions.Links {
		if l.Mend {
			a.log.Warn("DEFAULT's symlink of a build was gone, as a delete or move in Koji leaves it that fails on the read-only volume: it is made again", "path", l.Path)
		}
	}
	for _, s := range r.Actions.Strays {
		if s.Keep != "" {
			a.log.Warn("a directory of a build that the database has on another volume, left by a move that failed, it seems; look at it, and remove it if it is", "path", s.Path, "volume", s.Volume, "why", s.Keep)
		} else {
			a.log.Warn("a copy of production's files that a move in Koji left when it failed: it is removed", "path", s.Path, "files", s.Files, "bytes", s.Bytes)
		}
	}
	for _, n := range r.Actions.Nowhere {
		switch {
		case n.Builds == 0:
		case n.Said:
			a.log.Info(n.String())
		case n.Wanted == 0: // else it is told with what is kept back
			a.log.Warn(n.String())
		}
	}
	if a.dryRun {
		return
	}
	rep := r.Report
	made := rep.Linked + rep.Reflinked + rep.Copied + rep.Spliced + rep.Fetched
	a.tell("%d files present, %d made (%d hard links, %d reflinks, %d copies, %d spliced, %d fetched), %d bytes, %d links",
		rep.Present, made, rep.Linked, rep.Reflinked, rep.Copied, rep.Spliced, rep.Fetched, rep.Bytes, rep.Links)
	if n := len(r.Actions.Own); n > 0 {
		a.log.Warn("owners and modes were not as they are to be: they are put right", "paths", n, "first", r.Actions.Own[0].String())
	}
	if rep.Adopted > 0 {
		a.tell("%d of the files present were not in the ledger", rep.Adopted)
	}
	if n := rep.Leaving + rep.Grace; n > 0 {
		a.tell("%d builds that nothing needs any longer are kept for now", n)
	}
}

// tellKept says what stays that is not as planned.
func (a *app) tellKept(k hardlink.Kept) {
	if k.Wanted {
		a.log.Warn("in the place of what a compose needs; remove it and run copy --audit, or let it stay", "path", k.Path, "why", k.Why)
	} else {
		a.log.Info("not as planned, and not ours: it stays", "path", k.Path, "why", k.Why)
	}
}

// tellDamaged says which copies are damaged, and made again.
func (a *app) tellDamaged(r *kojisnap.CopyResult) {
	for _, d := range r.Actions.Damaged {
		a.log.Warn("a copy is damaged: it is made again", "path", d.Path, "why", d.Why)
	}
}

// tellRemoval says what became of builds that no compose needs.
func (a *app) tellRemoval(r *kojisnap.CopyResult) {
	for _, k := range append(r.Actions.Kept, r.Report.Kept...) {
		a.log.Info("not wanted any longer, but it stays", "path", k.Path, "why", k.Why)
	}
	a.tell("%d builds removed (%d files, %d bytes) and %d symlinks; %d builds are kept for now", r.Report.Removed, r.Report.RemovedFiles,
		r.Report.RemovedBytes, r.Report.RemovedLinks, r.Report.Grace)
}
