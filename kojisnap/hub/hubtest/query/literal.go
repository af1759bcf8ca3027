package query

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
)

// Literal converts a value of a call to the column's type, as PostgreSQL does with the literal that psycopg2
// writes. For a value that PostgreSQL refuses it returns a *Fault: the hub raises it when the query runs, not
// before.
func (q *Query) Literal(alias, column string, v any) any {
	kind := ""
	for _, r := range q.rels {
		if r.alias == alias {
			kind = kojidb.ColumnTypes()[r.table.Name][column]
		}
	}
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) {
			return int64(v)
		}
	case bool:
		if kind == "integer" {
			return &python.Fault{Code: 1, Class: "psycopg2.errors.UndefinedFunction", Text: "operator does not exist: integer = boolean"}
		}
	case string:
		if kind == "integer" || kind == "bigint" || kind == "smallint" {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			if err != nil {
				return &python.Fault{Code: 1, Class: "psycopg2.errors.InvalidTextRepresentation",
					Text: "invalid input syntax for type integer: \"" + v + "\""}
			}
			return n
		}
	case int64:
		if strings.HasPrefix(kind, "text") || strings.HasPrefix(kind, "character") {
			return &python.Fault{Code: 1, Class: "psycopg2.errors.UndefinedFunction", Text: "operator does not exist: text = integer"}
		}
	case *python.Struct:
		return &python.Fault{Code: 1, Class: "psycopg2.ProgrammingError", Text: "can't adapt type 'dict'"}
	case python.Binary, python.DateTime:
		return &python.Fault{Code: 1, Class: "psycopg2.ProgrammingError", Text: "can't adapt type 'DateTime'"}
	case []any:
		return &python.Fault{Code: 1, Class: "psycopg2.errors.UndefinedFunction", Text: "operator does not exist"}
	}
	return v
}

// SqlValue raises the fault that Literal returned, if any.
func SqlValue(v any) any {
	if f, ok := v.(*python.Fault); ok {
		panic(f)
	}
	return v
}

// Ilike compiles a pattern of SQL's ILIKE.
func Ilike(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?is)\A`)
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '%':
			b.WriteString(".*")
		case c == '_':
			b.WriteString(".")
		default:
			if c == '\\' && i+1 < len(pattern) {
				i++
			}
			start := i
			for i+1 < len(pattern) && strings.IndexByte(`%_\`, pattern[i+1]) < 0 {
				i++
			}
			b.WriteString(regexp.QuoteMeta(pattern[start : i+1]))
		}
	}
	b.WriteString(`\z`)
	re, err := regexp.Compile(b.String())
	if err != nil { // the text is not UTF-8
		python.Exception("psycopg2.errors.CharacterNotInRepertoire", "invalid byte sequence for encoding \"UTF8\"")
	}
	return re
}

var globTerms = strings.NewReplacer(`\`, `\\`, `_`, `\_`, `?`, `_`, `*`, `%`)

// Glob compiles a shell pattern as Koji turns it into ILIKE.
func Glob(pattern string) *regexp.Regexp { return Ilike(globTerms.Replace(pattern)) }

// Regex compiles a pattern of PostgreSQL. Go's regexp has neither look-around nor back-references: it refuses
// such patterns instead of misreading them.
func Regex(pattern string) *regexp.Regexp {
	pattern = strings.NewReplacer(`\m`, `\b`, `\M`, `\b`).Replace(pattern)
	re, err := regexp.Compile(pattern)
	if err != nil {
		python.Exception("re.error", "%v", err)
	}
	return re
}
