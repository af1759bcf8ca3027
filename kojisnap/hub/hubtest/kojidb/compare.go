package kojidb

import (
	"cmp"

	"kojisnap/kojisnap/hub/hubtest/python"
)

// CompareSQL orders values as ORDER BY does, NULL last. It compares text by bytes, as a database with the
// collation C.
func CompareSQL(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	switch a := a.(type) {
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b)
		}
	case float64:
		if b, ok := b.(float64); ok {
			return cmp.Compare(a, b)
		}
	case string:
		if b, ok := b.(string); ok {
			return cmp.Compare(a, b)
		}
	case python.Time:
		if b, ok := b.(python.Time); ok {
			return cmp.Compare(a, b)
		}
	case bool:
		if b, ok := b.(bool); ok {
			return cmp.Compare(python.AsInt(a), python.AsInt(b))
		}
	}
	return cmp.Compare(python.Repr(a), python.Repr(b))
}
