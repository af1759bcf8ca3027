// Package shard copies all builds of a snapshot in parts: shards, blocks of builds by id, which many workers can copy at the
// same time.
//
// # The plan
//
// Make writes a plan below topdir, once for a snapshot: .kojisnap/plans/NAME has for each shard a file with the rows of its
// builds, and a manifest with its sums, written last. A worker reads only the files of its own shards. Plan.Of divides the
// shards between workers, so that any number of workers copies each shard exactly once.
//
// A shard file, SHARD.zst, is zstd-compressed text: a line "kojisnap-shard TAB 1", then lines with fields separated by tabs,
// in which \\, \t and \n stand for a backslash, a tab and a line's end. Builds are in the order of their ids, and what belongs
// to a build follows it:
//
//	B id name version release volume
//	R id name version release arch size payloadhash metadata_only [key sighash]…
//	A id path btype size checksum checksum_type metadata_only error
//
// volume is production's; path is the archive's in the build's directory, without a content generator's subdirectory; error says
// why the row gives no path. Shard is id >> 12, and a block whose files have more than 500 GB is halved by ids, into …a and …b,
// until each part is smaller or has one build. The manifest names each file's SHA-256, of the text: the shard's digest.
//
// # The copy
//
// Copy makes the files of one shard with an Engine of package hardlink, whose promises hold. Each shard has a ledger of its own
// (see package ledger), to which builds move that the topdir's own ledger has. When everything of the shard is in place by that
// ledger, it writes a record beside it, SHARD.done, with the digest: a later plan with the same digest has nothing to do.
package shard
