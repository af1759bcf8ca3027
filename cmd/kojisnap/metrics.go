package main

import (
	"context"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/metrics"
)

// addMetrics adds the flag that names the file of metrics.
func addMetrics(fs *pflag.FlagSet, path *string) {
	fs.StringVar(path, "metrics", "", "after each sync, whatever its result, write metrics for Prometheus to `FILE`, such as one of the node exporter's textfile directory")
}

// writeMetrics writes the metrics of a sync that has ended. If that fails, the sync itself has not: it is only logged.
func (o *syncFlags) writeMetrics(ctx context.Context, a *app, half kojisnap.Half, record kojisnap.SyncRecord) {
	if o.metrics == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	m := metrics.Staging{Env: a.env, Version: version, Sync: &record, Apart: half == kojisnap.OnlyPull}
	s := statusFlags{db: o.load.db}
	if m.Apart {
		// This host has no database.
	} else if held, err := s.read(ctx, a); err != nil {
		a.log.InfoContext(ctx, "the metrics tell only of this sync: the database does not answer", "err", err)
	} else {
		m.Status = held
	}
	if err := m.WriteFile(o.metrics); err != nil {
		a.log.WarnContext(ctx, "the metrics are not written", "file", o.metrics, "err", err)
	}
}

// tellMetrics prints the metrics of a staging, as sync writes them.
func (a reporter) tellMetrics(s *kojisnap.StagingStatus) error {
	return metrics.Staging{Env: s.Mark.Environment, Version: version, Status: s}.WriteText(a.stdout)
}
