// Package trial does with staging's files what a compose does, as the user that runs composes: it hard-links rpms
// into a directory, copies those that are on another mount, and makes a repository of them with createrepo_c.
//
// Like Pungi's linker (hardlink-or-copy), it copies only after EXDEV. EPERM, EACCES, EMLINK and EROFS end a
// compose, so they end a trial.
package trial
