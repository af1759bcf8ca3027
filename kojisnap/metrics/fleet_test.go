package metrics_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"kojisnap/hardlink/fleet"
	"kojisnap/kojisnap/metrics"
)

// TestFleet: the metrics of a queue are Prometheus' to the letter, and a closed source is named.
func TestFleet(t *testing.T) {
	until := time.Now().Add(time.Minute)
	st := fleet.Status{Env: "stg", Shards: fleet.Counts{All: 6, Done: 3, Left: 2, Failed: 1}, Files: fleet.Amount{All: 60, Done: 30}, Bytes: fleet.Amount{All: 600, Done: 300},
		Rate: 12, Workers: make([]fleet.AtWork, 4), Sources: []fleet.State{{Source: "https://host/" + evil, OpenAt: &until}, {Source: "/mnt"}}}
	file := filepath.Join(t.TempDir(), "x.prom")
	for range 2 { // it replaces the first
		if err := metrics.WriteFleet(file, "1.2", st); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	values := parse(t, text)
	for name, want := range map[string]float64{
		"kojisnap_fleet_shards state=done": 3, "kojisnap_fleet_shards state=left": 2, "kojisnap_fleet_shards state=failed": 1,
		"kojisnap_fleet_files": 60, "kojisnap_fleet_files_done": 30, "kojisnap_fleet_bytes": 600, "kojisnap_fleet_bytes_done": 300,
		"kojisnap_fleet_rate_bytes_per_second": 12, "kojisnap_fleet_workers": 4, "kojisnap_fleet_source_open source=/mnt": 1,
	} {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s is %v, %v; want %v: %v", name, got, ok, want, values)
		}
	}
}
