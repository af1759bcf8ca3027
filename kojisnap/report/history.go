package report

import (
	"slices"
	"time"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/oneline"
)

// readSyncs takes from the history of syncs what charts, costs and the matrix need.
func (e *Env) readSyncs(in Input, s *kojisnap.StagingStatus) {
	for i, run := range in.Syncs {
		report, err := kojisnap.ReadSyncReport(run)
		if err != nil {
			e.trouble("what a sync did", oneline.Of(err))
			continue
		}
		point := SyncPoint{ID: run.ID, Started: run.Started, Seconds: run.Finished.Sub(run.Started).Seconds(), Exit: run.Exit, Error: run.Error, Event: run.Event}
		pulled, copied := false, false
		var asked Asked
		var made Made
		for _, step := range report.Steps {
			n := step.Counts
			switch step.Name {
			case "pull":
				pulled = true
				asked.add(Asked{Pulls: 1, Requests: n["requests"], Rows: n["asked_rows"], Sent: n["sent"], Received: n["received"], Seconds: step.Seconds})
				point.Requests, point.Received = n["requests"], n["received"]
			case "load":
				point.Rows += n["inserted"] + n["updated"] + n["revoked_or_deleted"]
			case "copy", "repair":
				copied = true
				point.Bytes += n["bytes"]
				asked.Fetched += n["fetched_bytes"]
				made.add(Made{Hardlinked: n["hardlinked"], Reflinked: n["reflinked"], Copied: n["copied"], Spliced: n["spliced"],
					Fetched: n["fetched"], Files: n["made"], Bytes: n["bytes"]})
			}
		}
		asked.Since, made.Since = run.Started, run.Started
		if pulled {
			if e.Cost.Last.Pulls == 0 {
				e.Cost.Last = asked
			}
			e.Cost.All.add(asked)
			e.Cost.All.Since = run.Started // the first is the last of the list
		}
		if copied {
			if e.Files.Last.Since.IsZero() {
				e.Files.Last = made
			}
			e.Files.All.add(made)
			e.Files.All.Since = run.Started
		}
		if i == in.Checked {
			e.Checked, e.Checks = run.Finished, cells(report)
		}
		e.Syncs = append(e.Syncs, point)
	}
	e.findGaps(s.Now)
}

func (a *Asked) add(b Asked) {
	a.Pulls += b.Pulls
	a.Requests += b.Requests
	a.Rows += b.Rows
	a.Sent += b.Sent
	a.Received += b.Received
	a.Fetched += b.Fetched
	a.Seconds += b.Seconds
}

func (m *Made) add(b Made) {
	m.Hardlinked += b.Hardlinked
	m.Reflinked += b.Reflinked
	m.Copied += b.Copied
	m.Spliced += b.Spliced
	m.Fetched += b.Fetched
	m.Files += b.Files
	m.Bytes += b.Bytes
}

// leastSyncs is how many syncs it takes to tell a schedule from chance.
const leastSyncs = 5

// findGaps finds the schedule: the median of the times between syncs. Where about twice that or more lies between two
// syncs, some were missed.
func (e *Env) findGaps(now time.Time) {
	if len(e.Syncs) < leastSyncs {
		return
	}
	var between []time.Duration
	for i := range len(e.Syncs) - 1 {
		between = append(between, e.Syncs[i].Started.Sub(e.Syncs[i+1].Started))
	}
	slices.Sort(between)
	every := between[len(between)/2]
	if every < time.Minute { // by hand, one after the other
		return
	}
	e.Every = int64(every.Seconds())
	missed := func(gap time.Duration) int { return max(0, int((gap+every/4)/every)-1) }
	for i := range len(e.Syncs) - 1 {
		e.Syncs[i].Missed = missed(e.Syncs[i].Started.Sub(e.Syncs[i+1].Started))
	}
	// One that runs now is not on record yet: it may take as long as the last one did.
	last := e.Syncs[0]
	e.Overdue = missed(now.Sub(last.Started) - time.Duration(last.Seconds*float64(time.Second)))
}

// lastOf returns the newest n of a history, oldest first.
func lastOf(syncs []SyncPoint, n int) []SyncPoint {
	part := slices.Clone(syncs[:min(n, len(syncs))])
	slices.Reverse(part)
	return part
}
