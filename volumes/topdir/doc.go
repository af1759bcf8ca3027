// Package topdir writes only below staging's topdir: no method follows a symlink or enters another mount
// on the way to a file that it changes, so that nothing in topdir can lead a write into the read-only
// volume. The package also checks mounts, sets owners, modes and labels (Attributes), and makes the staging
// volumes that show production's.
package topdir
