package metrics

import (
	"maps"
	"slices"
	"time"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/verify"
)

const readyHelp = "1 if the last sync verified that staging is compose-ready and nothing was loaded since, else 0, also where that cannot be read."

// status sets what the database tells beside the last sync.
func (s Staging) status(g *gauges) {
	st := s.Status
	g.set("ready", readyHelp, truth(st.Judge().State == kojisnap.StateReady))
	g.set("event", "The event of production to pin composes at, 0 before the first load.", float64(st.Event))
	if !st.EventTime.IsZero() {
		g.set("event_timestamp_seconds", "When the event happened in production.", seconds(st.EventTime))
	}
	g.set("history_event", "The first event of production that may be pinned.", float64(st.History))
	switch {
	case st.Whole() && st.LastGoodSync != nil:
		g.set("last_success_timestamp_seconds", "When the last sync with exit code 0 ended or, where loads run by themselves, the last successful load.", seconds(st.LastGoodSync.Finished))
	case !st.Whole() && st.LastSuccess != nil:
		g.set("last_success_timestamp_seconds", "When the last sync with exit code 0 ended or, where loads run by themselves, the last successful load.", seconds(st.LastSuccess.Finished))
	}
	if st.LastSuccess != nil {
		g.set("last_load_timestamp_seconds", "When the last successful load ended.", seconds(st.LastSuccess.Finished))
	}
	g.set("conflicts", "Rows of production whose place staging has.", float64(len(st.Conflicts)))
	g.set("left_out_rows", "Rows of production that are not loaded for another reason.", float64(len(st.LeftOut)))
	g.set("kept_rows", "Rows where staging's own edit stays.", float64(len(st.Kept)))
	g.set("hidden_packages", "Packages where staging's build stays the latest although production tagged one later.", float64(len(st.Hidden)))
	g.set("decisions", "Rows of production that staging's own changes overrule.", float64(len(st.Decisions)))
	if d := st.Drift; d != nil && d.Error == "" {
		g.set("drift_events", "Events of production by which staging is behind the newest snapshot in the store.", float64(d.Events))
		g.set("drift_seconds", "The same in production's time.", float64(d.Seconds))
	}
}

// syncMetrics sets what the record of a sync tells.
func syncMetrics(g *gauges, run kojisnap.SyncRecord) {
	report := run.Report
	g.set("last_sync_timestamp_seconds", "When the last sync ended, whatever its result.", seconds(run.Finished))
	g.set("last_sync_exit_code", "The exit code of the last sync.", float64(run.Exit))
	g.set("last_sync_duration_seconds", "How long the last sync took.", run.Finished.Sub(run.Started).Seconds())
	g.set("missing_files", "Files that composes need and that no source had in the last sync.", float64(report.Missing))
	g.set("held_things", "Other things that a copy of the last sync kept back.", float64(report.Held))
	took := map[string]float64{}
	for _, step := range report.Steps {
		took[step.Name] += step.Seconds
		n := step.Counts
		switch step.Name {
		case "pull":
			g.set("production_requests", "Requests of the last sync to production's hub.", float64(n["requests"]))
			g.set("production_received_bytes", "Bytes of the replies of production's hub to the last sync.", float64(n["received"]))
			g.set("production_sent_bytes", "Bytes of the requests of the last sync to production's hub.", float64(n["sent"]))
			g.set("snapshot_rows", "Rows of the snapshot that the last sync pulled.", float64(n["rows"]))
		case "load":
			for _, kind := range []string{"inserted", "updated", "revoked_or_deleted"} {
				g.set("loaded_rows", "Rows that the last sync changed in staging's database.", float64(n[kind]), label{"change", kind})
			}
		case "copy":
			for _, way := range []string{"present", "hardlinked", "reflinked", "copied", "spliced", "fetched"} {
				g.set("files", "Files on the copy volume that the last sync made, by the way they were made, or found present.", float64(n[way]), label{"way", way})
			}
			g.set("copied_bytes", "Bytes of the files that the last sync made.", float64(n["bytes"]))
		case "verify":
			checks(g, &report, n)
		}
	}
	for name, s := range took {
		g.set("sync_duration_seconds", "How long each step of the last sync took.", s, label{"step", name})
	}
}

// checks sets what verify found.
func checks(g *gauges, report *kojisnap.SyncReport, n map[string]int64) {
	if n == nil { // verify came to no result
		return
	}
	bad := n["warning"] + n["failed"] + n["skipped"] + n["unproven"]
	const help = "Checks of verify in the last sync, by what they found."
	g.set("checks", help, float64(n["checks"]-bad), label{"status", "ok"})
	for _, status := range []string{"warning", "failed", "skipped"} {
		g.set("checks", help, float64(n[status]), label{"status", status})
	}
	if n["unproven"] > 0 { // only trials inside images have it
		g.set("checks", help, float64(n["unproven"]), label{"status", "unproven"})
	}
	tags := map[string]bool{} // ready
	for _, of := range report.Passed {
		for tag := range of {
			tags[tag] = true
		}
	}
	for _, c := range report.Checks {
		tags[c.Tag] = true
	}
	for _, c := range report.Checks {
		if c.Status == verify.StatusFailed {
			tags[c.Tag] = false
		}
	}
	delete(tags, "") // checks of no tag
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		g.set("tag_ready", "1 if no check of the tag failed in the last sync, else 0.", truth(tags[tag]), label{"tag", tag})
	}
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
