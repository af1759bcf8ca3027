package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
)

// TestSuggest: who mistypes a command, a flag or a key is told which was meant, and where a key belongs.
func TestSuggest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kojisnap.toml")
	for _, test := range []struct {
		name, config string
		args         []string
		says         string
	}{
		{"a command", "", []string{"stauts"}, `no command "stauts" (did you mean status?); kojisnap --help`},
		{"a command like none", "", []string{"frobnicate"}, `no command "frobnicate"; kojisnap --help`},
		{"a flag", "", []string{"pull", "--sotre", "/tmp"}, "unknown flag: --sotre (did you mean --store?); kojisnap pull --help"},
		{"a flag with a value", "", []string{"load", "--overlya=x"}, "(did you mean --overlay?)"},
		{"a flag like none", "", []string{"pull", "--frobnicate"}, "unknown flag: --frobnicate; kojisnap pull --help"},
		{"a key", "sotre = 'x'\n", nil, `:1: no flag "sotre" (did you mean store?)`},
		{"a key of a table", "[pull]\nmargni = '1m'\n", nil, `:2: [pull] has no key "margni" (did you mean margin?)`},
		{"a key of another table", "[sync]\nhub = 'x'\n", nil, `:2: [sync] has no key "hub" (it belongs in [pull] or [verify])`},
		{"a common key", "[pull]\nstore = 'x'\n", nil, `:2: [pull] has no key "store" (it belongs at the top level)`},
		{"a table", "[pul]\nhub = 'x'\n", nil, ":1: no command [pul] (did you mean pull?)"},
		{"a number for a text", "# tags\n\ntag = 42\n", nil, ":3: tag: want a text in quotes, or a list of them, not 42"},
		{"a number in a list", "[pull]\ntag = ['a', 3]\n", nil, `:2: [pull] tag: want a text in quotes, or a list of them, not ["a", 3]`},
		{"a text for a number", "[copy]\n\"jobs\" = '4'\n", nil, `:2: [copy] jobs: want a whole number, not "4"`},
		{"a text for a switch", "[pull]\nhub = 'h'\nfull = 'yes'\n", nil, `:3: [pull] full: want true or false, not "yes"`},
		{"a time without a unit", "[pull]\nmargin = 15\n", nil, ":2: [pull] margin: want a time in quotes, such as 15m, 2h or 2d, not 15"},
		{"a word of others", "[copy]\nverify = 'all'\n", nil, `:2: [copy] verify: want one of size, digest, not "all"`},
		{"a table for a text", "hub = {a = 1}\n", nil, ":1: hub: want a text in quotes, not a table"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := test.args
			if test.config != "" {
				if err := os.WriteFile(file, []byte(test.config), 0o644); err != nil {
					t.Fatal(err)
				}
				args = []string{"snapshots", "-c", file}
				test.says = file + test.says
			}
			out, errs, code := kojisnapRun(t, args...)
			if code != exit.Usage || out != "" || len(lines(errs)) != 1 || !strings.Contains(errs, test.says) {
				t.Errorf("exit code %d, %q, %q; want %q", code, out, errs, test.says)
			}
		})
	}
}
