package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"kojisnap/kojisnap/progress"
)

// newProgress returns what the flag asks for. auto is bars on a terminal, silence elsewhere.
func (a *app) newProgress() progress.Progress {
	switch {
	case a.progressMode == "plain":
		return &plain{out: a.stderr}
	case a.progressMode == "bar", a.progressMode == "auto" && a.terminal && !a.quiet && a.logFormat == "text":
		return &bars{out: a.stderr}
	}
	return progress.Discard
}

// bars shows one stage at a time, the newest; a stage that begins while another is shown takes
// its place.
type bars struct {
	out     io.Writer
	mu      sync.Mutex
	current *bar
}

func (p *bars) Begin(stage string, total int64) progress.Counter {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		p.current.hide()
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(p.out),
		progressbar.OptionSetDescription(fmt.Sprintf("%-12s", stage)),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	}
	if total < 0 {
		options = append(options, progressbar.OptionSpinnerType(14))
	}
	p.current = &bar{owner: p, bar: progressbar.NewOptions64(total, options...)}
	return p.current
}

type bar struct {
	owner  *bars
	bar    *progressbar.ProgressBar
	hidden bool
}

func (b *bar) Add(n int64) {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	if !b.hidden {
		// An error is the terminal's; work does not end for it.
		_ = b.bar.Add64(n)
	}
}

func (b *bar) End() {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	b.hide()
	if b.owner.current == b {
		b.owner.current = nil
	}
}

// hide takes the bar off the screen.
func (b *bar) hide() {
	if !b.hidden {
		b.hidden = true
		_ = b.bar.Clear()
		_ = b.bar.Exit()
	}
}

// plain writes a line when a stage ends, and every ten seconds on the way.
type plain struct {
	out io.Writer
	mu  sync.Mutex
}

func (p *plain) Begin(stage string, total int64) progress.Counter {
	now := time.Now()
	return &plainCounter{owner: p, stage: stage, total: total, begun: now, said: now}
}

type plainCounter struct {
	owner       *plain
	stage       string
	done, total int64
	begun, said time.Time
}

func (c *plainCounter) Add(n int64) {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	c.done += n
	if time.Since(c.said) >= 10*time.Second {
		c.say("")
	}
}

func (c *plainCounter) End() {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	c.say(", " + time.Since(c.begun).Round(time.Millisecond).String())
}

func (c *plainCounter) say(more string) {
	c.said = time.Now()
	of := ""
	if c.total >= 0 {
		of = fmt.Sprintf(" of %d", c.total)
	}
	fmt.Fprintf(c.owner.out, "kojisnap: %s %d%s%s\n", c.stage, c.done, of, more)
}
