package main

import (
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
)

// TestHelpFits: on a terminal no line of a command's help is wider than it, unless a word or an example is; without a
// terminal the help is as it is written.
func TestHelpFits(t *testing.T) {
	for _, cmd := range commands() {
		out, _, code := kojisnapRun(t, cmd.name, "--help")
		if code != exit.Done {
			t.Fatalf("%s --help: exit code %d", cmd.name, code)
		}
		f := flagsOf(cmd)
		if help := cmd.described(f).Help(0); help != out {
			t.Errorf("%s --help is another without a terminal", cmd.name)
		}
		for _, width := range []int{60, 80} {
			help := cmd.described(f).Help(width)
			if strings.Join(strings.Fields(help), " ") != strings.Join(strings.Fields(out), " ") {
				t.Errorf("%s --help has other words on a terminal", cmd.name)
			}
			prose, _, _ := strings.Cut(help, "\nUsage: ")
			for _, line := range lines(prose) {
				if n := output.ShownWidth(line); n > width && len(strings.Fields(line)) > 1 {
					t.Errorf("%s --help has %d columns: %s", cmd.name, n, line)
				}
			}
		}
	}
}
