// Package kojisnap is the order of steps: copy, load, and sync, which runs these and packages pull and verify;
// status and doctor look at all of it. What a step does to one outside system is in the package that owns that
// system: hub, snapfile, store, dbsync, volumes, hardlink.
package kojisnap
