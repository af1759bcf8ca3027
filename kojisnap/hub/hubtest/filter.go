package hubtest

import (
	"kojisnap/kojisnap/hub/hubtest/python"
	"kojisnap/kojisnap/hub/hubtest/query"
)

func count(c *call) any {
	switch v := c.inner().(type) {
	case nil:
		return int64(0)
	case []any:
		return int64(len(v))
	case *python.Generator:
		return int64(len(v.Run()))
	case *python.Struct:
		return int64(len(v.Keys))
	}
	return int64(1)
}

// inner calls the method whose result count and similar methods process. Koji calls it without checking the
// arguments first, so wrong ones raise a TypeError.
func (c *call) inner() (v any) {
	method := python.AsString(c.arg("methodName"))
	if c.srv.signatures()[method] == nil {
		python.Generic("method %s doesn't exist", python.Str(c.arg("methodName")))
	}
	return c.srv.invoke(c.view, method, c.rest, c.kwargs, false)
}

func filterResults(c *call) any { return countAndFilterResults(c).([]any)[1] }

func countAndFilterResults(c *call) any {
	opts, _ := c.kwargs.Val("filterOpts").(*python.Struct)
	if opts == nil {
		opts = &python.Struct{}
	}
	c.kwargs = c.kwargs.Clone()
	c.kwargs.Delete("filterOpts")
	method := python.AsString(c.arg("methodName"))
	if c.srv.signatures()[method] == nil {
		python.Generic("method %s doesn't exist", python.Str(c.arg("methodName")))
	}
	var v any
	if fault := python.Catch(func() { v = c.inner() }); fault != nil {
		python.Generic("method %s raised an exception (%s)", method, fault.Str())
	}
	if g, ok := v.(*python.Generator); ok {
		v = g.Run()
	}
	if v == nil {
		return []any{int64(0), nil}
	}
	rows, ok := v.([]any)
	if !ok {
		python.Generic("%s() did not return a list", method)
	}
	total := int64(len(rows))
	if order := python.AsString(opts.Val("order")); order != "" {
		desc := order[0] == '-'
		if desc {
			order = order[1:]
		}
		if none, ok := opts.Get("noneGreatest"); ok && !python.Truth(none) {
			python.Exception("TypeError", "'str' object is not callable")
		}
		query.SortBy(rows, order, desc, true)
	}
	if offset := opts.Val("offset"); offset != nil {
		rows = rows[slicePoint(offset, len(rows)):]
	}
	if limit := opts.Val("limit"); limit != nil {
		rows = rows[:slicePoint(limit, len(rows))]
	}
	return []any{total, rows}
}

// slicePoint returns the index where Python's slices cut: a negative one counts from the end.
func slicePoint(v any, length int) int {
	n, ok := python.Integer(v)
	if !ok {
		python.Exception("TypeError", "slice indices must be integers or None or have an __index__ method")
	}
	if n < 0 {
		n += int64(length)
	}
	return int(min(max(n, 0), int64(length)))
}
