package ops_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestShellcheck: shellcheck has nothing to say against the shell scripts of the repository.
func TestShellcheck(t *testing.T) {
	need(t, "shellcheck", "git")
	listed, err := exec.Command("git", "-C", "../..", "ls-files", "-z", "scripts", ".ci").Output()
	must(t, err)
	var found []string
	for name := range bytes.SplitSeq(bytes.TrimRight(listed, "\x00"), []byte{0}) {
		path := filepath.Join("../..", string(name))
		body, err := os.ReadFile(path)
		must(t, err)
		if line, _, _ := bytes.Cut(body, []byte("\n")); bytes.HasPrefix(line, []byte("#!")) && bytes.HasSuffix(line, []byte("sh")) {
			found = append(found, path)
		}
	}
	if len(found) < 10 {
		t.Errorf("only %q are shell scripts", found)
	}
	silent(t, "shellcheck", found...)
}

// TestYAMLLint: yamllint, by scripts/.yamllint, has nothing to say against the YAML files.
func TestYAMLLint(t *testing.T) {
	need(t, "yamllint")
	silent(t, "yamllint", "--strict", "-c", scripts+"/.yamllint", scripts+"/kubernetes", scripts+"/ansible")
}
