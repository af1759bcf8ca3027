// Package prodtree looks at production's tree on the read-only volume. It finds out whether the tree is there
// and is the one in the database, which of its volumes are not mounted, whether staging's hub could write it,
// and what a build's directory holds.
package prodtree
