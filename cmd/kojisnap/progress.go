package main

import (
	"fmt"
	"io"
	"slices"
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

// bars shows one stage at a time: of those under way the one that began last.
type bars struct {
	out    io.Writer
	mu     sync.Mutex
	active []*bar // in the order in which they began
}

func (p *bars) Begin(stage string, total int64) progress.Counter {
	p.mu.Lock()
	defer p.mu.Unlock()
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
	if top := p.top(); top != nil {
		_ = top.bar.Clear()
	}
	b := &bar{owner: p, bar: progressbar.NewOptions64(total, options...)}
	p.active = append(p.active, b)
	return b
}

// top is the bar that is shown.
func (p *bars) top() *bar {
	if len(p.active) == 0 {
		return nil
	}
	return p.active[len(p.active)-1]
}

// bar is one stage. Errors of its drawing are the terminal's: work does not end for them.
type bar struct {
	owner *bars
	bar   *progressbar.ProgressBar
	done  int64
}

func (b *bar) Add(n int64) {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	b.done += n
	if b.owner.top() == b {
		_ = b.bar.Set64(b.done)
	}
}

func (b *bar) End() {
	p := b.owner
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.top() == b {
		_ = b.bar.Clear()
	}
	_ = b.bar.Exit()
	p.active = slices.DeleteFunc(p.active, func(other *bar) bool { return other == b })
	if top := p.top(); top != nil {
		_ = top.bar.Set64(top.done)
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
