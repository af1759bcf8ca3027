package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/metrics"
)

// addMetrics adds the flag that names the file of metrics.
func addMetrics(fs *pflag.FlagSet, path *string) {
	fs.StringVar(path, "metrics", "", "after each sync, whatever its result, write metrics for Prometheus to `FILE`, such as one of the node exporter's textfile directory")
}

// checkMetrics refuses, before any work is done, a file that could not be written afterwards.
func checkMetrics(path string) error {
	if path == "" {
		return nil
	}
	err := metrics.CheckFile(path)
	if err == nil {
		err = durable.CheckWritable(path)
	}
	if err != nil {
		return fmt.Errorf("metrics %s cannot be written: %w; --metrics names another file", path, err)
	}
	return nil
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
