package s3test

import "testing"

func TestStartIn(t *testing.T) {
	if entries, err := StartIn(t, t.TempDir()).Open(t).List(t.Context(), ""); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
