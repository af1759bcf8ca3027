package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const completions = "../scripts/completions"

// program returns the path of a program, or skips the test if this machine has none; with KOJISNAP_TEST_ALL it fails.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skipOutsideCI(t, err.Error())
	}
	return path
}

// TestCompletions: in bash, zsh and fish the committed scripts complete commands, flags and values by what this
// kojisnap answers.
func TestCompletions(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"bash", "zsh", "fish"} {
		program(t, name)
	}
	const bashCompletion = "/usr/share/bash-completion/bash_completion"
	if _, err := os.Stat(bashCompletion); err != nil {
		skipOutsideCI(t, err.Error())
	}
	scripts, err := filepath.Abs(completions)
	must(t, err)
	config := filepath.Join(t.TempDir(), "c.toml")
	must(t, os.WriteFile(config, []byte("[env.stg]\n[env.dev]\n"), 0o644))
	shell := func(t *testing.T, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Env = []string{"PATH=" + filepath.Dir(binary(t)) + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TERM=xterm", "LC_ALL=C.UTF-8"}
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s%s", err, out, &errs)
		}
		return string(out)
	}
	cases := []struct {
		words []string
		want  []string
	}{
		{[]string{"sta"}, []string{"status"}},
		{[]string{"s"}, []string{"show", "snapshots", "status", "sync"}},
		{[]string{"pull", "--ma"}, []string{"--margin", "--max-rate"}},
		{[]string{"load", "--on-conflict", ""}, []string{"fail", "keep", "replace"}},
		{[]string{"config", "show", "ver"}, []string{"verify", "version"}},
		{[]string{"load", "-c", config, "--env", ""}, []string{"dev", "stg"}},
		{[]string{"load", "-c", config, "--env", "d"}, []string{"dev"}},
	}
	t.Run("bash", func(t *testing.T) {
		const script = `. ` + bashCompletion + `; . "$0"; COMP_WORDS=(kojisnap "$@"); COMP_CWORD=$#; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
			__start_kojisnap 2>/dev/null; printf '%s\n' "${COMPREPLY[@]}"`
		for _, test := range cases {
			got := strings.Fields(strings.Join(firstWords(shell(t, append([]string{"bash", "-c", script, scripts + "/kojisnap.bash"}, test.words...)...)), " "))
			if slices.Sort(got); !slices.Equal(got, test.want) {
				t.Errorf("%q: %q, want %q", test.words, got, test.want)
			}
		}
	})
	t.Run("fish", func(t *testing.T) {
		for _, test := range cases {
			got := firstWords(shell(t, "fish", "-c", "source "+scripts+"/kojisnap.fish; complete -C 'kojisnap "+strings.Join(test.words, " ")+"'"))
			if slices.Sort(got); !slices.Equal(got, test.want) {
				t.Errorf("%q: %q, want %q", test.words, got, test.want)
			}
		}
	})
	t.Run("zsh", func(t *testing.T) {
		// A shell on a terminal, which says that a command that was completed is there, and then what it would not do.
		const script = `zmodload zsh/zpty; zpty c zsh -f -i
zpty -w c "PS1=; unsetopt zle_bracketed_paste; fpath=($1 \$fpath); autoload -U compinit; compinit -u -D; bindkey '^I' complete-word; print REA\"\"DY"
zpty -r -m c out '*READY*'
for word in sta 'load --on-conflict=repl' 'config exa'; do
  zpty -w -n c "kojisnap $word"$'\t'
  zpty -w c ' --frobnicate; print DO""NE'
  zpty -r -m c out '*DONE*'
  print -r -- "$out"
done
zpty -d c`
		out := shell(t, "zsh", "-f", "-c", script, "zsh", scripts)
		for _, want := range []string{"status: unknown flag: --frobnicate", "load: unknown flag: --frobnicate", "kojisnap config example"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in %q", want, out)
			}
		}
	})
}

// firstWords returns the first word of each line.
func firstWords(text string) (words []string) {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 {
			words = append(words, fields[0])
		}
	}
	return words
}

// TestCompletionScripts: the committed scripts are what their module writes.
func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "write"), ".")
	build.Dir = completions
	if out, err := build.CombinedOutput(); err != nil {
		skipOutsideCI(t, fmt.Sprintf("%v: %s", err, out))
	}
	write := exec.CommandContext(t.Context(), filepath.Join(dir, "write"))
	write.Dir = dir
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"kojisnap.bash", "_kojisnap", "kojisnap.fish"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		if have, err := os.ReadFile(filepath.Join(completions, name)); err != nil || string(have) != string(want) {
			t.Errorf("%s is not what scripts/completions writes (%v): run go run . there", name, err)
		}
	}
}
