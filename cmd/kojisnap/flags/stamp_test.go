package flags

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckOutput: a file that a run replaces at its end is refused before the run if it cannot be replaced.
func TestCheckOutput(t *testing.T) {
	dir := t.TempDir()
	for path, says := range map[string]string{
		"":                                 "",
		filepath.Join(dir, "new"):          "",
		dir:                                "it is there, and no regular file; --metrics names another file",
		filepath.Join(dir, "no/such/file"): "no such file",
	} {
		err := CheckOutput("metrics", path)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", path, err, says)
		}
	}
}
