// Package sqltext builds SQL: quoting, lists of columns, comparisons of rows, and placeholders.
package sqltext

import (
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Names of tables and columns reach SQL only from the catalogue of relations or from
// PostgreSQL's own; values that others wrote go through temporary tables or parameters.

// QuoteIdent quotes an identifier.
func QuoteIdent(name string) string { return pgx.Identifier{name}.Sanitize() }

// QuoteLiteral quotes a string. It is only for names out of the catalogue.
func QuoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Columns gives "a.x, a.y", or "x, y" for an empty alias.
func Columns(alias string, cols []string) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		if out[i] = QuoteIdent(c); alias != "" {
			out[i] = alias + "." + out[i]
		}
	}
	return strings.Join(out, ", ")
}

// Equal gives "a.x = b.x AND a.y = b.y".
func Equal(a, b string, cols []string) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = a + "." + QuoteIdent(c) + " = " + b + "." + QuoteIdent(c)
	}
	return strings.Join(out, " AND ")
}

// Differ is true where any of the columns differs. NULLs are equal.
func Differ(a, b string, cols []string) string {
	if len(cols) == 0 {
		return "false"
	}
	return "ROW(" + Columns(a, cols) + ") IS DISTINCT FROM ROW(" + Columns(b, cols) + ")"
}

// Assign gives "x = s.x, y = s.y".
func Assign(alias string, cols []string) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = QuoteIdent(c) + " = " + alias + "." + QuoteIdent(c)
	}
	return strings.Join(out, ", ")
}

// KeyText is the expression for a row's key, for people: "create_event=7 build_id=3".
func KeyText(alias string, cols []string) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = QuoteLiteral(c+"=") + " || " + alias + "." + QuoteIdent(c)
	}
	return strings.Join(out, " || ' ' || ")
}

// Expand replaces each {name} by its value. pairs are names and values in turn.
func Expand(sql string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		pairs[i] = "{" + pairs[i] + "}"
	}
	return strings.NewReplacer(pairs...).Replace(sql)
}

// Without returns the columns that are not in drop.
func Without(cols []string, drop ...string) []string {
	var out []string
next:
	for _, c := range cols {
		for _, d := range drop {
			if c == d {
				continue next
			}
		}
		out = append(out, c)
	}
	return out
}

// Int is a number in decimal.
func Int(n int64) string { return strconv.FormatInt(n, 10) }

// Join gives "a, b".
func Join(parts []string) string { return strings.Join(parts, ", ") }

// KeyArray is the expression for a row's key as an array of texts.
func KeyArray(alias string, cols []string) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = alias + "." + QuoteIdent(c) + "::text"
	}
	return "ARRAY[" + Join(out) + "]"
}
