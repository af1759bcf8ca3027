// Package dbsync merges snapshots of production into the staging Koji's PostgreSQL database (Load). The
// packages below it mark the database (setup), say what it holds (status), keep kojisnap's records (book),
// know Koji's tables (kojidb), and connect (dbconn).
//
// # The merge
//
// COPY puts a snapshot into temporary tables, one for each relation. From there sets of rows go into Koji's
// tables. All of it is one transaction, for which readers of the hub never wait. What may happen to a row
// depends on whose it is:
//
//   - Rows with ids or create events at or above the floor are staging's, and so are seeds (rows of a fresh
//     schema). They are never written.
//   - All others are production's, as init moved everything else out of the way. If staging changed one in
//     place since a load wrote it (the hash in kojisnap.placed no longer fits), staging's decision stays and
//     is reported.
//
// # Two views
//
// A versioned row of production's always goes in, whatever staging did. At a loaded event E the database
// answers as production did; now it answers as production with staging's changes over it, key by key.
// Staging's events are above the floor, so after every E, and Koji's unique constraints of versioned relations
// bind only active rows. So both hold at once:
//
//   - What production revoked gets production's revoke_event and revoker_id, even if staging had revoked it
//     before. That staging removed it is kept in kojisnap.decided.
//   - A row in the view at E that staging's own changes overrule now goes in hidden: revoked by the event and
//     the user of staging's change. Staging overrules it by an active row of its own of the same subject (what
//     the row is about: a build in a tag, a parent of a tag), or because it removed that subject and has not
//     made a row of its own since.
//   - A row that only finds its place taken (another parent has the priority), or whose build staging reset,
//     is hidden too. kojisnap.hidden lists it, and it becomes active again once that is over.
//
// A row that needs another one which is not there (a build whose NVR staging has under another id) is left
// out with it, and tried again at each load. It does not matter which load brought which row: the snapshots
// since the one that the database holds tell when production revoked what, whether they were loaded or not.
//
// # What changed
//
// If the database holds an earlier snapshot that can still be read, the temporary tables get only what changed
// since, and the keys of what production deleted (Changes of package snapfile). Names are few and are always
// read whole. Rows that could not go in as production has them are deferred: their keys are in kojisnap.aside,
// and each load looks at them again. Some changes need all rows, as when a build comes back into the scope;
// then the load begins again with all of them. An audit reads all rows, and the tests hold that it finds
// nothing to change after any load.
//
// # One odd row
//
// A row that is wrong keeps back only itself and what refers to it. It is reported with the reason
// (LoadReport.Bad), and each load tries it again. A load fails only if the whole is wrong, and then nothing
// has changed.
//
//	What is wrong                                                What is kept back
//
//	a NULL, a CHECK, a length, a UNIQUE that the tables refuse   the row
//	a reference to what neither snapshot nor database has        the row
//	a build on a volume that the snapshot does not have          the build
//	a name, an NVR or an NVRA that staging has                   the row, as --on-conflict says
//	what an older schema cannot hold                             the row, with a note
//	a snapshot in between that cannot be read                    nothing: its revocations get this load's event, with a note
//	values that are no numbers, times or UTF-8; wrong columns    the load: pull writes none, the snapshot is forged or damaged
//	ids below 0, at or above the floor; a key twice; a row that is not in the view at E
//	                                                             the load: they would be staging's, or the snapshot is forged
//	a segment that is gone or damaged                            the load
//	another database, floor, hub; older than what it holds       the load
//	a constraint for which no row is found (a trigger, a UNIQUE of the site's own)
//	                                                             the load, with PostgreSQL's words
//	row level security, a replica identity that is missing       the load, with the cure
//	no room, no privilege, no server                             the load
//
// # Who waits
//
// A load locks tables only as any INSERT or UPDATE does, so readers never wait for it. Writers wait for its
// commit in three cases: for a row that the load has written; for a row with a unique name (an NVR, an active
// tagging) that the load has inserted; and to refer to a tag, a user or a build that the load renames. The load
// itself waits for a lock at most a twentieth of the server's deadlock_timeout. Then it begins again, and holds
// nothing while it pauses.
//
// The bookkeeping is in the schema kojisnap. No table of Koji's is altered.
package dbsync
