// Package monitor judges how staging stands as the guidelines of monitoring plugins want it: a state, one line, performance
// data.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/tell"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap"
)

// State is a state of the monitoring plugins' guidelines; it is the exit code.
type State int

const (
	OK State = iota
	Warning
	Critical
	Unknown
)

func (n State) String() string { return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[n] }

// Error carries a state other than OK to the end of the process. It has been reported.
type Error struct{ state State }

func (e *Error) Error() string { return e.state.String() }

// ExitsWith is the exit code: that of a plugin.
func (e *Error) ExitsWith() int { return int(e.state) }

// Limits are the ages from which on something is wrong.
type Limits struct {
	Warning, Critical time.Duration // of the last success
	Event             time.Duration // of the event to pin; 0: do not look
}

// Staging judges a status, with the reasons and the performance data.
func Staging(s *kojisnap.StagingStatus, most Limits) Answer {
	state := OK
	var said []string
	say := func(n State, format string, args ...any) {
		said = append(said, fmt.Sprintf(format, args...))
		// UNKNOWN has the highest code, but says less than that something is wrong.
		if n == Unknown && state != OK {
			return
		}
		state = max(state, n)
	}
	if i := s.Importing; i != nil {
		say(Warning, "a full import of snapshot %s is under way since %s, or was broken off", i.Snapshot, kojisnap.Age(s.Now.Sub(i.Started)))
	}
	age, since := s.Age(), "last success %s ago"
	switch {
	case s.Whole() && s.LastGoodSync == nil:
		since = "no sync was without trouble since it was marked %s ago"
	case !s.Whole() && s.LastSuccess == nil:
		since = "nothing loaded since it was marked %s ago"
	}
	if len(s.Syncs) > 0 {
		if n, text := judgeSync(s.Syncs[0].Exit, s.Syncs[0].Error); n != OK && s.Whole() {
			say(n, "%s", text)
		} else if n != OK {
			say(Warning, "%s; a load succeeded since", text)
		}
	}
	say(most.judge(age), since, kojisnap.Age(age))
	if p := s.Pulled; p != nil && s.AppliesOnly() {
		say(most.judge(s.Now.Sub(p.Succeeded)), "last pull %s", tell.Pulled(p, s.Now))
	}
	inSync := len(s.Runs) > 0 && len(s.Syncs) > 0 && s.Runs[0].ID <= s.Syncs[0].LastLoad // the sync's own error says it
	if len(s.Runs) > 0 && s.Runs[0].Result == book.ResultFailed && !inSync {
		failures := slices.IndexFunc(s.Runs, func(r book.Run) bool { return r.Result != book.ResultFailed })
		if failures < 0 {
			failures = len(s.Runs)
		}
		say(Warning, "the last %d failed: %s", failures, s.Runs[0].Error)
	}
	if s.Event > 0 {
		state := OK
		if old := s.Now.Sub(s.EventTime); most.Event > 0 && old > most.Event {
			state = Warning
		}
		say(state, "event %d of %s", s.Event, output.Day(s.EventTime))
	}
	drift, events := "U", "U"
	if d := s.Drift; d != nil {
		if d.Error != "" {
			say(Unknown, "drift %s", tell.Drift(d, false))
		} else if d.Loaded || s.Event > 0 {
			drift, events = fmt.Sprintf("%ds", d.Seconds), fmt.Sprint(d.Events)
		}
		if d.Error == "" && !d.Loaded {
			say(OK, "%s", tell.Drift(d, false))
		}
	}
	counts := []struct {
		label string
		n     int
	}{{"conflicts", len(s.Conflicts)}, {"left_out", len(s.LeftOut)}, {"kept", len(s.Kept)}, {"hidden", len(s.Hidden)}}
	parts := []string{fmt.Sprintf("age=%ds;%d;%d;0;", int64(age.Seconds()), int64(most.Warning.Seconds()), int64(most.Critical.Seconds()))}
	if !s.EventTime.IsZero() {
		parts = append(parts, fmt.Sprintf("event_age=%ds;;;;", int64(s.Now.Sub(s.EventTime).Seconds())))
	}
	if s.Drift != nil {
		parts = append(parts, "drift="+drift+";;;;", "drift_events="+events+";;;;")
	}
	for _, c := range counts {
		parts = append(parts, fmt.Sprintf("%s=%d;;;0;", c.label, c.n))
		if c.n > 0 && c.label != "kept" && c.label != "left_out" {
			say(OK, "%d %s", c.n, c.label)
		}
	}
	return Answer{state, strings.Join(said, ", "), strings.Join(parts, " ")}
}

// judge returns the state of an age.
func (l Limits) judge(age time.Duration) State {
	switch {
	case age > l.Critical:
		return Critical
	case age > l.Warning:
		return Warning
	}
	return OK
}

// judgeSync returns the state of the last sync, by its exit code.
func judgeSync(code int, why string) (State, string) {
	switch code {
	case exit.Done:
		return OK, ""
	case exit.NotReady, exit.Digest:
		return Critical, fmt.Sprintf("the last sync found staging not compose-ready (exit code %d): %s", code, why)
	}
	return Warning, fmt.Sprintf("the last sync failed (exit code %d): %s", code, why)
}

// Answer is what a plugin says.
type Answer struct {
	State      State
	Text, Perf string // Perf is performance data; empty: none
}

// Tell prints the plugin's line, and returns a state other than OK as an *Error. It makes sure that no text looks like
// performance data.
func (a Answer) Tell(w io.Writer) error {
	text := a.Text
	if runes := []rune(text); len(runes) > 600 { // some agents cut at 1,024 bytes
		text = string(runes[:600]) + "…"
	}
	line := fmt.Sprintf("KOJISNAP %s - %s", a.State, strings.ReplaceAll(output.Clean(text), "|", "/"))
	if a.Perf != "" {
		line += " | " + a.Perf
	}
	fmt.Fprintln(w, line)
	if a.State == OK {
		return nil
	}
	return &Error{a.State}
}

// TellError prints an error as a plugin does, unless a plugin's line was printed already.
func TellError(w io.Writer, err error) error {
	if err == nil || errors.As(err, new(*Error)) {
		return err
	}
	text := exit.Message(err)
	if errors.Is(err, context.DeadlineExceeded) {
		text = "no answer in 30 seconds: " + output.Clean(err.Error())
	}
	return Answer{State: Unknown, Text: text}.Tell(w)
}
