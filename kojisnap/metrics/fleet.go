package metrics

import (
	"errors"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"kojisnap/hardlink/fleet"
)

// WriteFleet replaces a file by the metrics of a queue's plan, at once.
func WriteFleet(path, version string, st fleet.Status) error {
	g := &gauges{registry: prometheus.NewRegistry(), env: st.Env}
	g.set("build_info", "The version of kojisnap, always 1.", 1, label{"version", version}, label{"goversion", runtime.Version()})
	for state, n := range map[string]int{"done": st.Shards.Done, "left": st.Shards.Left, "failed": st.Shards.Failed} {
		g.set("fleet_shards", "Shards of the plan in the queue by their state.", float64(n), label{"state", state})
	}
	g.set("fleet_files", "Files of the plan in the queue.", float64(st.Files.All))
	g.set("fleet_files_done", "Files of the plan that are made.", float64(st.Files.Done))
	g.set("fleet_bytes", "Bytes of the plan in the queue.", float64(st.Bytes.All))
	g.set("fleet_bytes_done", "Bytes of the plan that are made.", float64(st.Bytes.Done))
	g.set("fleet_rate_bytes_per_second", "Bytes a second that all workers made in the last minutes.", float64(st.Rate))
	g.set("fleet_workers", "Workers that reported in the last minute.", float64(len(st.Workers)))
	for _, s := range st.Sources {
		open := 1.0
		if s.OpenAt != nil {
			open = 0
		}
		g.set("fleet_source_open", "Whether shards read the source; 0: it failed, and is left alone.", open, label{"source", s.Source})
	}
	return errors.Join(g.err, prometheus.WriteToTextfile(path, g.registry))
}
