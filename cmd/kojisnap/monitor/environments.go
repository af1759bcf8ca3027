package monitor

import (
	"fmt"
	"strings"
	"time"

	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/tell"
	"kojisnap/kojisnap"
)

// LastSync says how the last sync of an environment ended.
func LastSync(e *kojisnap.EnvironmentStatus) (State, string) {
	switch {
	case e.Sync == nil && e.Event == 0:
		return OK, "nothing on record"
	case e.Sync == nil:
		return OK, "loaded, never synced"
	}
	state, text := judgeSync(e.Sync.Exit, e.Sync.Error)
	switch {
	case state == OK && e.Sync.Checks == nil:
		return state, "done, not verified"
	case state == OK:
		return state, "ready"
	case !e.Whole():
		return Warning, text + "; a load succeeded since"
	}
	return state, text
}

// All returns the worst state of all environments. Those that are not OK come first.
func All(environments []kojisnap.EnvironmentStatus, now time.Time, most Limits) Answer {
	if len(environments) == 0 {
		return Answer{State: Unknown, Text: "no environment is on record in the store"}
	}
	state := OK
	var bad, good, parts []string
	for _, e := range environments {
		its, said := most.judgeEnvironment(&e, now)
		state = max(state, its)
		if its == OK {
			good = append(good, e.Name+": "+said)
		} else {
			bad = append(bad, e.Name+": "+said)
		}
		parts = append(parts, fmt.Sprintf("%s_age=%s;%d;%d;0; %s_behind=%ds;;;;", e.Name, secondsSince(e.Succeeded(), now),
			int64(most.Warning.Seconds()), int64(most.Critical.Seconds()), e.Name, e.BehindSeconds))
	}
	return Answer{state, strings.Join(append(bad, good...), "; "), strings.Join(parts, " ")}
}

// secondsSince is an age as performance data; U is unknown.
func secondsSince(at, now time.Time) string {
	if at.IsZero() {
		return "U"
	}
	return fmt.Sprintf("%ds", max(0, int64(now.Sub(at).Seconds())))
}

// judgeEnvironment returns the state of an environment, with the reasons.
func (l Limits) judgeEnvironment(e *kojisnap.EnvironmentStatus, now time.Time) (state State, text string) {
	var said []string
	say := func(n State, text string) {
		state = max(state, n)
		said = append(said, text)
	}
	if n, text := LastSync(e); n != OK {
		say(n, text)
	}
	if at := e.Succeeded(); at.IsZero() {
		say(l.judge(now.Sub(e.Seen)), "no success on record")
	} else {
		say(l.judge(now.Sub(at)), "last success "+kojisnap.Age(now.Sub(at))+" ago")
	}
	if p := e.Pulled; p != nil && e.Sync != nil && e.Sync.Only == string(kojisnap.OnlyApply) {
		if n := l.judge(now.Sub(p.Succeeded)); n != OK {
			say(n, "last pull "+tell.Pulled(p, now))
		}
	}
	if old := now.Sub(e.EventTime); l.Event > 0 && !e.EventTime.IsZero() && old > l.Event {
		say(Warning, fmt.Sprintf("event %d of %s", e.Event, output.Day(e.EventTime)))
	}
	return state, strings.Join(said, ", ")
}
