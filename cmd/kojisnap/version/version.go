// Package version says which code the program was built from.
package version

import (
	"cmp"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Number is set by the build: -ldflags "-X kojisnap/cmd/kojisnap/version.Number=1.2". So are commit and date (RFC 3339)
// where the code is not built from a checkout; else Go notes those itself.
var (
	Number = "0.1"
	commit = ""
	date   = ""
)

// origin is what is known of the code that the program was built from.
type origin struct {
	commit   string
	date     time.Time // of the commit; zero: unknown
	modified bool      // the checkout had changes
}

func buildOrigin() origin {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return originOf(info.Settings)
}

func originOf(settings []debug.BuildSetting) origin {
	noted := map[string]string{}
	for _, s := range settings {
		noted[s.Key] = s.Value
	}
	o := origin{commit: cmp.Or(commit, noted["vcs.revision"]), modified: commit == "" && noted["vcs.modified"] == "true"}
	o.date, _ = time.Parse(time.RFC3339, cmp.Or(date, noted["vcs.time"])) // else unknown
	return o
}

// Line is what kojisnap --version prints: "kojisnap 0.1 (commit 0123456789ab of 2026-11-29, modified)".
func Line() string { return lineOf(buildOrigin()) }

func lineOf(o origin) string {
	line := "kojisnap " + Number
	if o.commit == "" {
		return line
	}
	said := "commit " + o.commit[:min(len(o.commit), 12)]
	if !o.date.IsZero() {
		said += " of " + o.date.UTC().Format(time.DateOnly)
	}
	if o.modified {
		said += ", modified"
	}
	return line + " (" + said + ")"
}

// ManualDate is the date of the manual pages: SOURCE_DATE_EPOCH, or the commit's, or else today.
func ManualDate() time.Time {
	if n, err := strconv.ParseInt(strings.TrimSpace(os.Getenv("SOURCE_DATE_EPOCH")), 10, 64); err == nil {
		return time.Unix(n, 0).UTC()
	}
	if o := buildOrigin(); !o.date.IsZero() {
		return o.date.UTC()
	}
	return time.Now().UTC()
}
