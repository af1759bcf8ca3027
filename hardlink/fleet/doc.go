// Package fleet makes the files of one plan exist by many workers on many hosts, which share a topdir. A plan is
// cut into shards; a queue in PostgreSQL has a job for each, and a worker takes one job after the other. What
// the work of a shard is, the caller says (Work): this package knows no files.
//
// The queue is River's (its tables), with tables of ours beside them (schema.go), in the schema kojisnap_queue.
// River gives each job to one worker, largest first, and tries it again after an error. Three things are ours:
//
// Fence. River has no heartbeat: a job whose worker is slow, cut off or dead looks the same, and after some time
// another worker gets it. So a worker works on a shard only while its session holds an advisory lock on it
// (lease.go). It pings that session each second. When it does not answer, all its work is canceled, and if work
// does not end within 10 s of the last answer, Run gives up, so that the process can end. PostgreSQL drops the
// session of a worker that is cut off only after 20 s, by TCP keep-alives, and only then can another take the
// shard. A process that was stopped for longer than that and goes on may work for a second beside another; the
// work itself must bear that: whole files, renamed into place, and a lock on the shard's ledger.
//
// Return. A job that is running though nobody holds its shard's lock for 12 s goes back to the queue at once
// (reclaim.go); River alone would wait for its rescue, 25 min.
//
// Sources. All workers share what a source can bear (sources.go): it has slots, which are advisory locks too,
// and who holds one of K slots keeps to a Kth of its limit. A source that fails three times in a row is closed
// for 10 min for all, and then opened by one job alone.
//
// The state of a shard is in our table fleet_shard, and only there: left, done or failed. It is done in the
// transaction that completes its job. Whatever becomes of a job, a shard that is left without one gets another.
package fleet
