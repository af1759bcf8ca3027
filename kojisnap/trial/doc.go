// Package trial does with staging's files what a compose does, as the user that runs composes:
// it hard links rpms into a directory, copies those that lie on another mount, and makes a
// repository of them with createrepo_c.
//
// As Pungi's linker (hardlink-or-copy), only EXDEV makes it copy. EPERM, EACCES, EMLINK, EROFS
// end a compose, so they end a trial.
package trial
