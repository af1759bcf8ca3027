/*
Package verify finds out whether composes can run in staging: it asks staging's hub what compose tools ask,
compares the answers with a snapshot or with production's hub, and looks at the files that the answers name.

# What ends a verification, and what is one failed check

Verify finds out as much as it can, whatever is wrong. Only what makes the whole impossible is an error:

	options that contradict each other; an unusable directory          error, wrong usage
	a tag, arch or key that the snapshot does not know                 [compose.UnknownError], wrong usage
	a hub that is not staging's                                        [ErrNotStagingHub], wrong usage
	a hub that does not answer at all                                  temporary ([hub.Temporary])
	a snapshot that is damaged, a store that is gone                   [snapfile.DamagedError], the store's error
	the compose user cannot be assumed                                 error
	an engine or an image is not there                                 [inside.UnusableError], wrong usage
	a container that is killed                                         [inside.KilledError]

Whatever is wrong with one call, one row or one file is one failed check, or one line of one, with the
reason. What depends on it is left out; all else is checked:

	a call faults, is cut off, takes too long, is not well-formed      the check, for the tag that it is about
	a multicall that one row spoils                                    its calls are made singly; the check
	a tag is not there, or cannot be asked for                         tag; what else needs it
	a tag, repo or package has another name in staging                 tag, names: warnings
	staging deleted the tag, after the event                           hidden: a warning
	a module's content tag was not pulled, or production lacks it      content tags
	a module build names no content tag                                content tags: a warning
	a pattern matches no tag of the snapshot                           tags: a warning
	a package filter that cannot be understood                         inheritance, rpms, modules, of that tag
	a tag inherits a deleted one, so that getBuildConfig faults        arches: a warning if it does in production
	an rpm is listed without its build                                 rpms
	a build asked for by name is not there, is not complete in         builds; its rows and files: build rpms, build
	production, is called otherwise, cannot be asked for               signatures, build archives, build files, …
	rows differ from production's                                      rpms, signatures, modules, …
	  … by staging's own decision, on record                           on record: no failure
	an rpm, a build, an archive with an unsafe name                    files, module files
	payloadhash or a checksum is no digest, or of an unknown type      files, module files
	an archive's row cannot be read                                    module archives
	a file is missing, or a lower copy stands in its place             files
	  … and this site never has its volume (Want.Unmounted)            unmounted volumes: a warning
	a file is a symlink, a directory, a device; cannot be read         files
	size, digest, signature, key are others                            files: Digests, exit code 6
	production has not signed an rpm by the wanted keys                signed copies
	a source rpm is missing                                            sources
	a link cannot be made, what is free cannot be found out            links, room
	a trial repository cannot be made                                  trial
	no image is configured for a tag and an arch                       image
	the image is of another release, lacks createrepo_c or rpm         environment
	  … or is for another arch, or no release is known                 environment: unproven
	rpm in the image cannot read an rpm                                rpm -K
	a package requires what its repository does not have               closure: a warning
	the command of the operator fails                                  compose-run
	a file cannot be fetched from topurl                               topurl
	channels, hosts, targets, repositories                             a check each: warnings
*/
package verify
