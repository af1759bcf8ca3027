// Package tell says what the steps of a command did and could not do: as lines on a terminal and as messages of the log.
package tell

import "log/slog"

// Reporter has where to say it. What makes the command end with an exit code other than 0 comes back as an error.
type Reporter struct {
	Log             *slog.Logger
	Line            func(format string, args ...any) // writes a line to a terminal
	Complain        func(line string, attrs ...any)  // writes a line of an error
	DryRun, Verbose bool
}
