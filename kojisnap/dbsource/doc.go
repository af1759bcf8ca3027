/*
Package dbsource makes a snapshot of a Koji database, whatever gives its rows: a server (package
dbsource/postgres) or a dump (package dbsource/pgdump). It reads a Source, which scans the columns of a table,
and gives the rows to the Builder of package snapshot, as package pull does with a hub's answers. So the
snapshots of both are alike: the oracle in package integration compares them by digest, and lists what
differs.

# What is read

The event E is the highest one with a time before the server's clock, or of a dump the time of the newest event, less a margin: a
transaction may commit long after it took its event. On a standby the clock is the time of the last commit that was replayed. A versioned row
belongs to the view at E if its create_event is at most E and its revoke_event is NULL or later. Rows that were
revoked since the base are kept beside the view. Rows without events are as they were when the source was made.

From the tags asked for the scope follows the inheritance at E and the content tags of module builds. Then come the
rows of these tags; the builds that they hold; the rpms and archives of those; signatures and types; the rpms and
archives that these archives consist of; the builds of those, no further; and at last the events, users and names
that any row refers to.

# What is never read

Wanted lists for each table the columns that a Source may be asked for. No other column leaves the database: a
Source selects, or projects, by name. Tables that hold secrets are Refused.
*/
package dbsource
