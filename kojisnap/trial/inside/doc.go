// Package inside runs a trial (package trial) in the environment that composes are made for: in a container of
// docker or podman, or in a chroot of mock. Kojisnap's own program is mounted there, and runs the hidden command
// __trial; a job goes in as a line of JSON, and a line of JSON comes out for each step.
//
// The container has no network, a read-only root, no capabilities, and the user who makes composes. Images are never
// pulled. However a run ends, the container is removed; if kojisnap itself is killed, the trial sees its standard
// input end, and ends.
//
// Errors: an engine that is missing or does not answer, an image that is not there, and a program that cannot run there
// are *UnusableError; a container that ended before its job is *KilledError; a job that takes longer than
// Options.Timeout is *TimeoutError. What a step finds is in the result.
package inside

import (
	"fmt"
	"strings"
	"time"
)

// UnusableError says that a trial cannot begin: the configuration, or this machine, must be changed first.
type UnusableError struct{ Reason string }

func (e *UnusableError) Error() string { return e.Reason }

func unusable(format string, args ...any) error {
	return &UnusableError{fmt.Sprintf(format, args...)}
}

// KilledError says that a container ended before its job.
type KilledError struct {
	Image, Step string // the step that it was at
	Status      string
	Tail        []string // the last lines that it, or the engine, wrote
}

func (e *KilledError) Error() string {
	s := fmt.Sprintf("the trial in %s ended during the step %q: %s", e.Image, e.Step, e.Status)
	if len(e.Tail) > 0 {
		s += ": " + strings.Join(e.Tail, " / ")
	}
	return s
}

// TimeoutError says that a job was ended because it took too long.
type TimeoutError struct {
	Image, Step string // the step that it was at
	After       time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("the trial in %s did not end within %v, and was ended during the step %q: --compose-timeout sets the time", e.Image, e.After, e.Step)
}
