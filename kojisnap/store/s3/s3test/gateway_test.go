package s3test

import "testing"

// TestProcess: where there is no Docker the gateway runs as a process.
func TestProcess(t *testing.T) {
	if entries, err := StartIn(t, t.TempDir()).Open(t).List(t.Context(), ""); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
