// Package tagged says what a tag holds, as the hub would, from the rows of a snapshot: Koji's
// rules of inheritance, package lists and "latest" (kojihub: readFullInheritance,
// readPackageList, readTaggedBuilds), at the snapshot's event.
package tagged
