package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/tell"
	"kojisnap/hardlink"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/verify"
)

// TestVerboseLists: -v lists every name of what is otherwise cut short.
func TestVerboseLists(t *testing.T) {
	const n = 150
	names := make([]string, n)
	left := &hardlink.LeftOutError{}
	stripped := &pull.Result{News: true}
	for i := range names {
		names[i] = fmt.Sprintf("name-%03d", i)
		left.Errs = append(left.Errs, fmt.Errorf("left out: %s", names[i]))
		stripped.Stripped = append(stripped.Stripped, snapfile.LeftOut{Relation: "tag", Row: names[i]})
	}
	for _, test := range []struct {
		what  string
		short int // how many names there are without -v
		tell  func(a *app, out *bytes.Buffer)
	}{
		{"files that were left out", 100, func(a *app, _ *bytes.Buffer) { _ = a.teller().LeftOut(left) }},
		{"rows with credentials", maxStripped, func(a *app, _ *bytes.Buffer) { reporter{a}.tellStripped(stripped) }},
		{"tags that were never loaded", tell.ShownEntries, func(a *app, out *bytes.Buffer) {
			out.WriteString(tell.Drift(&kojisnap.Drift{Snapshot: "1-0", Missing: names}, a.verbose))
		}},
		{"what a check found", 5, func(a *app, out *bytes.Buffer) {
			reporter{a}.showChecks(out, &verify.Result{Checks: []verify.Check{{Name: "rpms", Status: verify.StatusFailed, Bad: n, Examples: names[:5], Entries: names}}})
		}},
	} {
		for _, verbose := range []bool{false, true} {
			var out bytes.Buffer
			a := &app{stderr: &out, verbose: verbose, logFormat: "text"}
			a.log = a.standardError().Log()
			test.tell(a, &out)
			found := 0
			for _, name := range names {
				found += min(strings.Count(out.String(), name), 1)
			}
			want := test.short
			if verbose {
				want = n
			}
			if found != want {
				t.Errorf("%s, verbose %v: %d names, want %d: %s", test.what, verbose, found, want, &out)
			}
		}
	}
}
