// Package metrics says how a staging stands in the text format of Prometheus, through Prometheus' own client library:
// names, units, types and escaping are the library's. A node exporter's textfile collector takes the file.
package metrics

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"kojisnap/kojisnap"
)

// Staging is what metrics are made of.
type Staging struct {
	Env     string
	Version string // of kojisnap
	// Status is nil if the database cannot be read, or is not asked. Then only the last sync is known.
	Status *kojisnap.StagingStatus
	// Apart says that this host never asks the database: it only pulls, and says nothing of staging.
	Apart bool
	// Sync is the last sync. nil: Status has it.
	Sync *kojisnap.SyncRecord
}

// WriteText writes the metrics of a staging.
func (s Staging) WriteText(w io.Writer) error {
	families, err := s.gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return err
		}
	}
	return nil
}

// WriteFile replaces a file by the metrics of a staging, at once: a reader finds the old file or the new one. What
// cannot be known because the database does not answer stays as the file has it, so that alarms on the age of the last
// success do not fall silent.
func (s Staging) WriteFile(path string) error {
	families, err := s.gather()
	if err != nil {
		return err
	}
	if s.Status == nil && !s.Apart {
		families = append(families, earlier(path, s.Env)...)
		slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	}
	return prometheus.WriteToTextfile(path, prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil }))
}

// lasting are the metrics that hold until the database says something else.
var lasting = []string{"event", "event_timestamp_seconds", "history_event", "last_load_timestamp_seconds", "last_success_timestamp_seconds"}

// earlier returns the lasting metrics of an environment in a file. A file that cannot be read has none.
func earlier(path, env string) (kept []*dto.MetricFamily) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	old, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil
	}
	for _, name := range lasting {
		f := old[namespace+"_"+name]
		if f == nil {
			continue
		}
		f.Metric = slices.DeleteFunc(f.Metric, func(m *dto.Metric) bool {
			return !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "env" && l.GetValue() == env })
		})
		if len(f.Metric) > 0 {
			kept = append(kept, f)
		}
	}
	return kept
}

const namespace = "kojisnap"

// gather returns the metrics, sorted by name.
func (s Staging) gather() ([]*dto.MetricFamily, error) {
	g := &gauges{registry: prometheus.NewRegistry(), env: s.Env}
	g.set("build_info", "The version of kojisnap, always 1.", 1, label{"version", s.Version}, label{"goversion", runtime.Version()})
	sync := s.Sync
	switch st := s.Status; {
	case st == nil && !s.Apart:
		g.set("ready", readyHelp, 0)
	case st != nil:
		s.status(g)
		if sync == nil && len(st.Syncs) > 0 {
			report, err := kojisnap.ReadSyncReport(st.Syncs[0])
			if err != nil {
				return nil, err
			}
			sync = &kojisnap.SyncRecord{SyncRun: st.Syncs[0], Report: report}
		}
	}
	if sync != nil {
		syncMetrics(g, *sync)
	}
	if g.err != nil {
		return nil, g.err
	}
	return g.registry.Gather()
}

// gauges are the metrics so far. All are gauges: each run sets them anew.
type gauges struct {
	registry *prometheus.Registry
	env      string
	vectors  map[string]*prometheus.GaugeVec
	err      error // the first
}

type label struct{ name, value string }

// set gives a gauge a value. A name has the same labels each time.
func (g *gauges) set(name, help string, value float64, labels ...label) {
	labels = append([]label{{"env", g.env}}, labels...)
	var names, values []string
	for _, l := range labels {
		names, values = append(names, l.name), append(values, strings.ToValidUTF8(l.value, "\uFFFD"))
	}
	if g.vectors[name] == nil {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, names)
		if err := g.registry.Register(v); err != nil {
			g.err = errors.Join(g.err, err)
			return
		}
		if g.vectors == nil {
			g.vectors = map[string]*prometheus.GaugeVec{}
		}
		g.vectors[name] = v
	}
	m, err := g.vectors[name].GetMetricWithLabelValues(values...)
	if err != nil {
		g.err = errors.Join(g.err, err)
		return
	}
	m.Set(value)
}
