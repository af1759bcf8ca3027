package pull

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
)

// The rows of builds, rpms, signatures and archives can be had one thing at a time, in multicalls,
// or by paging through a whole table and picking out. What is cheaper depends on the share of the
// table that is asked for, so the one that should take the hub less time is taken.
//
// The prices are seconds of processor of the hub (mod_wsgi, PostgreSQL, Apache), measured on Koji
// 1.35.3 as released with 330,000 builds, 2.6 million rpms and 5.6 million signatures. Each way was
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
// listTaggedRPMS is none of the ways. Asked for one arch at a time it took the hub 10 s, but for its
// largest reply, 131 MB, a worker of the hub grew to 480 MB (183 MB is the most that a pull makes
// of one), and more builds in the tag make it more.
type price struct {
	call, row, skip time.Duration // of a call by id; of a row of a page; of a row before a page
	reply, bytes    int64         // of a call by id; of a row of a page
	page            int64         // rows, of some 15 to 30 MB
}

var prices = map[string]price{
	"build":       {2600 * time.Microsecond, 40 * time.Microsecond, 4200 * time.Nanosecond, 3000, 1500, 20000},
	"rpminfo":     {660 * time.Microsecond, 12 * time.Microsecond, 420 * time.Nanosecond, 12300, 700, 20000},
	"rpmsigs":     {220 * time.Microsecond, 2400 * time.Nanosecond, 420 * time.Nanosecond, 730, 180, 80000},
	"archiveinfo": {390 * time.Microsecond, 12 * time.Microsecond, 420 * time.Nanosecond, 300, 800, 20000},
}

// perCall is how many rows a call by id brings, times ten: a build and its type; the rpms of a
// build; the signatures of an rpm; archives are few.
var perCall = map[string]int64{"build": 20, "rpminfo": 100, "rpmsigs": 22, "archiveinfo": 1}

const (
	priceRequest = 2 * time.Millisecond
	// priceByte weighs the bytes of replies: 100 MB a second.
	priceByte = 10 * time.Nanosecond
	// worthCounting is from when on it is asked what a table would cost.
	worthCounting = 2 * time.Second
)

// The ways.
const (
	byID    = "id"
	byTable = "table"
)

// Estimate is what a part of a pull is expected to come to.
type Estimate struct {
	Relation string  `json:"relation"`
	By       string  `json:"by"` // id: asked for one by one, in multicalls; table: by pages of the whole; history
	Requests int64   `json:"requests"`
	Rows     int64   `json:"rows"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"` // of the hub, were it the one that the prices were measured on
}

func (e Estimate) cost() float64 { return e.Seconds + float64(e.Bytes)*priceByte.Seconds() }

// estimateIDs is for n calls by id.
func estimateIDs(name string, n int64) Estimate {
	p := prices[name]
	requests := (n + batchCalls - 1) / batchCalls
	return Estimate{Relation: name, By: byID, Requests: requests, Rows: n * perCall[name] / 10, Bytes: n * p.reply,
		Seconds: (time.Duration(n)*p.call + time.Duration(requests)*priceRequest).Seconds()}
}

// estimateTable is for the pages of a table of so many rows.
func estimateTable(name string, rows int64) Estimate {
	p := prices[name]
	requests := rows/p.page + 1
	skipped := float64(rows) * float64(requests-1) / 2
	return Estimate{Relation: name, By: byTable, Requests: requests, Rows: rows, Bytes: rows * p.bytes,
		Seconds: (time.Duration(rows)*p.row + time.Duration(requests)*priceRequest).Seconds() + skipped*p.skip.Seconds()}
}

// choose returns the cheaper way to have a relation's rows for n ids.
func (p *puller) choose(ctx context.Context, name string, n int) (Estimate, error) {
	ids := estimateIDs(name, int64(n))
	forced := p.opt.ways[name]
	if n == 0 || forced == byID || forced == "" && ids.Seconds < worthCounting.Seconds() {
		return ids, nil
	}
	// A pull that goes on keeps to what it chose, for pages are of no use to ids.
	return once(ctx, p, "plan of "+name, func(p *puller) (Estimate, error) { return p.compare(ctx, name, n, ids) })
}

// compare returns the cheaper of ids and the pages of a table.
func (p *puller) compare(ctx context.Context, name string, n int, ids Estimate) (Estimate, error) {
	forced := p.opt.ways[name]
	rows, err := p.tableRows(ctx, name)
	if err != nil {
		return ids, err
	}
	table := estimateTable(name, rows)
	best := ids
	if forced == byTable || forced == "" && table.cost() < ids.cost() {
		best = table
	}
	p.log.InfoContext(ctx, "plan", "relation", name, "by", best.By, "ids", n, "table", rows, "seconds", best.Seconds)
	return best, nil
}

// tableRows estimates how many rows the pages of a table hold, by the newest id where that is
// what the hub can tell fast.
func (p *puller) tableRows(ctx context.Context, name string) (int64, error) {
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
	case "rpmsigs": // nearly every rpm has a row with the empty key, and one with another
		n, err := newest("listRPMs")
		return 2 * n, err
	}
	var rows int64
	for btype := range p.btypes {
		n, err := p.count(ctx, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"type": btype}})
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, nil
}

// count asks how many rows a call would answer.
func (p *puller) count(ctx context.Context, call hub.Call) (int64, error) {
	kwargs := map[string]any{"queryOpts": map[string]any{"countOnly": true}}
	maps.Copy(kwargs, call.Kwargs)
	counted := hub.Call{Method: call.Method, Kwargs: kwargs}
	return once(ctx, p, keyOf(counted), func(p *puller) (int64, error) {
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

// keyOf names a call in full.
func keyOf(call hub.Call) string { return fmt.Sprint(call.Method, call.Args, call.Kwargs) }

// putInto is a pick's take for rows that are just put.
func putInto(name string) func(*puller, hub.Value) error {
	return func(p *puller, r hub.Value) error { return p.put(name, r) }
}

// table has the rows of a relation by pages, if that is the cheaper way. It reports whether it
// did. ids are all that the stage is about, for of those that an earlier pull finished it has pages.
func (p *puller) table(ctx context.Context, name string, ids []int64, fn func(ids *idset.Set, rows int64) error) (bool, error) {
	way, err := p.choose(ctx, name, len(p.stage.rest(ids)))
	if err != nil || way.By != byTable {
		return false, err
	}
	bar := p.opt.Progress.Begin(name, int64(len(ids)))
	defer bar.End()
	err = fn(idset.Of(ids), way.Rows)
	if errors.Is(err, errUnpaged) {
		p.log.WarnContext(ctx, "asking one by one", "relation", name, "err", err)
		return false, nil
	}
	if err == nil {
		bar.Add(int64(len(ids)))
	}
	return true, err
}

// buildsByType reads builds by the lists of builds of each type, and returns those that were not
// to be had so: builds of no type, or of a type other than rpm, of which more is to be known, and
// those of content generators, which the lists do not name.
func (p *puller) buildsByType(ctx context.Context, ids []int64, suspicion bool) ([]int64, error) {
	left := idset.Of(nil)
	size := prices["build"].page
	asked := idset.Of(ids)
	others, err := p.otherBuilds(ctx)
	if err != nil {
		return nil, err
	}
	for _, call := range others {
		noted, err := p.pages(ctx, call, "build_id", size, -1, pick{ids: asked, member: "build_id", note: true})
		if err != nil {
			return nil, err
		}
		for _, id := range noted {
			left.Add(id)
		}
	}
	rpm, isType := p.btypes["rpm"]
	if !isType {
		return ids, nil
	}
	put := func(p *puller, r hub.Value) error {
		id, _ := r.Field("build_id").Int()
		if suspicion && p.suspect(id, r) {
			p.doubt(id)
			return nil
		}
		if err := p.putBuild(id, r, false); err != nil {
			return err
		}
		return p.addRow("build_types", [][]byte{fmt.Append(nil, id), rpm}, false)
	}
	call := hub.Call{Method: "listBuilds", Kwargs: map[string]any{"type": "rpm"}}
	found, err := p.pages(ctx, call, "build_id", size, -1, pick{idset.Of(asked.Without(left)), "build_id", put, true})
	return asked.Without(idset.Of(found)), err
}

// otherBuilds returns calls that list all builds of a type other than rpm, or of a content
// generator.
func (p *puller) otherBuilds(ctx context.Context) ([]hub.Call, error) {
	generators, err := once(ctx, p, "content generators", func(p *puller) (ids []int64, err error) {
		call := hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"cg_users"}}}
		err = p.hub.StreamTables(ctx, rowsOf(call), func(_ string, r hub.Row) error {
			if id, ok := r.Get("cg_id").Int(); ok && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
			return nil
		})
		return ids, err
	})
	if err != nil {
		return nil, fmt.Errorf("content generators: %w", err)
	}
	var calls []hub.Call
	for btype := range p.btypes {
		if btype != "rpm" {
			calls = append(calls, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"type": btype}})
		}
	}
	for _, id := range generators {
		calls = append(calls, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"cgID": id}})
	}
	return calls, nil
}

// archivesByTable reads archives of builds by pages, with what their types add.
func (p *puller) archivesByTable(ctx context.Context, ids *idset.Set, rows int64) error {
	size := prices["archiveinfo"].page
	_, err := p.pages(ctx, hub.Call{Method: "listArchives"}, "id", size, rows, pick{ids: ids, member: "build_id", take: putInto("archiveinfo")})
	for btype, name := range archiveTables {
		if err != nil {
			return err
		}
		call := hub.Call{Method: "listArchives", Kwargs: map[string]any{"type": btype}}
		_, err = p.pages(ctx, call, "id", size, -1, pick{ids: ids, member: "build_id", take: putInto(name)})
	}
	return err
}
