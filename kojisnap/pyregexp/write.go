package pyregexp

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
)

// writer writes a tree as a pattern of regexp2, in its default mode.
type writer struct {
	strings.Builder
	*tree
	pattern string
	folds   bool // a reference ignores case
}

// write returns a pattern that matches at the start of a text as Python's re.match does. If folds
// is true, this holds only for ASCII texts.
func write(t *tree, pattern string) (text string, folds bool, err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *UnsupportedError:
			err = e
		default:
			panic(e)
		}
	}()
	w := &writer{tree: t, pattern: pattern}
	w.checkReferences()
	w.print(`\A(?:`)
	w.sequence(t.root, t.flags)
	w.print(`)`)
	return w.String(), w.folds, nil
}

func (w *writer) print(format string, args ...any) { fmt.Fprintf(w, format, args...) }

func (w *writer) sequence(s *sequence, f flags) {
	for i := range s.items {
		w.item(&s.items[i], f)
	}
}

func (w *writer) item(it *item, f flags) {
	switch it.op {
	case opLiteral:
		w.set(set{items: []setItem{{low: it.char, high: it.char}}}, f)
	case opAny:
		if f&dotAll != 0 {
			w.print(`[\s\S]`)
		} else {
			w.print(`[^\n]`)
		}
	case opSet:
		w.set(it.set, f)
	case opAt:
		w.at(it.char, f)
	case opBranch:
		w.print(`(?:`)
		for i, sub := range it.subs {
			if i > 0 {
				w.print(`|`)
			}
			w.sequence(sub, f)
		}
		w.print(`)`)
	case opRepeat:
		w.repeat(it, f)
	case opGroup:
		if it.group > 0 {
			w.print(`(?<%d>`, it.group)
		} else {
			w.print(`(?:`)
		}
		w.sequence(it.subs[0], f.with(it.add, it.del))
		w.print(`)`)
	case opAtomic:
		w.print(`(?>`)
		w.sequence(it.subs[0], f)
		w.print(`)`)
	case opReference:
		if f&ignoreCase == 0 {
			w.print(`\k<%d>`, it.group)
		} else {
			w.print(`(?i:\k<%d>)`, it.group)
			w.folds = true
		}
	case opCondition:
		w.print(`(?(%d)(?:`, it.group)
		w.sequence(it.subs[0], f)
		w.print(`)|(?:`)
		w.sequence(it.subs[1], f)
		w.print(`))`)
	case opLook:
		w.look(it, f)
	}
}

func (w *writer) repeat(it *item, f flags) {
	w.print(`(?:`)
	w.sequence(it.subs[0], f)
	w.print(`)`)
	if it.min > math.MaxInt32 {
		w.unsupported("a count of %d is too large", it.min)
	}
	switch {
	case it.max > math.MaxInt32:
		w.print(`{%d,}`, it.min)
	default:
		w.print(`{%d,%d}`, it.min, it.max)
	}
	w.print(`%s`, it.mode)
}

// at writes an item that matches between characters.
func (w *writer) at(char rune, f flags) {
	switch char {
	case 'A':
		w.print(`\A`)
	case 'Z':
		w.print(`\z`)
	case '^':
		if f&multiline != 0 {
			w.print(`(?m:^)`)
		} else {
			w.print(`\A`)
		}
	case '$':
		if f&multiline != 0 {
			w.print(`(?m:$)`)
		} else {
			w.print(`(?=\n?\z)`)
		}
	case 'b', 'B':
		word := `[` + unicodeWord + `]`
		if f&ascii != 0 {
			word = `[` + spansText(asciiWord) + `]`
		}
		if char == 'b' {
			w.print(`(?:(?<=%[1]s)(?!%[1]s)|(?<!%[1]s)(?=%[1]s))`, word)
		} else { // not in an empty text
			w.print(`(?!\A\z)(?:(?<=%[1]s)(?=%[1]s)|(?<!%[1]s)(?!%[1]s))`, word)
		}
	}
}

// look writes a look-around. The engine matches a look-behind from right to left. Its width is fixed,
// so this changes only which of a group's matches in a loop is the last.
func (w *writer) look(it *item, f flags) {
	if it.behind && it.subs[0].measure(w.groups).min >= maxWidth {
		w.unsupported("look-behind of %d characters or more", maxWidth)
	}
	behind := map[bool]string{true: "<"}[it.behind]
	kind := map[bool]string{false: "=", true: "!"}[it.negated]
	w.print(`(?%s%s`, behind, kind)
	w.sequence(it.subs[0], f)
	w.print(`)`)
}

func (w *writer) unsupported(format string, args ...any) {
	panic(&UnsupportedError{w.pattern, fmt.Sprintf(format, args...)})
}

// set writes a set of characters. The engine has a bug in sets that hold both a class and the
// complement of another: in spelled-out classes the complement is written separately.
func (w *writer) set(s set, f flags) {
	var spans []span
	has := map[rune]bool{} // of Unicode's \w, \W, \d, \D
	for _, it := range s.items {
		switch it.class {
		case 0:
			spans = append(spans, span{it.low, it.high})
		case 's', 'S':
			spans = append(spans, spaces(it.class, f)...)
		default:
			if f&ascii != 0 {
				spans = append(spans, asciiClasses[it.class]...)
			} else {
				has[it.class] = true
			}
		}
	}
	if f&ignoreCase != 0 {
		if slices.ContainsFunc(spans, func(s span) bool { return s.high > '\uffff' }) {
			w.unsupported("flag i, and a character beyond U+FFFF: Python has bugs there")
		}
		spans = folded(spans, f&ascii != 0)
	}
	spans = normal(spans)
	text, complement := spansText(spans), ""
	switch {
	case has['D'] && (has['d'] || has['w']), has['W'] && has['w']:
		text = `\s\S`
	case has['D']: // has all of \W
		complement = `\p{Nd}`
	case has['W']:
		complement = unicodeWord
	}
	switch {
	case has['w']: // has all of \d
		text += unicodeWord
	case has['d']:
		text += `\p{Nd}`
	}
	not := map[bool]string{true: "^"}
	switch {
	case complement != "" && text == "":
		w.print(`[%s%s]`, not[!s.negated], complement)
	case complement != "" && s.negated:
		w.print(`(?:(?![%s])[%s])`, text, complement)
	case complement != "":
		w.print(`(?:[%s]|[^%s])`, text, complement)
	case !s.negated && len(has) == 0 && len(spans) == 1 && spans[0].low == spans[0].high:
		w.print(`%s`, char(spans[0].low))
	default:
		w.print(`[%s%s]`, not[s.negated], text)
	}
}

// unicodeWord is Python's \w as part of a set: str.isalnum and the underscore.
const unicodeWord = `\p{L}\p{N}_`

// spansText returns spans as part of a set.
func spansText(spans []span) string {
	var b strings.Builder
	for _, s := range spans {
		b.WriteString(char(s.low))
		if s.high > s.low {
			b.WriteString("-" + char(s.high))
		}
	}
	return b.String()
}

// char writes a character so that it is literal inside and outside of a set.
func char(c rune) string {
	switch {
	case c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c)):
		return string(c)
	case c <= 0xff:
		return fmt.Sprintf(`\x%02x`, c)
	case c <= 0xffff:
		return fmt.Sprintf(`\u%04x`, c)
	}
	return string(c)
}
