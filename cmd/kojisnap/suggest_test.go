package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		{"a key", "sotre = 'x'\n", nil, `no flag "sotre" (did you mean store?)`},
		{"a key of a table", "[pull]\nmargni = '1m'\n", nil, `[pull] has no key "margni" (did you mean margin?)`},
		{"a key of another table", "[sync]\nhub = 'x'\n", nil, `[sync] has no key "hub" (it belongs in [pull] or [verify])`},
		{"a common key", "[pull]\nstore = 'x'\n", nil, `[pull] has no key "store" (it belongs at the top level)`},
		{"a table", "[pul]\nhub = 'x'\n", nil, "no command [pul] (did you mean pull?)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := test.args
			if test.config != "" {
				if err := os.WriteFile(file, []byte(test.config), 0o644); err != nil {
					t.Fatal(err)
				}
				args = []string{"snapshots", "-c", file}
				test.says = file + ": " + test.says
			}
			out, errs, code := kojisnapRun(t, args...)
			if code != exitUsage || out != "" || len(lines(errs)) != 1 || !strings.Contains(errs, test.says) {
				t.Errorf("exit code %d, %q, %q; want %q", code, out, errs, test.says)
			}
		})
	}
}
