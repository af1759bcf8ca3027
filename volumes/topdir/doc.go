// Package topdir writes below staging's topdir, and nowhere else: no method follows a symlink or enters
// another mount on the way to what it changes, so that nothing in topdir can lead a write into the
// read-only volume. It also knows what the mounts must look like, whose the files are (Attributes), and
// how a staging volume shows one of production's.
package topdir
