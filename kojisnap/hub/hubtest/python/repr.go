package python

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// floatRepr is Python's repr of a float.
func floatRepr(f float64) string { return string(AppendFloat(nil, f)) }

func AppendFloat(b []byte, f float64) []byte {
	switch size := math.Abs(f); {
	case math.IsNaN(f):
		return append(b, "nan"...)
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	case size >= 1e16 || size < 1e-4 && f != 0:
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	if f == math.Trunc(f) {
		b = append(b, ".0"...)
	}
	return b
}

// Repr returns Python's repr, as fault strings quote values.
func Repr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case *big.Int:
		return v.String()
	case float64:
		return floatRepr(v)
	case string:
		return StringRepr(v)
	case []any:
		items := make([]string, len(v))
		for i := range v {
			items[i] = Repr(v[i])
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *Struct:
		items := make([]string, len(v.Keys))
		for i, k := range v.Keys {
			items[i] = StringRepr(k) + ": " + Repr(v.Vals[i])
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// Str is Python's str.
func Str(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return Repr(v)
}

func StringRepr(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte(quote)
	return b.String()
}

// TypeName is Python's str(type(v)).
func TypeName(v any) string {
	name := "object"
	switch v.(type) {
	case nil:
		name = "NoneType"
	case bool:
		name = "bool"
	case int64, *big.Int:
		name = "int"
	case float64:
		name = "float"
	case string:
		name = "str"
	case []any:
		name = "list"
	case *Struct:
		name = "dict"
	}
	return "<class '" + name + "'>"
}

// ToInt is Koji's convert_value(v, cast=int, none_allowed=…). ok is false for an allowed None.
func ToInt(v any, noneAllowed bool) (n int64, ok bool) {
	switch v := v.(type) {
	case nil:
		if noneAllowed {
			return 0, false
		}
		Parameter("Invalid type, expected type <class 'int'>")
	case float64:
		return int64(v), true
	case string:
		if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil {
			return n, true
		}
	default:
		if n, ok := Integer(v); ok {
			return n, true
		}
	}
	Parameter("Invalid type for value '%s': %s, expected type <class 'int'>", Str(v), TypeName(v))
	return 0, false
}
