package main

import (
	"fmt"
	"strings"
	"time"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/repository"
)

// driftText says how far staging is behind the store; with all it names every tag that was never loaded.
func driftText(d *kojisnap.Drift, all bool) string {
	missing := ""
	if len(d.Missing) > 0 {
		shown := len(d.Missing)
		if !all {
			shown = min(shown, shownEntries)
		}
		missing = fmt.Sprintf("; %d tags never loaded: %s", len(d.Missing), strings.Join(d.Missing[:shown], " "))
		if len(d.Missing) > shown {
			missing += " …"
		}
	}
	switch {
	case d.Error != "":
		return "unknown: " + d.Error
	case d.Loaded:
		return "none: the store's newest snapshot is loaded"
	case d.Events == 0 && len(d.Missing) > 0:
		return fmt.Sprintf("the store's newest snapshot %s is not loaded", d.Snapshot) + missing
	case d.Events == 0:
		return fmt.Sprintf("the store's newest snapshot %s is not loaded, but one of the same event", d.Snapshot)
	case d.Events < 0:
		return fmt.Sprintf("%d events, %s, ahead of the store's newest snapshot %s", -d.Events, ago(-time.Duration(d.Seconds)*time.Second), d.Snapshot) + missing
	}
	return fmt.Sprintf("%d events, %s, behind the store's newest snapshot %s", d.Events, ago(time.Duration(d.Seconds)*time.Second), d.Snapshot) + missing
}

// pulledText says how old the last pull is.
func pulledText(p *repository.Pulled, now time.Time) string {
	text := "none has a snapshot"
	if !p.Succeeded.IsZero() {
		text = fmt.Sprintf("%s ago: snapshot %s", ago(now.Sub(p.Succeeded)), p.Snapshot)
	}
	if p.Finished.After(p.Succeeded) {
		text += fmt.Sprintf("; one failed %s ago (exit code %d): %s", ago(now.Sub(p.Finished)), p.Exit, p.Error)
	}
	return text
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// ago returns a duration as people write it.
func ago(d time.Duration) string { return kojisnap.Age(d) }
