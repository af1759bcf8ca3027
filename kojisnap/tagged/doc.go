// Package tagged finds the builds that a tag holds at a snapshot's event, from the snapshot's rows.
// It applies the hub's rules of inheritance, package lists and "latest" (kojihub:
// readFullInheritance, readPackageList, readTaggedBuilds).
package tagged
