// Package dbsync owns the staging Koji's PostgreSQL database: it marks it (Init),
// merges snapshots of production into it (Load), and says what it holds
// (ReadStatus).
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
//     Where staging changed one since it was written (the hash in kojisnap.placed
//     no longer fits, or a revoke_event is at or above the floor), staging's
//     decision stays and is reported.
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
