package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// tellError says on standard error why a command failed: a line for each message.
func (a *app) tellError(err error, code int, args []string) {
	if wants(args, "--log-format", "json") { // the command line may be wrong, and not have been parsed to its end
		a.logFormat = "json"
	}
	for _, line := range messages(err) {
		a.complain(line, "exit", code)
	}
}

// complain writes a line of an error to standard error. Its attributes are for programs.
func (a *app) complain(line string, attrs ...any) {
	if a.logFormat == "json" {
		slog.New(slog.NewJSONHandler(a.stderr, nil)).Error(line, attrs...)
		return
	}
	fmt.Fprintln(a.stderr, "kojisnap: "+clean(line))
}

// wants reports whether a command line has a flag, with a value if that is not empty, though the command
// line may be wrong and was not parsed to its end.
func wants(args []string, flag, value string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	if value == "" {
		return slices.Contains(args, flag) || slices.Contains(args, flag+"=true")
	}
	for i, arg := range args {
		if arg == flag+"="+value || arg == flag && i+1 < len(args) && args[i+1] == value {
			return true
		}
	}
	return false
}

// jsonLines makes records of a JSON log of lines of text.
type jsonLines struct{ log *slog.Logger }

func (w jsonLines) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		w.log.Info(strings.TrimSpace(strings.TrimPrefix(line, "kojisnap: ")))
	}
	return len(b), nil
}
