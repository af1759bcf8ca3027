// Package prodtree looks at production's tree on the read-only volume: whether it is here and the one
// of which the database tells, which of its volumes are not mounted, whether staging's hub could write
// it, and what is in a build's directory.
package prodtree
