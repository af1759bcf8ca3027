package output

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// The values of --log-format.
const (
	Text = "text"
	JSON = "json"
)

// Errors is standard error: how messages and progress are written there.
type Errors struct {
	Out                   io.Writer
	Console               Console
	Format                string // Text or JSON
	Quiet, Verbose, Debug bool
}

// Log returns a logger as the flags ask for it; by default it writes warnings and errors.
func (e Errors) Log() *slog.Logger {
	level := slog.LevelWarn
	switch {
	case e.Debug:
		level = slog.LevelDebug
	case e.Verbose:
		level = slog.LevelInfo
	case e.Quiet:
		level = slog.LevelError
	}
	if e.Format == JSON {
		return slog.New(slog.NewJSONHandler(e.Out, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(&lineHandler{out: e.Out, console: e.Console, level: level, mu: new(sync.Mutex)})
}

// Line writes a line.
func (e Errors) Line(line string) { fmt.Fprintln(e.Out, e.Console.Wrap(line)) }

// Complain writes a line of an error. Its attributes are for programs.
func (e Errors) Complain(line string, attrs ...any) {
	if e.Format == JSON {
		slog.New(slog.NewJSONHandler(e.Out, nil)).Error(line, attrs...)
		return
	}
	e.Line("kojisnap: " + Clean(line))
}

// lineHandler writes lines for a terminal and for cron's mail: the level from warnings on, the message, key=value. It
// writes no time.
type lineHandler struct {
	out     io.Writer
	console Console
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
			level = h.console.Paint(Yellow, level)
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
	_, err := fmt.Fprintln(h.out, h.console.Wrap(begin+Steady(Clean(b.String()))))
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
