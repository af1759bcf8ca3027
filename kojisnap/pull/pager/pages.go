package pager

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
)

// ErrUnpaged says that a table cannot be read by pages: the hub cannot encode a row, or rows kept vanishing.
// The rows can still be read one by one.
var ErrUnpaged = errors.New("cannot be read by pages")

// RowFilter says which rows of a table are taken, and how.
type RowFilter struct {
	IDs    *idset.Set // nil: all
	Member string     // the member that must be in IDs
	// Want says of a row with an id of IDs whether it is wanted; nil: each is. It must say the same each time.
	Want func(hub.Value) bool
	// Take takes a row that belongs to a batch. It may be called concurrently, and more than once for a row.
	// nil: rows are not taken.
	Take func(*checkpoint.Batch, hub.Value) error
	Note bool // return the ids
}

// Pages reads about rows rows of a method, all there are, in the order of their keys, and takes those that
// the filter selects. name is the relation. Each page begins with the last row of the page before. If it does
// not, rows have vanished and others have moved up: then Pages reads everything again. It does the same if a
// page has a row twice. A short page ends the table only if there is nothing after its last row. Each page is
// a batch, and a page of an earlier pull must fit the others, too. If rows is negative, Pages asks the hub
// for the number. It returns ErrUnpaged if it cannot read the table by pages.
func (p *Pager) Pages(ctx context.Context, s *checkpoint.Stage, name string, call hub.Call, order string, rows int64, filter RowFilter) ([]int64, error) {
	if rows < 0 {
		var err error
		if rows, err = p.Count(ctx, s, call); err != nil {
			return nil, err
		}
	}
	size := p.pageRows(name)
	t := &paging{Pager: p, stage: s, call: call, order: order, size: size, filter: filter}
	t.key = fmt.Sprintf("pages of %d of %s by %s, %s of %s", size, keyOf(call), order, filter.Member, filter.digest())
	for t.round = range 3 {
		noted, moved, err := t.all(ctx, rows)
		switch {
		case err != nil && hub.Splittable(err) && ctx.Err() == nil:
			return nil, fmt.Errorf("%s: %w: %w", call.Method, ErrUnpaged, err)
		case err != nil:
			return nil, fmt.Errorf("pages of %s: %w", call.Method, err)
		case !moved:
			return noted, nil
		}
		p.log.InfoContext(ctx, "rows moved while they were read", "method", call.Method)
	}
	return nil, fmt.Errorf("%s: %w", call.Method, ErrUnpaged)
}

func (f RowFilter) digest() string {
	if f.IDs == nil {
		return "all"
	}
	return checkpoint.Digest(f.IDs.All())
}

// paging reads one table.
type paging struct {
	*Pager
	stage  *checkpoint.Stage
	call   hub.Call
	order  string
	size   int64
	filter RowFilter
	names  []string // of the members, in order
	key    string   // everything that a page depends on
	round  int
}

// page has what is kept of a page: the keys of its first and last rows, and the noted ids.
type page struct {
	First string  `json:"first"`
	Last  string  `json:"last"`
	Rows  int64   `json:"rows"`
	Twice bool    `json:"twice,omitempty"` // a row came twice, perhaps in the place of another
	Noted []int64 `json:"noted,omitempty"`
}

// all reads all pages once.
func (t *paging) all(ctx context.Context, rows int64) (noted []int64, moved bool, err error) {
	if t.names, err = t.memberNames(ctx); err != nil || t.names == nil {
		return nil, false, err
	}
	pages := make([]page, max(1, rows/(t.size-1)))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(t.hub.Jobs())
	for i := range pages {
		g.Go(func() (err error) {
			pages[i], err = t.page(gctx, int64(i)*(t.size-1))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, false, err
	}
	last, at := "", int64(0) // key and offset of the last row so far
	for i, this := range pages {
		if i > 0 {
			if before := pages[i-1]; before.Rows == t.size && this.First != before.Last || before.Rows < t.size && this.Rows > 0 {
				return nil, true, nil
			}
		}
		if this.Twice {
			return nil, true, nil
		}
		if this.Rows > 0 {
			last, at = this.Last, int64(i)*(t.size-1)+this.Rows-1
		}
		noted = append(noted, this.Noted...)
	}
	for {
		next, err := t.page(ctx, at)
		if err != nil || next.First != last || next.Twice {
			return nil, true, err
		}
		noted = append(noted, next.Noted...)
		if next.Rows <= 1 {
			return noted, false, ctx.Err()
		}
		last, at = next.Last, at+next.Rows-1
	}
}

// page returns the page at an offset.
func (t *paging) page(ctx context.Context, offset int64) (page, error) {
	key := fmt.Sprintf("%s: round %d, from %d", t.key, t.round, offset)
	return checkpoint.Once(ctx, t.stage, key, func(b *checkpoint.Batch) (page, error) { return t.ask(ctx, b, offset) })
}

func (t *paging) ask(ctx context.Context, b *checkpoint.Batch, offset int64) (e page, err error) {
	if err := t.takeSlot(ctx); err != nil {
		return e, err
	}
	defer t.freeSlot()
	keys := strings.Split(t.order, ",")
	kwargs := map[string]any{"queryOpts": map[string]any{"order": t.order, "limit": t.size, "offset": offset, "asList": true}}
	maps.Copy(kwargs, t.call.Kwargs)
	again := func() { e = page{} }
	err = t.hub.Stream(ctx, hub.Call{Method: t.call.Method, Kwargs: kwargs, Again: again, KeepBad: true}, func(r hub.Row) error {
		row, ok := r.Named(t.names)
		if !ok {
			return fmt.Errorf("a row of %d values, the first one had %d: %.200s", r.Len(), len(t.names), r)
		}
		before := e.Last
		e.Last = ""
		for _, k := range keys {
			e.Last += short(row.Field(k).Text()) + "\x00"
		}
		e.Twice = e.Twice || e.Last == before
		if e.Rows++; e.Rows == 1 {
			e.First = e.Last
		}
		member := row.Field(t.filter.Member)
		id, ok := member.Int()
		if !ok && member.Kind() != hub.Nil { // an external rpm belongs to no build
			return fmt.Errorf("%s: %s, not an id, in the row %s", t.filter.Member, member.Kind(), DescribeRow(row))
		}
		if !ok || t.filter.IDs != nil && !t.filter.IDs.Has(id) || t.filter.Want != nil && !t.filter.Want(row) {
			return nil
		}
		if t.filter.Note {
			e.Noted = append(e.Noted, id)
		}
		if t.filter.Take == nil {
			return nil
		}
		return t.filter.Take(b, row)
	})
	return e, err
}

// short returns a key, or a shorter text instead of a key that is too long to keep for each page.
func short(key []byte) string {
	if len(key) > 200 {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	return string(key)
}

// memberNames returns the names of the values in a call's rows when they are asked for as lists: sorted, like
// Koji's. Without a row it returns nil.
func (t *paging) memberNames(ctx context.Context) ([]string, error) {
	kwargs := map[string]any{"queryOpts": map[string]any{"limit": 1}}
	maps.Copy(kwargs, t.call.Kwargs)
	first := hub.Call{Method: t.call.Method, Kwargs: kwargs, KeepBad: true}
	return checkpoint.Once(ctx, t.stage, keyOf(first), func(*checkpoint.Batch) (names []string, err error) {
		v, err := t.hub.Call(ctx, first)
		if err != nil {
			return nil, err
		}
		if v.Kind() != hub.Array || v.Len() > 0 && v.Index(0).Kind() != hub.Struct {
			return nil, fmt.Errorf("the first row: %.200s is not an array of structs", v)
		}
		for name := range v.Index(0).Members() {
			names = append(names, name)
		}
		slices.Sort(names)
		return names, nil
	})
}
