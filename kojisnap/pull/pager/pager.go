/*
Package pager reads many rows from a hub at little cost: by multicalls for some ids, in batches whose size
follows the hub's answers, or by pages of a whole table that are filtered, whichever should take the hub
less time. Replies that the hub cannot encode are split until the row that is wrong is alone.

It knows calls and rows, not what the rows are for. What it has read is kept by package checkpoint.
*/
package pager

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/pull/checkpoint"
)

// Options are for tests: the zero value is what a pull uses.
type Options struct {
	Strategies map[string]string // forced, by relation
	Batch      int               // ids of a batch
	Page       int64             // rows of a page
	// WholeList is the largest number of things to ask for one by one, where a list of all is cheaper for
	// more.
	WholeList *int
}

// Pager reads from one hub. Its methods may be called concurrently, except UseBuildTypes.
type Pager struct {
	hub        *hub.Client
	log        *slog.Logger
	progress   progress.Progress
	test       Options
	slots      chan struct{} // one for each concurrent request of a batch or page
	buildTypes []string
}

// New returns a Pager.
func New(h *hub.Client, log *slog.Logger, p progress.Progress, o Options) *Pager {
	return &Pager{hub: h, log: log, progress: p, test: o, slots: make(chan struct{}, h.Jobs())}
}

// UseBuildTypes sets the hub's types of builds: Pager lists builds by type.
func (p *Pager) UseBuildTypes(names []string) { p.buildTypes = names }

// wholeList is the number of builds from which on listing all builds of a type costs less than asking for
// each.
const wholeList = 2000

// WholeList reports whether for n builds a list of all of the hub's modules costs less than asking for each
// whether it is one.
func (p *Pager) WholeList(n int) bool {
	if p.test.WholeList != nil {
		return n > *p.test.WholeList
	}
	return n > wholeList
}

// countedOnce is the Again of calls whose rows go into sets or replace rows with the same key: it does no
// harm if a row comes again.
func countedOnce() {}

// RowsOf returns a call whose rows are judged one by one, and may come again.
func RowsOf(call hub.Call) hub.Call {
	call.Again, call.KeepBad = countedOnce, true
	return call
}

// Count asks how many rows a call would return.
func (p *Pager) Count(ctx context.Context, s *checkpoint.Stage, call hub.Call) (int64, error) {
	kwargs := map[string]any{"queryOpts": map[string]any{"countOnly": true}}
	maps.Copy(kwargs, call.Kwargs)
	counted := hub.Call{Method: call.Method, Kwargs: kwargs}
	return checkpoint.Once(ctx, s, keyOf(counted), func(*checkpoint.Batch) (int64, error) {
		v, err := p.hub.Call(ctx, counted)
		if err != nil {
			return 0, fmt.Errorf("count: %w", err)
		}
		n, ok := v.Int()
		if !ok {
			return 0, fmt.Errorf("%s answered %s, not a number", counted, v.Kind())
		}
		return n, nil
	})
}

// keyOf identifies a call.
func keyOf(call hub.Call) string { return fmt.Sprint(call.Method, call.Args, call.Kwargs) }

// DescribeRow names a row for a message.
func DescribeRow(r hub.Value) string {
	var b strings.Builder
	for name, v := range r.Members() {
		if k := v.Kind(); (k == hub.Int || k == hub.String) && (strings.HasSuffix(name, "id") || strings.HasSuffix(name, "name")) && b.Len() < 160 {
			fmt.Fprintf(&b, " %.100s=%.100q", name, v.Text())
		}
	}
	return strings.TrimSpace(b.String())
}
