// Package volumes knows Koji's file tree: where the files of a build are
// (koji.PathInfo), which staging volume stands for which of production's, and
// which files a compose needs. It computes, and neither reads nor writes files;
// package topdir does.
//
// Names come from a hub and are hostile until checked: no function of this
// package returns a path with a component that was not checked.
//
// # One odd row
//
// What one row says that no path, digest or volume can come of is no error of NewPlan: it keeps back
// its build or its volume, which Plan.Held names.
//
//	package, version, release: a slash, a control character, "..", empty, too
//	long, no UTF-8; a build twice                    the build: neither a copy nor a symlink
//	the same in a wanted rpm's or archive's name, a sigkey, a build type, a maven
//	group, a relpath; an rpm whose .sig is too long  the build: no copy
//	payloadhash that is no digest                    the build: no copy; "", (none) and a SHA-256
//	                                                 are none: see RPMDigest
//	sighash, or the checksum of a wanted archive, that is no digest; a checksum
//	type that is unknown                             the build: no copy
//	a key in two cases, or a path twice, with two digests
//	                                                 the build: no copy
//	a volume's name that is no path, is too long with the prefix, or that gives
//	the name of another one                          the volume, with the builds on it
//	metadata-only rows, arches and build types that are not wanted
//	                                                 nothing: they are not looked at
//	names that the configuration gives (Mapping, CopyVolume)
//	                                                 an error
package volumes
