package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// newLog returns the logger that the flags ask for; by default it writes warnings and errors.
func (a *app) newLog() *slog.Logger {
	level := slog.LevelWarn
	switch {
	case a.debug:
		level = slog.LevelDebug
	case a.verbose:
		level = slog.LevelInfo
	case a.quiet:
		level = slog.LevelError
	}
	if a.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(&lineHandler{out: a.stderr, console: a.errors, level: level, mu: new(sync.Mutex)})
}

// lineHandler writes lines for a terminal and for cron's mail: the level from warnings on, the message, key=value. It
// writes no time.
type lineHandler struct {
	out     io.Writer
	console console
	level   slog.Level
	attrs   string
	mu      *sync.Mutex
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	begin := "kojisnap: "
	if r.Level >= slog.LevelWarn {
		level := strings.ToLower(r.Level.String()) + ":"
		if r.Level < slog.LevelError {
			level = h.console.paint(yellow, level)
		}
		begin += level + " "
	}
	var b strings.Builder
	b.WriteString(r.Message + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(attr(a))
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := fmt.Fprintln(h.out, h.console.wrap(begin+steady(clean(b.String()))))
	return err
}

func attr(a slog.Attr) string {
	text := a.Value.Resolve().String()
	if strings.ContainsAny(text, " \"=") || text == "" {
		text = fmt.Sprintf("%q", text)
	}
	return " " + a.Key + "=" + text
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	for _, a := range attrs {
		with.attrs += attr(a)
	}
	return &with
}

// WithGroup ignores groups: nothing here logs any.
func (h *lineHandler) WithGroup(string) slog.Handler { return h }
