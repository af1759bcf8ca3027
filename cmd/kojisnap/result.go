package main

import (
	"fmt"
	"io"
	"slices"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/tell"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/verify"
)

// reporter prints and logs what the steps of a command did and could not do. What makes the command end with an
// exit code other than 0 comes back as an error.
type reporter struct{ *app }

// teller says what the steps did that deal with files and tags.
func (a *app) teller() tell.Reporter {
	return tell.Reporter{Log: a.log, Line: a.tell, Complain: a.complain, DryRun: a.dryRun, Verbose: a.verbose}
}

// standardError is standard error as the flags want it.
func (a *app) standardError() output.Errors {
	return output.Errors{Out: a.stderr, Console: a.errors, Format: a.logFormat, Quiet: a.quiet, Verbose: a.verbose, Debug: a.debug}
}

// result prints what a command did: as JSON with --json, or else the text that show writes.
func (a *app) result(v any, show func(w io.Writer)) error {
	a.outcome = v
	if !a.json {
		if show != nil {
			show(a.stdout)
		}
		return nil
	}
	return a.document.Open(a.stdout, v)
}

// tell writes a line to a terminal. Cron and pipes get none.
func (a *app) tell(format string, args ...any) {
	if a.terminal && !a.quiet && !a.json && a.logFormat == "text" {
		a.standardError().Line(fmt.Sprintf(format, args...))
	}
}

// closeDocument ends the document, or writes one that has only the end.
func (a *app) closeDocument(err error, code int) {
	var lines []string
	if err != nil {
		lines = exit.Messages(err)
	}
	a.document.Close(a.stdout, lines, code)
}

// partial prints what a command found and did before it failed, with --json: people get only the error.
func (a *app) partial(result any) {
	a.outcome = result
	if a.json {
		_ = a.document.Open(a.stdout, result)
	}
}

// tellError writes to standard error why a command failed: a line for each message.
func (a *app) tellError(err error, code int, args []string) {
	if wants(args, "--log-format", "json") { // the command line may be wrong, and not have been parsed to its end
		a.logFormat = "json"
	}
	for _, line := range exit.Messages(err) {
		a.complain(line, "exit", code)
	}
}

// complain writes a line of an error to standard error. Its attributes are for programs.
func (a *app) complain(line string, attrs ...any) { a.standardError().Complain(line, attrs...) }

// wants reports whether a command line has a flag, with a value unless that is empty. The command line may be wrong
// and not have been parsed to its end.
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

// wantsNagios reports whether a command line, which may be wrong, has --nagios.
func wantsNagios(args []string) bool {
	return len(args) > 0 && args[0] == statusCommand.name && slices.ContainsFunc(args[1:], func(s string) bool {
		return s == "--nagios" || s == "--nagios=true"
	})
}

// stepBegins names a step on a terminal when it begins.
func (a reporter) stepBegins(name string) { a.tell("%s …", name) }

// stepEnds says on a terminal how long a step took and what it did.
func (a reporter) stepEnds(step kojisnap.SyncStep, r *kojisnap.SyncResult) {
	if text := stepText(step, r); text != "" {
		a.tell("  %.1f s: %s", step.Seconds, output.Clean(text))
	}
}

// stepText says in a few words what a step did.
func stepText(step kojisnap.SyncStep, r *kojisnap.SyncResult) string {
	files := map[string]*kojisnap.CopyResult{"copy": r.Copy, "repair": r.Repair, "remove": r.Remove}[step.Name]
	switch {
	case step.Error != "" && files == nil:
		return "failed"
	case step.Name == "pull" && r.Pull.Source != nil:
		return fmt.Sprintf("event %d, %d rows; %s", r.Pull.Event, r.Pull.Totals.Rows, sourceText(r.Pull))
	case step.Name == "pull" && r.Pull.Existing:
		return fmt.Sprintf("nothing new at event %d; %d requests", r.Pull.Event, r.Pull.Asked.Requests)
	case step.Name == "pull":
		return fmt.Sprintf("event %d, %d rows; %d of them read in %d requests", r.Pull.Event, r.Pull.Totals.Rows, r.Pull.Asked.Rows, r.Pull.Asked.Requests)
	case step.Name == "import":
		return fmt.Sprintf("the full import of snapshot %s is done; it had been broken off", r.Import.Snapshot)
	case step.Name == "load" && !r.Load.Changed():
		return "nothing changed"
	case step.Name == "load":
		in, up, gone := r.Load.Totals()
		return fmt.Sprintf("%d rows inserted, %d updated, %d revoked or deleted", in, up, gone)
	case step.Name == "clone" && r.Clone.Kept:
		return r.Clone.ID + " is in use"
	case step.Name == "clone":
		return r.Clone.ID + " at " + r.Clone.Path
	case step.Name == "discard":
		return fmt.Sprintf("%d clones discarded, %d in use", len(r.Discard.Discarded), len(r.Discard.Busy))
	case step.Name == "verify":
		by := map[verify.Status]int{}
		for _, c := range r.Verify.Checks {
			by[c.Status]++
		}
		return fmt.Sprintf("%d checks ok, %d warnings, %d failed", by[verify.StatusOK], by[verify.StatusWarning], by[verify.StatusFailed])
	case files == nil:
		return "done"
	case step.Name == "remove":
		return fmt.Sprintf("%d builds removed, %s; %d kept for now", files.Report.Removed, kojisnap.Size(files.Report.RemovedBytes), files.Report.Grace)
	}
	rep := files.Report
	return fmt.Sprintf("%d files made, %s; %d were there", rep.Linked+rep.Reflinked+rep.Copied+rep.Spliced+rep.Fetched, kojisnap.Size(rep.Bytes), rep.Present)
}
