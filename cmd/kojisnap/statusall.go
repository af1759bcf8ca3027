package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"kojisnap/kojisnap"
)

// allStatus is the result of status --all.
type allStatus struct {
	Now          time.Time                    `json:"now"` // by this machine's clock
	Environments []kojisnap.EnvironmentStatus `json:"environments"`
}

// runAll shows all environments that the stores know.
func (o *statusFlags) runAll(ctx context.Context, a *app) error {
	all := allStatus{Now: time.Now().UTC(), Environments: []kojisnap.EnvironmentStatus{}}
	stores, err := a.allStores()
	if err != nil {
		return err
	}
	for _, s := range stores {
		found, err := kojisnap.ReadEnvironments(ctx, s, func(err error) {
			a.log.WarnContext(ctx, "a snapshot cannot be read, and is not looked at", "err", err)
		})
		if err != nil {
			return err
		}
		all.Environments = append(all.Environments, found...)
	}
	if o.nagios {
		return reporter{a}.tellNagios(nagiosOfAll(all, o.limits()))
	}
	return a.result(all, func(w io.Writer) { showEnvironments(w, all, len(stores) > 1, a.verbose) })
}

// showEnvironments writes a table with a line for each environment.
func showEnvironments(w io.Writer, all allStatus, stores, verbose bool) {
	if len(all.Environments) == 0 {
		fmt.Fprintln(w, "no environment is on record in the store: the next load or sync of one makes its record")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	head := "ENVIRONMENT\tEVENT\tOF\tLAST SUCCESS\tBEHIND\t"
	if stores || verbose {
		head += "STORE\t"
	}
	fmt.Fprintln(tw, head+"STATE")
	for _, e := range all.Environments {
		event, of := "none", ""
		if e.Event > 0 {
			event, of = fmt.Sprint(e.Event), "an unknown time"
		}
		if !e.EventTime.IsZero() {
			of = day(e.EventTime)
		}
		success := "none"
		if at := e.Succeeded(); !at.IsZero() {
			success = ago(all.Now.Sub(at)) + " ago"
		}
		line := fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t", e.Name, event, of, success, behindText(&e))
		if stores || verbose {
			line += e.Store + "\t"
		}
		_, state := stateOf(&e)
		fmt.Fprintln(tw, cleanCells(line+state))
	}
}

// cleanCells is clean for a line of a table.
func cleanCells(line string) string {
	cells := strings.Split(line, "\t")
	for i := range cells {
		cells[i] = clean(cells[i])
	}
	return strings.Join(cells, "\t")
}

func behindText(e *kojisnap.EnvironmentStatus) string {
	behind := time.Duration(e.BehindSeconds) * time.Second
	switch {
	case e.Event == 0:
		return "-"
	case e.Newest == "":
		return "no snapshot of its scope"
	case e.Behind > 0 && e.EventTime.IsZero():
		return fmt.Sprintf("%d events", e.Behind)
	case e.Behind > 0:
		return fmt.Sprintf("%d events, %s", e.Behind, ago(behind))
	case e.Snapshot != "" && e.Snapshot != e.Newest:
		return "not the newest of the event"
	}
	return "nothing"
}

// stateOf says how the last sync of an environment ended.
func stateOf(e *kojisnap.EnvironmentStatus) (nagios, string) {
	switch {
	case e.Sync == nil && e.Event == 0:
		return nagiosOK, "nothing on record"
	case e.Sync == nil:
		return nagiosOK, "loaded, never synced"
	}
	state, text := judgeSync(e.Sync.Exit, e.Sync.Error)
	switch {
	case state == nagiosOK && e.Sync.Checks == nil:
		return state, "done, not verified"
	case state == nagiosOK:
		return state, "ready"
	case !e.Whole():
		return nagiosWarning, text + "; a load succeeded since"
	}
	return state, text
}

// nagiosOfAll returns the worst state of all environments. Those that are not OK come first.
func nagiosOfAll(all allStatus, most limits) (state nagios, text, perf string) {
	if len(all.Environments) == 0 {
		return nagiosUnknown, "no environment is on record in the store", ""
	}
	var bad, good, parts []string
	for _, e := range all.Environments {
		its, said := most.judgeEnvironment(&e, all.Now)
		state = max(state, its)
		if its == nagiosOK {
			good = append(good, e.Name+": "+said)
		} else {
			bad = append(bad, e.Name+": "+said)
		}
		parts = append(parts, fmt.Sprintf("%s_age=%s;%d;%d;0; %s_behind=%ds;;;;", e.Name, secondsSince(e.Succeeded(), all.Now),
			int64(most.warning.Seconds()), int64(most.critical.Seconds()), e.Name, e.BehindSeconds))
	}
	return state, strings.Join(append(bad, good...), "; "), strings.Join(parts, " ")
}

// secondsSince is an age as performance data; U is unknown.
func secondsSince(at, now time.Time) string {
	if at.IsZero() {
		return "U"
	}
	return fmt.Sprintf("%ds", max(0, int64(now.Sub(at).Seconds())))
}

// judgeEnvironment returns the state of an environment, with the reasons.
func (l limits) judgeEnvironment(e *kojisnap.EnvironmentStatus, now time.Time) (state nagios, text string) {
	var said []string
	say := func(n nagios, text string) {
		state = max(state, n)
		said = append(said, text)
	}
	if n, text := stateOf(e); n != nagiosOK {
		say(n, text)
	}
	if at := e.Succeeded(); at.IsZero() {
		say(l.judge(now.Sub(e.Seen)), "no success on record")
	} else {
		say(l.judge(now.Sub(at)), "last success "+ago(now.Sub(at))+" ago")
	}
	if p := e.Pulled; p != nil && e.Sync != nil && e.Sync.Only == string(kojisnap.OnlyApply) {
		if n := l.judge(now.Sub(p.Succeeded)); n != nagiosOK {
			say(n, "last pull "+pulledText(p, now))
		}
	}
	if old := now.Sub(e.EventTime); l.event > 0 && !e.EventTime.IsZero() && old > l.event {
		say(nagiosWarning, fmt.Sprintf("event %d of %s", e.Event, day(e.EventTime)))
	}
	return state, strings.Join(said, ", ")
}

// checkAll refuses flags that are of no use with --all.
func (o *statusFlags) checkAll() error {
	if o.prometheus {
		return usagef("--prometheus and --all: metrics are of one environment; give --env")
	}
	if o.event {
		return usagef("--event and --all: the event to pin is that of one environment; give --env")
	}
	return nil
}
