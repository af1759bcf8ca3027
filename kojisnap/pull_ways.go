package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/hub"
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
	if forced == byID || forced == "" && ids.Seconds < worthCounting.Seconds() {
		return ids, nil
	}
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
	v, err := p.hub.Call(ctx, counted)
	if err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	n, ok := v.Int()
	if !ok {
		return 0, fmt.Errorf("%s answered %s, not a number", counted, v.Kind())
	}
	return n, nil
}

// errUnpaged says that a table could not be paged through: the hub cannot encode a row, or rows
// kept vanishing in between. One by one it still goes.
var errUnpaged = errors.New("not to be had by pages")

// pages gives all rows of a method, about rows of them, in the order of their keys to fn, which
// may be called concurrently, and more than once for a row. Each page begins with the last row of
// the one before: if it does not, rows went meanwhile and others moved up, and all is read again.
// So it is if a page has a row twice. A short page ends the table only if there is nothing behind its
// last row.
// With rows below 0 the hub is asked for their number.
func (p *puller) pages(ctx context.Context, call hub.Call, order string, size, rows int64, fn func(hub.Value) error) error {
	if rows < 0 {
		var err error
		if rows, err = p.count(ctx, call); err != nil {
			return err
		}
	}
	for range 3 {
		moved, err := p.pagesOnce(ctx, call, order, size, rows, fn)
		switch {
		case err != nil && hub.Splittable(err) && ctx.Err() == nil:
			return fmt.Errorf("%s: %w: %w", call.Method, errUnpaged, err)
		case err != nil:
			return fmt.Errorf("pages of %s: %w", call.Method, err)
		case !moved:
			return nil
		}
		p.log.InfoContext(ctx, "rows moved while they were read", "method", call.Method)
	}
	return fmt.Errorf("%s: %w", call.Method, errUnpaged)
}

// pageEnds are the keys of a page's first and last rows.
type pageEnds struct {
	first, last string
	rows        int64
	twice       bool // a row came twice, maybe for another
}

func (p *puller) pagesOnce(ctx context.Context, call hub.Call, order string, size, rows int64, fn func(hub.Value) error) (moved bool, err error) {
	keys := strings.Split(order, ",")
	names, err := p.memberNames(ctx, call)
	if err != nil || names == nil {
		return false, err
	}
	get := func(ctx context.Context, offset int64) (e pageEnds, err error) {
		if err := p.takeSlot(ctx); err != nil {
			return e, err
		}
		defer p.freeSlot()
		kwargs := map[string]any{"queryOpts": map[string]any{"order": order, "limit": size, "offset": offset, "asList": true}}
		maps.Copy(kwargs, call.Kwargs)
		again := func() { e = pageEnds{} }
		err = p.hub.Stream(ctx, hub.Call{Method: call.Method, Kwargs: kwargs, Again: again}, func(r hub.Row) error {
			row, ok := r.Named(names)
			if !ok {
				return fmt.Errorf("a row of %d values, the first one had %d: %s", r.Len(), len(names), r)
			}
			before := e.last
			e.last = ""
			for _, k := range keys {
				e.last += string(row.Field(k).Text()) + "\x00"
			}
			e.twice = e.twice || e.last == before
			if e.rows++; e.rows == 1 {
				e.first = e.last
			}
			return fn(row)
		})
		return e, err
	}
	ends := make([]pageEnds, max(1, rows/(size-1)))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.hub.Jobs())
	for i := range ends {
		g.Go(func() (err error) {
			ends[i], err = get(gctx, int64(i)*(size-1))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return false, err
	}
	last, at := "", int64(0) // the last row so far, and its offset
	for i, e := range ends {
		if i > 0 {
			if before := ends[i-1]; before.rows == size && e.first != before.last || before.rows < size && e.rows > 0 {
				return true, nil
			}
		}
		if e.twice {
			return true, nil
		}
		if e.rows > 0 {
			last, at = e.last, int64(i)*(size-1)+e.rows-1
		}
	}
	for {
		e, err := get(ctx, at)
		if err != nil || e.first != last || e.twice {
			return true, err
		}
		if e.rows <= 1 {
			return false, ctx.Err()
		}
		last, at = e.last, at+e.rows-1
	}
}

// memberNames returns the names of the values of a call's rows when they are asked for as lists:
// sorted, as Koji sorts them. Without a row they are nil.
func (p *puller) memberNames(ctx context.Context, call hub.Call) ([]string, error) {
	kwargs := map[string]any{"queryOpts": map[string]any{"limit": 1}}
	maps.Copy(kwargs, call.Kwargs)
	v, err := p.hub.Call(ctx, hub.Call{Method: call.Method, Kwargs: kwargs})
	if err != nil {
		return nil, err
	}
	if v.Kind() != hub.Array || v.Len() > 0 && v.Index(0).Kind() != hub.Struct {
		return nil, fmt.Errorf("the first row: %s is not an array of structs", v)
	}
	var names []string
	for name := range v.Index(0).Members() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// picked calls fn for the rows whose member holds one of ids.
func picked(ids *idSet, member string, fn func(hub.Value) error) func(hub.Value) error {
	return func(r hub.Value) error {
		v := r.Field(member)
		id, ok := v.Int()
		if !ok && v.Kind() != hub.Nil { // an external rpm is of no build
			return fmt.Errorf("%s: %s, not an id, in the row %s", member, v.Kind(), describeRow(r))
		}
		if ok && ids.has(id) {
			return fn(r)
		}
		return nil
	}
}

func setOf(ids []int64) *idSet {
	var s idSet
	for _, id := range ids {
		s.add(id)
	}
	return &s
}

// table has the rows of a relation by pages, if that is the cheaper way. It reports whether it
// did.
func (p *puller) table(ctx context.Context, s *stage, name string, ids []int64, fn func(p *puller, ids *idSet, rows int64) error) (bool, error) {
	way, err := p.choose(ctx, name, len(ids))
	if err != nil || way.By != byTable {
		return false, err
	}
	bar := p.opt.Progress.Begin(name, int64(len(ids)))
	defer bar.End()
	q, end := s.begin(p)
	if err = fn(q, setOf(ids), way.Rows); err == nil {
		err = end(ctx, ids, "")
	}
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
	left, found := setOf(nil), setOf(nil)
	size := prices["build"].page
	asked := setOf(ids)
	note := picked(asked, "build_id", func(r hub.Value) error {
		id, _ := r.Field("build_id").Int()
		p.mu.Lock()
		defer p.mu.Unlock()
		left.add(id)
		return nil
	})
	var others []hub.Call
	for btype := range p.btypes {
		if btype != "rpm" {
			others = append(others, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"type": btype}})
		}
	}
	err := p.hub.StreamTables(ctx, hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"cg_users"}}, Again: countedOnce}, func(_ string, r hub.Row) error {
		if id, ok := r.Get("cg_id").Int(); ok {
			others = append(others, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"cgID": id}})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("content generators: %w", err)
	}
	seen := map[string]bool{}
	for _, call := range others {
		if key := fmt.Sprint(call.Kwargs); !seen[key] {
			seen[key] = true
			if err := p.pages(ctx, call, "build_id", size, -1, note); err != nil {
				return nil, err
			}
		}
	}
	rpm, isType := p.btypes["rpm"]
	if !isType {
		return ids, nil
	}
	err = p.pages(ctx, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"type": "rpm"}}, "build_id", size, -1, picked(asked, "build_id", func(r hub.Value) error {
		id, _ := r.Field("build_id").Int()
		if left.has(id) {
			return nil
		}
		p.mu.Lock()
		found.add(id)
		p.mu.Unlock()
		if suspicion && p.suspect(id, r) {
			p.suspects.add(id)
			return nil
		}
		if err := p.putBuild(id, r); err != nil {
			return err
		}
		return p.addRow("build_types", [][]byte{fmt.Append(nil, id), rpm}, false)
	}))
	return asked.without(found), err
}

// archivesByTable reads archives of builds by pages, with what their types add.
func (p *puller) archivesByTable(ctx context.Context, ids *idSet, rows int64) error {
	size := prices["archiveinfo"].page
	err := p.pages(ctx, hub.Call{Method: "listArchives"}, "id", size, rows, picked(ids, "build_id", func(r hub.Value) error { return p.put("archiveinfo", r) }))
	for btype, name := range archiveTables {
		if err != nil {
			return err
		}
		call := hub.Call{Method: "listArchives", Kwargs: map[string]any{"type": btype}}
		err = p.pages(ctx, call, "id", size, -1, picked(ids, "build_id", func(r hub.Value) error { return p.put(name, r) }))
	}
	return err
}
