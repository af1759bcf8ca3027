// Package dbsync merges snapshots of production into the staging Koji's PostgreSQL database (Load). The
// packages below it mark the database (setup), say what it holds (status), keep kojisnap's records (book),
// know Koji's tables (kojidb), and connect (dbconn).
//
// # The merge
//
// A snapshot goes by COPY into temporary tables, one a relation, and from there
// by sets into Koji's tables, all in one transaction that readers of the hub
// never wait for. A row's owner decides what may happen to it:
//
//   - rows with ids or create events at or above the floor are staging's, and so
//     are seeds (rows that a fresh schema brings). They are never written.
//   - all others are production's, as init moved everything else out of the way.
//     Where staging changed one in place since it was written (the hash in kojisnap.placed
//     no longer fits), staging's decision stays and is reported.
//
// # Two views
//
// A versioned row of production's is never left out, whatever staging did. At a loaded event E the
// database answers as production did; now it answers as production with staging's changes over it,
// key by key. Staging's events are above the floor, hence after every E, and Koji's unique
// constraints of versioned relations bind only active rows, so both hold at once:
//
//   - what production revoked gets production's revoke_event and revoker_id, also where staging had
//     revoked it before. That staging removed it is kept in kojisnap.decided.
//   - a row in the view at E that staging's own changes overrule now goes in hidden: revoked by the
//     event and the user of staging's change. Staging overrules it by an active row of its own of the
//     same subject (what the row is about: a build in a tag, a parent of a tag), or because it removed
//     that subject and has not made a row of its own since.
//   - a row that finds only its place taken (another parent's priority), or whose build staging reset,
//     is hidden too, is listed in kojisnap.hidden, and is active again once that is over.
//
// What needs a row that is not there (a build of which staging has the NVR under another id) is left
// out with it, and tried again at each load. Which load brought which row does not matter: the
// snapshots since the one that the database holds tell when production revoked what, loaded or not.
//
// # What changed
//
// Where the database holds an earlier snapshot that can still be read, the temporary tables get
// only what changed since, and the keys of what went (Changes of package snapfile); names are
// few and are always read whole. Rows that could not go in as production has them are put
// aside by key, in kojisnap.aside, and looked at again by each load. What only the sum of all rows
// tells, as when a build comes back into the scope, makes the load begin again with all of
// them. An audit reads all: it finds nothing to change after any load, which the tests hold to.
//
// # One odd row
//
// What is wrong with one row keeps back that row and what refers to it, is named with its reason
// (LoadReport.Bad), and is tried again by each load. Only what makes the whole wrong ends a load, and
// then nothing has changed.
//
//	a NULL, a CHECK, a length, a UNIQUE that the tables refuse   the row
//	a reference to what neither snapshot nor database has        the row
//	a build on a volume that the snapshot does not have          the build
//	a name, an NVR or an NVRA that staging holds                 the row, as --on-conflict says
//	what an older schema cannot hold                             the row, noted
//	a snapshot in between that cannot be read                    its revocations get this load's event, noted
//	values that are no numbers, times or UTF-8; wrong columns    the load: pull writes none, the snapshot is forged or damaged
//	ids below 0, at or above the floor; a key twice; not in the view at E
//	                                                             the load: they would be staging's, or are no snapshot
//	a segment that is gone or damaged                            the load
//	another database, floor, hub's time; older than what it holds the load
//	a constraint that no row is found for (a trigger, a UNIQUE of the site's own)
//	                                                             the load, with PostgreSQL's words
//	row level security, a replica identity that is missing       the load, with the cure
//	no room, no right, no server                                 the load
//
// # Who waits
//
// A load takes no lock on a table but those of any INSERT or UPDATE, so nobody who reads waits
// for it. Who writes waits for its commit in these cases alone: to a row that the load has
// written; to one with a unique name (an NVR, an active tagging) that the load has brought; and,
// with a reference to it, where the load renames a tag, a user or a build. The load itself waits
// for a lock no longer than a twentieth of the server's deadlock_timeout and then begins again,
// holding nothing while it pauses.
//
// Bookkeeping lives in the schema kojisnap. No table of Koji's is altered.
package dbsync
