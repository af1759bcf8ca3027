package tell

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/repository"
)

// shownRuns is how many runs are shown without -v.
const shownRuns = 5

// WriteStatus writes how staging stands; with all, every entry of each list.
func WriteStatus(w io.Writer, s *kojisnap.StagingStatus, all bool) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(tw, "environment\t%s, database %s, floor %d\n", output.Clean(s.Mark.Environment), output.Clean(s.Mark.Database), s.Mark.Floor)
	if s.Verdict != nil {
		fmt.Fprintf(tw, "verdict\t%s\n", output.Clean(s.Verdict.Text))
	}
	if i := s.Importing; i != nil {
		fmt.Fprintf(tw, "full import\tsince %s ago, by %s: snapshot %s, %d tables copied, %d of %d indexes and constraints made\n",
			kojisnap.Age(s.Now.Sub(i.Started)), output.Clean(i.Who), output.Clean(i.Snapshot), i.Tables, i.Objects, i.Of)
	}
	if s.Event == 0 {
		fmt.Fprintf(tw, "event\tnone: nothing was loaded yet\n")
	} else {
		fmt.Fprintf(tw, "event\t%d of %s: pin composes at it\n", s.Event, output.Day(s.EventTime))
		fmt.Fprintf(tw, "history\t%s\n", historyText(s.History, s.Event))
	}
	switch run, good := s.LastSuccess, s.LastGoodSync; {
	case s.Whole() && good != nil:
		fmt.Fprintf(tw, "last success\t%s ago: sync %d, snapshot %s\n", kojisnap.Age(s.Age()), good.ID, output.Clean(good.Snapshot))
	case s.Whole():
		fmt.Fprintf(tw, "last success\tnone: no sync was without trouble\n")
	case run != nil:
		fmt.Fprintf(tw, "last success\t%s ago: run %d, snapshot %s\n", kojisnap.Age(s.Age()), run.ID, output.Clean(run.Snapshot))
	}
	if len(s.Syncs) > 0 && s.Syncs[0].Exit != exit.Done {
		last := s.Syncs[0]
		fmt.Fprintf(tw, "last sync\t%s ago: exit code %d: %s\n", kojisnap.Age(s.Now.Sub(last.Finished)), last.Exit, output.Clean(last.Error))
	}
	if p := s.Pulled; p != nil && (all || s.AppliesOnly()) {
		fmt.Fprintf(tw, "last pull\t%s\n", output.Clean(Pulled(p, s.Now)))
	}
	if len(s.Runs) > 0 && s.Runs[0].Result == book.ResultFailed {
		fmt.Fprintf(tw, "last failure\t%s ago: run %d: %s\n", kojisnap.Age(s.Now.Sub(s.Runs[0].Finished)), s.Runs[0].ID, output.Clean(s.Runs[0].Error))
	}
	if s.Drift != nil {
		fmt.Fprintf(tw, "drift\t%s\n", output.Clean(Drift(s.Drift, all)))
	}
	tw.Flush()
	if s.Drift != nil {
		WriteDiff(w, &repository.DiffResult{Relations: s.Drift.Relations})
		if s.Drift.RelationsError != "" {
			fmt.Fprintln(w, "rows: "+output.Clean(s.Drift.RelationsError))
		}
	}
	writeTags(w, s.Tags, s.Event, all)
	if all {
		writeEvents(w, s.Events)
		writeSyncs(w, s.Syncs)
	}
	runs := s.Runs
	if !all {
		runs = runs[:min(len(runs), shownRuns)]
	}
	writeRuns(w, runs)
	for _, list := range []struct {
		what    string
		entries []book.Entry
	}{{"conflict", s.Conflicts}, {"left out", s.LeftOut}, {"kept", s.Kept}} {
		writeList(w, list.what, len(list.entries), all, func(i int) string {
			e := list.entries[i]
			return fmt.Sprintf("%s %s: %s", e.Relation, e.Key, e.What)
		})
	}
	writeList(w, "staging's", len(s.Decisions), all, func(i int) string { return s.Decisions[i].String() })
	writeList(w, "hidden", len(s.Hidden), all, func(i int) string {
		h := s.Hidden[i]
		return fmt.Sprintf("%s: staging's %s, tagged %s, hides production's %s, tagged %s", h.Tag, h.Staging, output.Day(h.Since), h.Production, output.Day(h.Tagged))
	})
}

// writeTags lists the tags, or counts them if they are alike. It marks those that loads no longer update.
func writeTags(w io.Writer, tags []status.TagStatus, event int64, all bool) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	level, out := 0, 0
	for _, t := range tags {
		switch {
		case t.OutOfScope && !all:
			out++
		case t.OutOfScope:
			fmt.Fprintf(tw, "tag %s\tevent %d\t%s\t%s\tnot in the newest scope: not kept up\n", output.Clean(t.Name), t.Event, output.Clean(t.Snapshot), historyText(t.History, t.Event))
		case t.Event != event || all:
			fmt.Fprintf(tw, "tag %s\tevent %d\t%s\t%s\n", output.Clean(t.Name), t.Event, output.Clean(t.Snapshot), historyText(t.History, t.Event))
		default:
			level++
		}
	}
	if level > 0 {
		fmt.Fprintf(tw, "%d tags\tevent %d\n", level, event)
	}
	if out > 0 {
		fmt.Fprintf(tw, "%d tags\tnot in the newest scope: not kept up; -v lists them\n", out)
	}
}

// historyText says from which event on composes may be pinned.
func historyText(from, event int64) string {
	if from >= event {
		return "none before the event: pull --since reads it"
	}
	return fmt.Sprintf("whole from event %d on: each event since may be pinned", from)
}

// writeSyncs lists the last syncs, and what the last one's verify found.
func writeSyncs(w io.Writer, syncs []book.SyncRun) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	for i, s := range syncs {
		if i == 0 {
			fmt.Fprintln(tw, "sync\tbegan\ttook\tsnapshot\texit\tby\t")
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", s.ID, output.Day(s.Started), s.Finished.Sub(s.Started).Round(100*time.Millisecond),
			output.Clean(s.Snapshot), s.Exit, output.Clean(s.Who), output.Clean(s.Error))
	}
	if len(syncs) == 0 {
		return
	}
	report, err := kojisnap.ReadSyncReport(syncs[0])
	if err != nil {
		return
	}
	for _, step := range report.Steps {
		text := output.Clean(step.Error)
		if step.Waited != nil && text == "" {
			text = output.Clean(step.Waited.String())
		}
		fmt.Fprintf(tw, "step %s\t%.1f s\t%s\n", output.Clean(step.Name), step.Seconds, text)
	}
	for _, c := range report.Checks {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", c.Status, output.Clean(c.Name), output.Clean(c.Tag), output.Clean(c.Arch), output.Clean(c.Detail))
	}
}

// writeEvents lists the events that are safe to pin.
func writeEvents(w io.Writer, events []status.LoadedEvent) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	for _, e := range events {
		fmt.Fprintf(tw, "safe to pin\tevent %d of %s\t%s\t%s\n", e.Event, output.Day(e.EventTime), output.Clean(e.Snapshot), output.Clean(strings.Join(e.Tags, " ")))
	}
}

func writeRuns(w io.Writer, runs []book.Run) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	for i, r := range runs {
		if i == 0 {
			fmt.Fprintln(tw, "run\tbegan\ttook\tsnapshot\tmode\tresult")
		}
		result := string(r.Result)
		if r.Report != nil && r.Result == book.ResultChanged {
			in, up, gone := r.Report.Totals()
			result = fmt.Sprintf("%d rows inserted, %d updated, %d revoked or deleted", in, up, gone)
		}
		if r.Report != nil && r.Report.Waited != nil {
			result += "; " + output.Clean(r.Report.Waited.String())
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\n", r.ID, output.Day(r.Started), r.Finished.Sub(r.Started).Round(100*time.Millisecond),
			output.Clean(r.Snapshot), output.Clean(r.Mode), result)
	}
}

func writeList(w io.Writer, what string, n int, all bool, line func(i int) string) {
	for i := range n {
		if i == ShownEntries && !all && n > ShownEntries+1 {
			fmt.Fprintf(w, "%s: … and %d more; -v lists them\n", what, n-i)
			return
		}
		fmt.Fprintln(w, output.Clean(what+": "+line(i)))
	}
}

// WriteDiff writes how many rows of each relation differ.
func WriteDiff(w io.Writer, r *repository.DiffResult) {
	for _, d := range r.Relations {
		fmt.Fprintf(w, "%s: %d added, %d removed, %d changed\n", d.Relation, d.Added, d.Removed, d.Changed)
	}
}
