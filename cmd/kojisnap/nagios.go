package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kojisnap/dbsync/book"
	"kojisnap/kojisnap"
)

// nagios is a state of the monitoring plugins' guidelines; it is the exit code.
type nagios int

const (
	nagiosOK nagios = iota
	nagiosWarning
	nagiosCritical
	nagiosUnknown
)

func (n nagios) String() string { return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[n] }

// nagiosError carries a state other than OK to the end of the process. It has been reported.
type nagiosError struct{ state nagios }

func (e nagiosError) Error() string { return e.state.String() }

// nagiosOf returns the state of a status, with the reasons and the performance data.
func nagiosOf(s *kojisnap.StagingStatus, most limits) (state nagios, text, perf string) {
	var said []string
	say := func(n nagios, format string, args ...any) {
		said = append(said, fmt.Sprintf(format, args...))
		// UNKNOWN has the highest code, but says less than that something is wrong.
		if n == nagiosUnknown && state != nagiosOK {
			return
		}
		state = max(state, n)
	}
	age, since := s.Age(), "last success %s ago"
	switch {
	case s.Whole() && s.LastGoodSync == nil:
		since = "no sync was without trouble since it was marked %s ago"
	case !s.Whole() && s.LastSuccess == nil:
		since = "nothing loaded since it was marked %s ago"
	}
	if len(s.Syncs) > 0 {
		if n, text := judgeSync(s.Syncs[0].Exit, s.Syncs[0].Error); n != nagiosOK && s.Whole() {
			say(n, "%s", text)
		} else if n != nagiosOK {
			say(nagiosWarning, "%s; a load succeeded since", text)
		}
	}
	say(most.judge(age), since, ago(age))
	if p := s.Pulled; p != nil && s.AppliesOnly() {
		say(most.judge(s.Now.Sub(p.Succeeded)), "last pull %s", pulledText(p, s.Now))
	}
	inSync := len(s.Runs) > 0 && len(s.Syncs) > 0 && s.Runs[0].ID <= s.Syncs[0].LastLoad // the sync's own error says it
	if len(s.Runs) > 0 && s.Runs[0].Result == book.ResultFailed && !inSync {
		failures := slices.IndexFunc(s.Runs, func(r book.Run) bool { return r.Result != book.ResultFailed })
		if failures < 0 {
			failures = len(s.Runs)
		}
		say(nagiosWarning, "the last %d failed: %s", failures, s.Runs[0].Error)
	}
	if s.Event > 0 {
		state := nagiosOK
		if old := s.Now.Sub(s.EventTime); most.event > 0 && old > most.event {
			state = nagiosWarning
		}
		say(state, "event %d of %s", s.Event, day(s.EventTime))
	}
	drift, events := "U", "U"
	if d := s.Drift; d != nil {
		if d.Error != "" {
			say(nagiosUnknown, "drift %s", driftText(d, false))
		} else if d.Loaded || s.Event > 0 {
			drift, events = fmt.Sprintf("%ds", d.Seconds), fmt.Sprint(d.Events)
		}
		if d.Error == "" && !d.Loaded {
			say(nagiosOK, "%s", driftText(d, false))
		}
	}
	counts := []struct {
		label string
		n     int
	}{{"conflicts", len(s.Conflicts)}, {"left_out", len(s.LeftOut)}, {"kept", len(s.Kept)}, {"hidden", len(s.Hidden)}}
	parts := []string{fmt.Sprintf("age=%ds;%d;%d;0;", int64(age.Seconds()), int64(most.warning.Seconds()), int64(most.critical.Seconds()))}
	if !s.EventTime.IsZero() {
		parts = append(parts, fmt.Sprintf("event_age=%ds;;;;", int64(s.Now.Sub(s.EventTime).Seconds())))
	}
	if s.Drift != nil {
		parts = append(parts, "drift="+drift+";;;;", "drift_events="+events+";;;;")
	}
	for _, c := range counts {
		parts = append(parts, fmt.Sprintf("%s=%d;;;0;", c.label, c.n))
		if c.n > 0 && c.label != "kept" && c.label != "left_out" {
			say(nagiosOK, "%d %s", c.n, c.label)
		}
	}
	return state, strings.Join(said, ", "), strings.Join(parts, " ")
}

// judge returns the state of an age.
func (l limits) judge(age time.Duration) nagios {
	switch {
	case age > l.critical:
		return nagiosCritical
	case age > l.warning:
		return nagiosWarning
	}
	return nagiosOK
}

// judgeSync returns the state of the last sync, by its exit code.
func judgeSync(exit int, why string) (nagios, string) {
	switch exit {
	case exitDone:
		return nagiosOK, ""
	case exitNotReady, exitDigest:
		return nagiosCritical, fmt.Sprintf("the last sync found staging not compose-ready (exit code %d): %s", exit, why)
	}
	return nagiosWarning, fmt.Sprintf("the last sync failed (exit code %d): %s", exit, why)
}

// tellNagios prints the plugin's line. It makes sure that no text looks like performance data.
func (a reporter) tellNagios(state nagios, text, perf string) error {
	if runes := []rune(text); len(runes) > 600 { // some agents cut at 1,024 bytes
		text = string(runes[:600]) + "…"
	}
	line := fmt.Sprintf("KOJISNAP %s - %s", state, strings.ReplaceAll(clean(text), "|", "/"))
	if perf != "" {
		line += " | " + perf
	}
	fmt.Fprintln(a.stdout, line)
	if state == nagiosOK {
		return nil
	}
	return nagiosError{state}
}

// unknown reports an error as a plugin does.
func (a *app) unknown(err error) error {
	var told nagiosError
	if err == nil || errors.As(err, &told) {
		return err
	}
	text := message(err)
	if errors.Is(err, context.DeadlineExceeded) {
		text = "no answer in 30 seconds: " + clean(err.Error())
	}
	return reporter{a}.tellNagios(nagiosUnknown, text, "")
}

// wantsNagios reports whether a command line, which may be wrong, has --nagios.
func wantsNagios(args []string) bool {
	return len(args) > 0 && args[0] == statusCommand.name && slices.ContainsFunc(args[1:], func(s string) bool {
		return s == "--nagios" || s == "--nagios=true"
	})
}
