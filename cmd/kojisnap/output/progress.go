package output

import (
	"strings"

	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"kojisnap/kojisnap/progress"
)

// Progress returns the progress for a value of --progress. auto is bars on a terminal, and otherwise nothing.
func (e Errors) Progress(mode string) progress.Progress {
	switch {
	case mode == "plain":
		out := e.Out
		if e.Format == JSON {
			out = jsonLines{slog.New(slog.NewJSONHandler(e.Out, nil))}
		}
		return &plain{out: out}
	case mode == "bar", mode == "auto" && e.Console.Terminal() && !e.Quiet && e.Format == Text:
		return &bars{out: e.Out, every: 100 * time.Millisecond}
	}
	return progress.Discard
}

// bars shows one stage at a time: of the running ones the one that began last.
type bars struct {
	out    io.Writer
	every  time.Duration // the shortest time between two drawings
	mu     sync.Mutex
	active []*bar // in the order in which they began
}

func (p *bars) Begin(stage string, total int64) progress.Counter {
	return p.begin(stage, total)
}

// BeginFiles shows files done in the description and bytes by the bar, with rate and
// time left.
func (p *bars) BeginFiles(stage string, files, bytes int64) progress.FileCounter {
	b := &fileBar{stage: stage, files: files}
	// One more than there are, so that the bar stays until the last file has its name.
	b.bar = p.begin(b.description(), bytes+1, progressbar.OptionShowBytes(true),
		progressbar.OptionShowTotalBytes(true), progressbar.OptionUseIECUnits(true))
	return b
}

func (p *bars) begin(stage string, total int64, more ...progressbar.Option) *bar {
	p.mu.Lock()
	defer p.mu.Unlock()
	options := []progressbar.Option{
		progressbar.OptionSetWriter(p.out),
		progressbar.OptionSetDescription(fmt.Sprintf("%-12s", stage)),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(p.every),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	}
	options = append(options, more...)
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

// top returns the bar that is shown.
func (p *bars) top() *bar {
	if len(p.active) == 0 {
		return nil
	}
	return p.active[len(p.active)-1]
}

// bar is one stage. It ignores errors of drawing: work must not end because of the terminal.
type bar struct {
	owner *bars
	bar   *progressbar.ProgressBar
	done  int64
}

func (b *bar) Add(n int64) {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	b.add(n)
}

func (b *bar) add(n int64) {
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

// fileBar is a stage of files.
type fileBar struct {
	*bar
	stage       string
	files, done int64
}

func (b *fileBar) description() string {
	return fmt.Sprintf("%s %d/%d files", b.stage, b.done, b.files)
}

func (b *fileBar) AddFile(bytes int64) {
	b.owner.mu.Lock()
	defer b.owner.mu.Unlock()
	b.done++
	if b.owner.top() == b.bar {
		b.bar.bar.Describe(b.description())
	}
	if total := b.bar.done + bytes; total >= b.bar.bar.GetMax64() { // some sizes were not known before
		b.bar.bar.ChangeMax64(total + 1)
	}
	b.bar.add(bytes)
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

// BeginFiles writes bytes and files, and on the way rate and time left.
func (p *plain) BeginFiles(stage string, files, bytes int64) progress.FileCounter {
	now := time.Now()
	return &plainFiles{owner: p, stage: stage, total: files, totalBytes: bytes, begun: now, said: now}
}

type plainFiles struct {
	owner                              *plain
	stage                              string
	done, total, doneBytes, totalBytes int64
	begun, said                        time.Time
}

func (c *plainFiles) AddFile(bytes int64) {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	c.done++
	c.doneBytes += bytes
	if time.Since(c.said) < 10*time.Second || c.doneBytes == 0 {
		return
	}
	c.said = time.Now()
	rate := float64(c.doneBytes) / c.said.Sub(c.begun).Seconds()
	left := time.Duration(float64(max(c.totalBytes-c.doneBytes, 0)) / rate * float64(time.Second))
	c.say(fmt.Sprintf("%.1f MB/s, %v left", rate/1e6, left.Round(time.Second)))
}

func (c *plainFiles) End() {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	c.say(time.Since(c.begun).Round(time.Millisecond).String())
}

func (c *plainFiles) say(more string) {
	fmt.Fprintf(c.owner.out, "kojisnap: %s %d of %d files, %d of %d bytes, %s\n", c.stage, c.done, c.total,
		c.doneBytes, max(c.totalBytes, c.doneBytes), more)
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

// jsonLines makes lines of text records of a JSON log.
type jsonLines struct{ log *slog.Logger }

func (w jsonLines) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		w.log.Info(strings.TrimSpace(strings.TrimPrefix(line, "kojisnap: ")))
	}
	return len(b), nil
}
