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
// Bookkeeping lives in the schema kojisnap. No table of Koji's is altered.
package dbsync
