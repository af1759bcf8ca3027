package hubtest

import "cmp"

// compareSQL orders values as ORDER BY does, NULL last. Text is compared by
// bytes, as in a database with the collation C.
func compareSQL(a, b any) int {
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
	case Time:
		if b, ok := b.(Time); ok {
			return cmp.Compare(a, b)
		}
	case bool:
		if b, ok := b.(bool); ok {
			return cmp.Compare(asInt(a), asInt(b))
		}
	}
	return cmp.Compare(repr(a), repr(b))
}
