package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// jsonFormat is the version of the document of a failure.
const jsonFormat = 1

// failure is the document of a command that has no result.
type failure struct {
	Format int    `json:"format"`
	Error  string `json:"error"` // all messages, a line for each
	Exit   int    `json:"exit"`  // the exit code
}

// writeFailure leaves trouble with the output to who finishes it.
func writeFailure(w *output, err error, code int) {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	_ = enc.Encode(failure{jsonFormat, strings.Join(messages(err), "\n"), code})
}

// tellError says on standard error why a command failed: a line for each message, in the format of the
// log where the caller asked for JSON.
func (a *app) tellError(err error, code int, args []string) {
	if a.logFormat == "json" || wants(args, "--log-format", "json") {
		log := slog.New(slog.NewJSONHandler(a.stderr, nil))
		for _, line := range messages(err) {
			log.Error(line, "exit", code)
		}
		return
	}
	for _, line := range messages(err) {
		fmt.Fprintln(a.stderr, "kojisnap: "+line)
	}
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
