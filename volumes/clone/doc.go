// Package clone keeps writable clones of production's tree. A clone shows production's files as they are at one
// moment, and takes what is written into it, so that a compose whose directory is inside the clone hard-links
// production's rpms and nothing is copied. Production's tree is never changed.
//
// A Provider makes clones. A Keeper has the order of steps: it notes below topdir what it is about to make, makes the
// clone, mounts it, and then leads the symlink vol/NAME/packages there by a rename. Composes that run keep the clone
// that they work in: older clones are discarded later, and never one that is in use. Killed at any step, the next run
// goes on, or removes what is unfinished.
//
// Only clones with a note below topdir are ever discarded. What a compose writes into a clone goes with it.
package clone
