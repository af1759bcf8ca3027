package tell

import (
	"fmt"
	"strings"
	"time"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/repository"
)

// ShownEntries is how much of a list is shown without -v.
const ShownEntries = 5

// Drift says how far staging is behind the store; with all it names every tag that was never loaded.
func Drift(d *kojisnap.Drift, all bool) string {
	missing := ""
	if len(d.Missing) > 0 {
		shown := len(d.Missing)
		if !all {
			shown = min(shown, ShownEntries)
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
		return fmt.Sprintf("%d events, %s, ahead of the store's newest snapshot %s", -d.Events, kojisnap.Age(-time.Duration(d.Seconds)*time.Second), d.Snapshot) + missing
	}
	return fmt.Sprintf("%d events, %s, behind the store's newest snapshot %s", d.Events, kojisnap.Age(time.Duration(d.Seconds)*time.Second), d.Snapshot) + missing
}

// Pulled says how old the last pull is.
func Pulled(p *repository.Pulled, now time.Time) string {
	text := "none has a snapshot"
	if !p.Succeeded.IsZero() {
		text = fmt.Sprintf("%s ago: snapshot %s", kojisnap.Age(now.Sub(p.Succeeded)), p.Snapshot)
	}
	if p.Finished.After(p.Succeeded) {
		text += fmt.Sprintf("; one failed %s ago (exit code %d): %s", kojisnap.Age(now.Sub(p.Finished)), p.Exit, p.Error)
	}
	return text
}
