package source_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// TestRequests: readers of one source together ask it for no more files a second than its limit says; another source is not
// limited, and a reader that is canceled stops waiting.
func TestRequests(t *testing.T) {
	limited, free := t.TempDir(), t.TempDir()
	build := volumes.Build{Name: "bash", Version: "5", Release: "1"}
	for _, dir := range []string{limited, free} {
		path := filepath.Join(dir, "packages/bash/5/1/f")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set, err := source.Open([]string{limited, free}, source.Options{RetryInterval: time.Millisecond, Log: slog.New(slog.DiscardHandler), Requests: map[string]float64{limited: 20}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(ctx context.Context, s source.Source) error {
		return set.AskOf(ctx, []source.Source{s}, build, "f", &source.Attempts{Build: build, Path: "f"}, func(*source.Input) error { return nil })
	}
	timed := func(s source.Source) time.Duration {
		begun := time.Now()
		var wait sync.WaitGroup
		for range 11 {
			wait.Go(func() {
				if err := ask(t.Context(), s); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		return time.Since(begun)
	}
	if took := timed(set.All[0]); took < 490*time.Millisecond {
		t.Errorf("11 files of 20 a second took %v", took)
	}
	if took := timed(set.All[1]); took > 400*time.Millisecond {
		t.Errorf("without a limit 11 files took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ask(ctx, set.All[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
