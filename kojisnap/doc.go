// Package kojisnap is the order of steps: pull, copy, load, verify, and sync,
// which runs them all. What a step does to one outside system is in the package
// that owns that system: hub, snapfile, store, dbsync, volumes, hardlink.
package kojisnap
