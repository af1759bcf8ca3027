/*
Package pull reads from a production hub what composes of some tags need, at one event, and writes it to a
store as a snapshot. Each pull after the first asks for what changed.

A run is one pull: package scope finds what it is about, then readers (of history, builds, archives, names)
ask the hub, by the strategies of package pager. What they read they give to a task, which makes rows of it
(package convert), adds them to the Builder of package snapshot, and keeps them in the journal of package
checkpoint. An incremental says which rows of the base are kept in the place of asking the hub.

# What one row of production can do to a pull

Whatever is wrong with one row keeps back that row and what refers to it. It is named once, with the
reason, in the result (Result.LeftOut) and in the manifest (left_out); the command exits with 3.
All else is pulled. The next pull asks for it again. What an earlier snapshot of the same hub and tags
has of it stays as it was last known.

How it is met:

  - The hub sends a value that XML, XML-RPC or the column does not allow (a control character, no
    UTF-8, a number that is too large, too deep a nesting): the row arrives, the value is judged
    (hub.Call.KeepBad, package convert).
  - The hub cannot send it (a number of more than 64 bits, a lone surrogate, malformed JSON, a year
    that Python does not have): faults of code 1 and 1000 and HTTP 500 are bisected to the call, and to
    the row by queryOpts (pager.Each, pager.Split).
  - It sends nothing where other rows refer to something (snapshot.Builder).

What becomes of it:

	what is wrong                              what becomes of it
	-----------------------------------------  -------------------------------------------------------
	build: extra, source                       it is there without that column
	build: another column, or getBuild fails   skipped, with taggings, types, rpms, signatures, archives
	build: getBuildType fails, unknown type    skipped: its types
	rpm, archive: extra                        it is there without extra: by the same call, or for what
	                                           the hub cannot send by listTaggedRPMS, listTaggedArchives
	                                           with extra=False
	rpm, archive: another column               skipped, with signatures, and as a part of archives
	signature, type of an archive, component   skipped
	a row of a tag's history                   skipped; a tag's config ends the pull
	name of a tag of the scope                 ends the pull: all that the tag holds refers to it
	name of a package, volume, group, target   skipped, with what refers to it
	name of a user, permission, external repo, another one is made up: too much refers to it
	content generator, type
	channel; URL of an external repo           skipped
	name of a package or volume, version, ...  skipped if it would lead out of a directory (../)
	module build: the name of its content tag, that the tag is not in the scope; told when it is new
	or getTag of it
	all else that a path cannot hold (a slash, data: stored as it is; copy judges it for that file
	a tab), payload hashes, checksums, names
	of tags, targets, channels, permissions
	times before 1970, after 9999, infinite    data, as far as the hub can send them
	extra of a tag that is no JSON             data: getTag cannot send it, the history has its text

What ends a pull, as it is wrong for all rows:

	no hub, a login wanted, TLS, HTTP 4xx      error (exit code 1)
	network, offline, HTTP 5xx for good,       to be tried again (5)
	no room in the hub's memory or database
	the hub was upgraded meanwhile             to be tried again (5)
	an unknown tag, event, build asked for     error
	by name
	a reply of another shape: a member that    error: no row can make a hub send that
	is missing, text for a number
	a fault for every one of three or more     error: it is the hub that is wrong
	more than 10 rows of a relation and 1 of   error: the cause is not a single row; the snapshot
	20, or all of three or more                before is better
	the list of types, volumes, channels,      error: they cannot be read row by row
	permissions as a whole
	inheritance, a relation of a tag as a      error
	whole
	the store: no room, not writable, network  error, or to be tried again
*/
package pull
