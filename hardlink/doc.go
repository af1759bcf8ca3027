// Package hardlink makes files exist below staging's topdir: the files of a
// volumes.Plan as regular ones, everything else of their builds as symlinks into
// the read-only volume, by the absolute path that staging's hub has for topdir: Koji
// hard-links symlinks into dist repos and moves them with their builds. A build's logs are one
// symlink to production's directory of them, see logs.go.
//
// # How a file comes to be
//
// Already there (by the ledger; in an audit by size and mtime; with VerifyDigest its
// content is read) → hard link → reflink (FICLONE) → copy → fetched by https or from S3. Sources
// are asked in turn, until one gives the file as it has to be: what is missing, unreadable or
// damaged at one is taken from the next. A signed copy that no source gives is spliced
// from the signature header and the unsigned rpm, be they from different sources.
// Whichever way, its content is read once and its digest checked before it gets its
// name. So a copy is read and written, not made by copy_file_range(2): the content has
// to be read for its digest, and would be read twice. Of a reflink the clone is what is
// read.
//
// What the errno of link(2) and FICLONE decide:
//
//	EXDEV                        another mount, even of the same file system: next way,
//	                             and no link is tried again from that file system
//	EMLINK                       the inode has all links that it can have: next way
//	EPERM, EACCES                fs.protected_hardlinks, immutable, no links there: next way
//	EOPNOTSUPP, ENOSYS, EINVAL,  the file system cannot: next way; FICLONE is not tried
//	ENOTTY                       again from that file system
//	EROFS, ENOSPC, EDQUOT, EIO   no other way cures it: an error. For FICLONE: the copy
//	                             will say it
//	ESTALE                       of the source: opened once more, then the next source
//
// A hard link is production's own inode. Its owner, mode and label are never changed: with
// Attributes, a file whose inode has others is reflinked or copied instead.
//
// # One bad thing
//
// What is wrong with one build, one file or one directory keeps back that one. It is named once, with
// its reason and what becomes of it (LeftOutError, and Held of it for results), and the next run tries
// again. All else is done. Only what makes the whole wrong ends a run; what is in place by then stays.
//
//	rows that can have no path, digest or volume (Plan.Held)      the build or the volume: no copy
//	a wanted file: missing, unreadable, damaged at all sources    the build, on the read-only volume
//	an optional file: missing                                     nothing, it is noted as absent
//	an optional file: unreadable                                  that file
//	  … damaged                                                   the build
//	a directory of a build that cannot be listed (mode, EIO,      symlinks to what is in it; if wanted
//	ESTALE, a loop of symlinks)                                   files cannot be reached, the build
//	a directory symlink above wanted files                        nothing: it becomes a directory
//	a name that the file system cannot have (ENAMETOOLONG), or
//	takes for another's because it ignores case                   the build
//	a file of a build, not planned: a name that no ledger can
//	hold, or a symlink to it would say more than a path can have  that symlink
//	a directory below topdir that cannot be looked at             the build, where it is
//	something in the place of a build, of its files (a symlink,
//	a file, a mount, no right)                                    the build, on the read-only volume
//	something in the place of a symlink on DEFAULT, or no right   that symlink
//	a copy, a stray or a symlink that cannot be removed           that one: it stays
//	temporary files that cannot be removed                        nothing: told, and tried again
//	one of production's volumes, not DEFAULT: its packages are    the builds on it: copies that are there
//	not there, or empty, or not its builds, by a sample           stay; nothing is told if Unmounted names it
//	a package filter that cannot be evaluated                     its packages (package kojisnap)
//
//	more than 10 of these, and more than 1 of 20 builds or links  the run: it is no matter of single ones
//	the tree is not that of the snapshot, by a sample of DEFAULT  the run
//	a read-only volume that staging's hub could write             the run, unless WritableSource
//	vol/NAME leads elsewhere, toplink does, a mount in its place  the run: the hub would look there
//	a server that is gone, or refuses all (TLS, a login)          builds that need it; error or to be tried again
//	no room, no inodes; a disk that cannot be written or synced   the run
//	an owner or a label that cannot be given                      the run
//	a ledger that is damaged, of a newer format, unreadable       the run, unless Audit makes it anew
//	the database that is asked, the store that has the ledger     the run
//	a topdir that is missing, read-only, locked, production's     the run
//	two of production's volumes under one name by the rules; a
//	copy volume that is one of production's                       the run: the configuration is wrong
//
// # Never in place
//
// Files are made below vol/VOLUME/.kojisnap-tmp, on the file system of their final
// place. A batch of builds is made and verified; the ledger takes note of what is
// going to be there; one syncfs; then each build's directory is renamed to its final
// name at once, or, where the build is there already, each file. Meanwhile the next
// batch is made: its syncfs also makes the names of this one durable, and only then does
// the ledger call its builds complete. After a kill at any
// moment a file under its final name is complete and verified, and the next run
// removes what was left in .kojisnap-tmp.
//
// # Room
//
// Before anything is written, and again before each batch, there must be room for it
// beside a hundredth of the file system, at most 1 GiB, which stays for staging's hub,
// and as many inodes. Where reflinks may save the bytes only the rest is asked for.
//
// # What a run looks at
//
// The ledger, .kojisnap/ledger below topdir, lists what was put there; only that is ever
// replaced or removed, and only while it is as it was left. Diff compares the plan with
// the ledger, and on the disk looks at what the ledger does not have. That there is less
// than the ledger has is noticed by the names of packages on the volumes; then, as when
// Options.Audit asks for it, all is looked at. What was changed or removed by hand within
// a package only an audit finds, but for the symlinks on DEFAULT, which are looked at each time:
//
//	gone: a delete, reset or move of        made again, unless the database has the build, and
//	Koji's failed, mostly                   not as complete or on a volume of staging's own
//	a directory is there, or the build's    removed if production has all that is in it, by name,
//	on a volume of staging's own, and       size and time or content; else named. Not where a
//	the database has the build elsewhere    move may be under way, or could succeed
//	another symlink, or a directory of      staging's own: it stays
//	which the database says nothing else
//
// Of builds of which staging decided (Plan.Decided) nothing is made or removed.
//
// Content that production changed under one name (it signed anew with the same key, or made a build anew)
// is another digest in the plan than in the ledger: the file is made again, as a new one.
//
// # What is not wanted any longer
//
// With Options.Leave Diff notes builds that the plan does not have. From then on
// Ledger.Staged does not name them, so that a load leads them back to production's
// volume, and Diff leads DEFAULT's symlinks there. DiffRemove removes the files later:
// after KeepFor, if the database has the build elsewhere, and if nobody changed them. A symlink to
// production's takes the place of each, see stubs.go.
package hardlink
