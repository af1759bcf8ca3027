package pgdump

import (
	"fmt"
	"slices"
	"strings"
)

// token is a piece of a statement: a name (without its quotes), a string, or a single character.
type token struct {
	text   string
	quoted byte // ' or "; 0: a word or a character
}

func (t token) is(word string) bool { return t.quoted == 0 && strings.EqualFold(t.text, word) }

// tokens splits the head of a statement.
func tokens(head []byte) (all []token) {
	for i := 0; i < len(head); {
		c := head[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '"' || c == '\'':
			var b strings.Builder
			for i++; i < len(head); i++ {
				if head[i] == c {
					if i+1 >= len(head) || head[i+1] != c {
						break
					}
					i++
				}
				b.WriteByte(head[i])
			}
			i++
			all = append(all, token{b.String(), c})
		case isWord(c):
			from := i
			for i < len(head) && isWord(head[i]) {
				i++
			}
			all = append(all, token{string(head[from:i]), 0})
		default:
			all = append(all, token{string(c), 0})
			i++
		}
	}
	return all
}

// table is a table's name. The schema is empty if the statement does not say it.
type table struct{ schema, name string }

func (t table) String() string {
	if t.schema == "" {
		return t.name
	}
	return t.schema + "." + t.name
}

// name reads a name, with or without a schema, at the beginning of tokens.
func name(all []token) (t table, rest []token, ok bool) {
	if len(all) == 0 || all[0].quoted == '\'' || all[0].quoted == 0 && !isWord(all[0].text[0]) {
		return t, all, false
	}
	t.name, rest = all[0].text, all[1:]
	if len(rest) > 1 && rest[0].is(".") {
		t.schema, t.name, rest = t.name, rest[1].text, rest[2:]
	}
	return t, rest, true
}

// copyOf reads COPY table (columns) FROM stdin.
func copyOf(all []token) (t table, columns []string, ok bool) {
	if len(all) < 4 || !all[0].is("COPY") || !all[len(all)-1].is("stdin") || !all[len(all)-2].is("FROM") {
		return t, nil, false
	}
	t, rest, ok := name(all[1:])
	rest = rest[:max(len(rest)-2, 0)]
	if !ok || len(rest) == 0 { // a table without columns
		return t, nil, ok
	}
	if !rest[0].is("(") || !rest[len(rest)-1].is(")") {
		return t, nil, false
	}
	for _, x := range rest[1 : len(rest)-1] {
		if !x.is(",") {
			columns = append(columns, x.text)
		}
	}
	return t, columns, true
}

// createdTable reads CREATE TABLE and the names that its columns begin with: those of constraints, too.
func createdTable(all []token) (t table, columns []string, ok bool) {
	i := slices.IndexFunc(all, func(x token) bool { return x.is("TABLE") })
	if i < 1 || i > 2 || !all[0].is("CREATE") || len(all) < i+2 {
		return t, nil, false
	}
	t, rest, ok := name(all[i+1:])
	if !ok || len(rest) == 0 || !rest[0].is("(") {
		return t, nil, ok
	}
	depth, begins := 0, false
	for _, x := range rest {
		switch {
		case x.is("("):
			depth++
			begins = depth == 1
		case x.is(")"):
			if depth--; depth == 0 {
				return t, columns, true
			}
		case x.is(",") && depth == 1:
			begins = true
		case begins:
			columns, begins = append(columns, x.text), false
		}
	}
	return t, columns, true
}

// setting reads SET name = value, and what pg_dump writes for search_path.
func setting(all []token) (key string, values []string, ok bool) {
	if len(all) < 4 || !all[0].is("SET") || !all[2].is("=") && !all[2].is("TO") {
		return "", nil, false
	}
	for _, x := range all[3:] {
		if !x.is(",") {
			values = append(values, x.text)
		}
	}
	return strings.ToLower(all[1].text), values, true
}

// checkEncoding refuses text that is in another encoding than a snapshot. SQL_ASCII is none: rows that are not UTF-8
// are found one by one.
func checkEncoding(name string) error {
	switch plain := strings.ToUpper(strings.NewReplacer("-", "", "_", "").Replace(name)); plain {
	case "UTF8", "UNICODE", "SQLASCII":
		return nil
	}
	return fmt.Errorf("is in the encoding %.40q (its line SET client_encoding): dump with pg_dump --encoding=UTF8", name)
}
