package pager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
)

// The rows of builds, rpms, signatures and archives can be read one thing at a time, in multicalls,
// or by paging through a whole table and filtering. What is cheaper depends on the share of the
// table that is asked for, so the one that should take the hub less time is taken.
//
// The costs are seconds of processor of the hub (mod_wsgi, PostgreSQL, Apache), measured on Koji
// 1.35.3 as released with 330,000 builds, 2.6 million rpms and 5.6 million signatures. Each strategy was
// taken for a tag of 24,240 builds and 208,324 rpms, four requests at a time: getBuild and
// getBuildType 62 s, listBuilds by pages 26; listRPMs of builds 16, by pages 93; queryRPMSigs of rpms
// 46, by pages 31, or 96 where signatures do not lie in the order of the rpms in PostgreSQL's files,
// because rpms are signed long after they are imported: which is what is reckoned with;
// listArchives of builds 9.5. Rows by pages and rows before a page are from pages by themselves, at
// the beginning and behind so many: 20,000 listBuilds 0.8, 1.1 (100,000), 1.9 (240,000); 20,000
// listRPMs 0.24, 0.46 (490,000), 1.3 (2.6 million); 80,000 queryRPMSigs 0.19, 0.55 (2.8 million).
// There were no archives: rows of them are taken to cost what rpms do. Pages are asked for as lists:
// half the bytes, half the time.
//
// listTaggedRPMS is no strategy. Asked for one arch at a time it took the hub 10 s, but for its largest
// reply, 131 MB, a worker of the hub grew to 480 MB, and more builds in the tag make it larger. A pull makes
// a worker grow to 183 MB at most.
type cost struct {
	call, row, skip time.Duration // of a call by id; of a row in a page; of a row before a page
	reply, bytes    int64         // of a call by id; of a row in a page
	page            int64         // rows, of some 15 to 30 MB
}

// costModel has the costs by relation.
var costModel = map[string]cost{
	"build":       {2600 * time.Microsecond, 40 * time.Microsecond, 4200 * time.Nanosecond, 3000, 1500, 20000},
	"rpminfo":     {660 * time.Microsecond, 12 * time.Microsecond, 420 * time.Nanosecond, 12300, 700, 20000},
	"rpmsigs":     {220 * time.Microsecond, 2400 * time.Nanosecond, 420 * time.Nanosecond, 730, 180, 80000},
	"archiveinfo": {390 * time.Microsecond, 12 * time.Microsecond, 420 * time.Nanosecond, 300, 800, 20000},
}

// perCall is how many rows a call by id returns on average, times ten: a build and its type; the rpms of a
// build; the signatures of an rpm; archives are few.
var perCall = map[string]int64{"build": 20, "rpminfo": 100, "rpmsigs": 22, "archiveinfo": 1}

const (
	// RequestCost is the cost of a request, whatever it is for.
	RequestCost = 2 * time.Millisecond
	// byteCost weighs the bytes of replies: 100 MB a second.
	byteCost = 10 * time.Nanosecond
	// worthCounting is the cost from which on asking the hub for the size of a table pays.
	worthCounting = 2 * time.Second
)

// The strategies.
const (
	ByID    = "id"
	ByTable = "table"
)

// Estimate is the expected cost of a part of a pull.
type Estimate struct {
	Relation string  `json:"relation"`
	By       string  `json:"by"` // id: asked for one by one, in multicalls; table: by pages of the whole; history
	Requests int64   `json:"requests"`
	Rows     int64   `json:"rows"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"` // of the hub on which the costs were measured
}

func (e Estimate) cost() float64 { return e.Seconds + float64(e.Bytes)*byteCost.Seconds() }

// estimateIDs estimates n calls by id.
func estimateIDs(name string, n int64) Estimate {
	c := costModel[name]
	requests := (n + batchCalls - 1) / batchCalls
	return Estimate{Relation: name, By: ByID, Requests: requests, Rows: n * perCall[name] / 10, Bytes: n * c.reply,
		Seconds: (time.Duration(n)*c.call + time.Duration(requests)*RequestCost).Seconds()}
}

// estimateTable estimates reading the pages of a table with so many rows.
func (p *Pager) estimateTable(name string, rows int64) Estimate {
	c := costModel[name]
	requests := rows/p.pageRows(name) + 1
	skipped := float64(rows) * float64(requests-1) / 2
	return Estimate{Relation: name, By: ByTable, Requests: requests, Rows: rows, Bytes: rows * c.bytes,
		Seconds: (time.Duration(rows)*c.row + time.Duration(requests)*RequestCost).Seconds() + skipped*c.skip.Seconds()}
}

// pageRows is how many rows a page of a relation has.
func (p *Pager) pageRows(name string) int64 { return cmp.Or(p.test.Page, costModel[name].page) }

// Choose returns the cheaper strategy to read a relation's rows for n ids.
func (p *Pager) Choose(ctx context.Context, s *checkpoint.Stage, name string, n int) (Estimate, error) {
	ids := estimateIDs(name, int64(n))
	forced := p.test.Strategies[name]
	if n == 0 || forced == ByID || forced == "" && ids.Seconds < worthCounting.Seconds() {
		return ids, nil
	}
	// A resumed pull must keep its choice: pages are useless for ids.
	return checkpoint.Once(ctx, s, "plan of "+name, func(*checkpoint.Batch) (Estimate, error) { return p.compare(ctx, s, name, n, ids) })
}

// compare returns the cheaper of ids and the pages of a table.
func (p *Pager) compare(ctx context.Context, s *checkpoint.Stage, name string, n int, ids Estimate) (Estimate, error) {
	forced := p.test.Strategies[name]
	rows, err := p.tableRows(ctx, s, name)
	if err != nil {
		return ids, err
	}
	table := p.estimateTable(name, rows)
	best := ids
	if forced == ByTable || forced == "" && table.cost() < ids.cost() {
		best = table
	}
	p.log.InfoContext(ctx, "plan", "relation", name, "by", best.By, "ids", n, "table", rows, "seconds", best.Seconds)
	return best, nil
}

// tableRows estimates how many rows the pages of a table have. It uses the newest id if the hub can tell that
// fast.
func (p *Pager) tableRows(ctx context.Context, s *checkpoint.Stage, name string) (int64, error) {
	newest := func(method string) (int64, error) {
		call := hub.Call{Method: method, Kwargs: map[string]any{"queryOpts": map[string]any{"order": "-id", "limit": 1}}}
		v, err := p.hub.Call(ctx, call)
		if err != nil {
			return 0, fmt.Errorf("newest row by %s: %w", method, err)
		}
		id, _ := v.Index(0).Field("id").Int()
		return id, nil
	}
	switch name {
	case "archiveinfo":
		return newest("listArchives")
	case "rpminfo":
		return newest("listRPMs")
	case "rpmsigs": // nearly every rpm has a row with the empty key, and one with another key
		n, err := newest("listRPMs")
		return 2 * n, err
	}
	var rows int64
	for _, btype := range p.buildTypes {
		n, err := p.Count(ctx, s, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"type": btype}})
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, nil
}

// Table reads the rows of a relation by pages, if that is the cheaper strategy, and reports whether it did.
// ids are all ids of the stage: for those that an earlier pull finished it may have pages. fn reads the
// pages.
func (p *Pager) Table(ctx context.Context, s *checkpoint.Stage, name string, ids *idset.Set, fn func(ids *idset.Set, rows int64) error) (bool, error) {
	strategy, err := p.Choose(ctx, s, name, s.Rest(ids).Len())
	if err != nil || strategy.By != ByTable {
		return false, err
	}
	bar := p.progress.Begin(name, int64(ids.Len()))
	defer bar.End()
	err = fn(ids, strategy.Rows)
	if errors.Is(err, ErrUnpaged) {
		p.log.WarnContext(ctx, "asking one by one", "relation", name, "err", err)
		return false, nil
	}
	if err == nil {
		bar.Add(int64(ids.Len()))
	}
	return true, err
}
