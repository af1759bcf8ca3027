// Package hardlink makes files below staging's topdir. The files of a volumes.Plan become regular files;
// everything else of their builds becomes symlinks into the read-only volume. These have absolute targets, as
// staging's hub sees topdir, because Koji hard-links symlinks into dist repos and moves them with their builds.
// A build's logs are one symlink to production's directory, see logs.go.
//
// # How a file is made
//
// Apply tries, in this order: the file is there already (the ledger says so; an audit compares size and mtime,
// and with VerifyDigest the content) → hard link → reflink (FICLONE) → copy → fetch by https or from S3. It asks
// the sources in turn until one gives the file with the planned content; what is missing, unreadable or damaged
// at one source is taken from the next. If no source gives a signed copy, Apply splices it from the signature
// header and the unsigned rpm, which may come from different sources.
//
// Whatever the way, Apply reads the content once and checks its digest before the file gets its name. So it
// copies by read and write, not by copy_file_range(2): otherwise it would read the content twice. Of a reflink
// it reads the clone.
//
// What the errno of link(2) and FICLONE decide:
//
//	EXDEV                        another mount, even of the same file system: next way, and
//	                             no further hard link from that file system is tried
//	EMLINK                       the inode has as many links as it can have: next way
//	EPERM, EACCES                fs.protected_hardlinks, immutable, no links there: next way
//	EOPNOTSUPP, ENOSYS, EINVAL,  the file system cannot: next way, and no further FICLONE
//	ENOTTY                       from that file system is tried
//	EROFS, ENOSPC, EDQUOT, EIO   no other way helps: an error. After FICLONE the copy
//	                             reports it
//	ESTALE                       of the source: open it once more, then the next source
//
// A hard link is production's own inode. kojisnap never changes its owner, mode or label: if Attributes ask for
// others, it makes a reflink or a copy instead.
//
// # One bad thing
//
// A fault of one build, file or directory keeps back only that one. LeftOutError names it once, with the reason
// and the consequence (its Held lists the same for results), and the next run tries again. Everything else is
// done. Only a fault that concerns everything ends a run; files that are in place by then stay.
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
//	more than 10 of these, and more than 1 of 20 builds or links  the run: the cause is not a single build
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
// Apply makes files below vol/VOLUME/.kojisnap-tmp, on the file system of their final place. For each batch of
// builds it makes and verifies the files; adds their entries to the ledger; calls syncfs once; then renames each
// build's directory to its final name, or each file if the build has a directory already. Meanwhile it makes the
// next batch. The syncfs of that batch also makes the names of this one durable, and only then does the ledger
// call the builds complete. After a kill at any moment a file under its final name is complete and verified, and
// the next run removes what is left in .kojisnap-tmp.
//
// # Room
//
// Before Apply writes anything, and again before each batch, it checks that the bytes and inodes fit. A hundredth
// of the file system, at most 1 GiB, stays free for staging's hub. Bytes that reflinks may save do not count.
//
// # What a run looks at
//
// The ledger, .kojisnap/ledger below topdir, lists the files that kojisnap made. kojisnap replaces or removes
// only these, and only while they are as it left them. Diff compares the plan with the ledger, and looks on the
// disk only at what the ledger lacks. If a packages directory of a volume lacks a package of the ledger, or with
// Options.Audit, Diff looks at everything. Only an audit finds what was changed or removed by hand within a
// package. Symlinks on DEFAULT are the exception: Diff looks at them each time:
//
//	gone: usually a delete, reset or        made again, unless the database has the build
//	move in Koji failed                     incomplete or on a volume of staging's own
//	a directory is there, or the build's    removed if production has all that is in it, by name,
//	on a volume of staging's own, and       size and time or content; else named. Not where a
//	the database has the build elsewhere    move may be under way, or could succeed
//	another symlink, or a directory that    staging's own: it stays
//	the database does not contradict
//
// kojisnap makes and removes nothing of builds about which staging decided (Plan.Decided).
//
// Production may change the content under a name: it signs again with the same key, or builds again. Then the
// plan has another digest than the ledger, and the file is made again, as a new one.
//
// # What is not wanted any longer
//
// With Options.Leave, Diff notes the builds of the ledger that the plan does not have. From then on
// Ledger.Staged does not name them, so that a load moves them back to production's volume, and Diff lets the
// symlinks on DEFAULT lead there. DiffRemove removes the files after KeepFor, if the database has the build
// elsewhere and nobody changed them. A symlink to production's files replaces each copy, see remove.go.
package hardlink
