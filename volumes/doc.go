// Package volumes knows Koji's file tree: where the files of a build are
// (koji.PathInfo), which staging volume stands for which of production's, what
// the mounts must look like, and which files a compose needs.
//
// Names come from a hub and are hostile until checked: no function of this
// package returns a path with a component that was not checked, and nothing is
// written through a symlink or into another mount (see Topdir).
package volumes
