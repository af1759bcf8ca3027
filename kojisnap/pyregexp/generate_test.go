package pyregexp_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes patterns that exercise all of the syntax, most of them valid, and names that
// come close to matching.
type generator struct {
	*rand.Rand
	groups int  // that are closed
	plain  bool // no references: their matches differ in no version
	depth  int
}

func (g *generator) pick(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g *generator) pattern() string {
	g.groups, g.depth = 0, 0
	text := g.alternatives()
	switch g.IntN(12) {
	case 0:
		text = g.pick("(?i)", "(?s)", "(?m)", "(?a)", "(?u)", "(?x)", "(?im)", "(?ai)", "(?xs)", "(?#c)(?i)") + text
	case 1:
		text = g.damaged(text)
	}
	return text
}

// damaged cuts or doubles a part, or puts something in.
func (g *generator) damaged(text string) string {
	r := []rune(text)
	from := g.IntN(len(r) + 1)
	to := min(from+g.IntN(3), len(r))
	return string(r[:from]) + g.pick("", "", "(", ")", "[", "]", "{", "}", `\`, "*", "+", "?", "|", "^", "$", "(?", "(?P<", "-", ",", "{,2}", "{1,}", "(?i)", "(?x)", "#", " ", `\1`, `\8`, "(?:", "(?<", `\x4`, "[^]", string(r[from:to])+string(r[from:to])) + string(r[to:])
}

func (g *generator) alternatives() string {
	parts := []string{g.sequence()}
	for g.IntN(5) == 0 && len(parts) < 4 {
		parts = append(parts, g.sequence())
	}
	return strings.Join(parts, "|")
}

func (g *generator) sequence() string {
	var b strings.Builder
	for range g.IntN(5) {
		b.WriteString(g.item())
	}
	return b.String()
}

func (g *generator) item() string {
	g.depth++
	defer func() { g.depth-- }()
	if g.depth > 5 {
		return g.literal()
	}
	text := ""
	switch n := g.IntN(24); {
	case n < 8:
		text = g.literal()
	case n < 11:
		text = g.set()
	case n < 12:
		text = "."
	case n < 13:
		return g.pick("^", "$", `\b`, `\B`, `\A`, `\Z`)
	case n < 15:
		text = g.capture()
	case n < 17:
		text = "(?:" + g.alternatives() + ")"
	case n < 18:
		text = g.pick("(?=", "(?!") + g.alternatives() + ")"
	case n < 19:
		text = g.pick("(?<=", "(?<!") + g.behind() + ")"
	case n < 20:
		text = "(?" + g.pick("i", "s", "m", "x", "i-s", "-i", "-x", "s-im", "a", "u", "ai", "") + ":" + g.alternatives() + ")"
	case n < 21 && !g.plain:
		text = g.reference()
	case n < 22 && !g.plain:
		text = g.condition()
	case n < 23:
		text = g.pick("(?#comment)", "(?>"+g.alternatives()+")", "{", "}", "]", "{}", "{,}", "{a}", "{1,b}", "-", "#", " ", "\n")
	default:
		text = g.escape()
	}
	if g.IntN(3) == 0 {
		text += g.pick("*", "+", "?", "{2}", "{,2}", "{1,}", "{1,3}", "{,}", "{0}", "*", "+", "?") + g.pick("", "", "", "?", "?", "+")
	}
	return text
}

// letters are few, so that patterns match.
func (g *generator) literal() string {
	return g.pick("a", "a", "b", "b", "c", "A", "B", "-", "1", "2", "_", "ab", `\.`, `\-`, `\+`, "a-b", "x", "é", "K", "ſ")
}

func (g *generator) escape() string {
	return g.pick(`\d`, `\D`, `\w`, `\W`, `\s`, `\S`, `\n`, `\t`, `\\`, `\x61`, `\x2d`, `\u0062`, `\U00000063`, `\0`, `\01`, `\012`, `\141`, `\_`, `\ `, `\é`, `\-`, `\/`, `\[`, `\]`, `\{`, `\a`, `\f`, `\v`, `\#`)
}

func (g *generator) set() string {
	var b strings.Builder
	b.WriteString("[" + g.pick("", "", "^"))
	for range 1 + g.IntN(4) {
		b.WriteString(g.pick("a", "b", "c", "1", "-", ".", "_", "a-c", "0-9", "A-Z", "a-z", `\w`, `\W`, `\d`, `\D`, `\s`, `\S`, `\-`, `\]`, "[", "[:alpha:]", "^", "+--", `\x61-c`, `\b`, `\n`, `\061`, "--a", "&&", "||", "~~", "é", "К-я", `\\`, "#", " ", "]", "!-/", "ſ", "K"))
	}
	b.WriteString("]")
	return b.String()
}

func (g *generator) capture() string {
	name := ""
	if g.IntN(4) == 0 {
		name = fmt.Sprintf("?P<n%d>", g.IntN(20))
	}
	text := "(" + name + g.alternatives() + ")"
	g.groups++
	return text
}

func (g *generator) reference() string {
	if g.groups == 0 || g.IntN(10) == 0 {
		return g.pick(`\1`, `\2`, `(?P=n1)`, `\10`, `\8`)
	}
	return fmt.Sprintf(`\%d`, 1+g.IntN(g.groups))
}

func (g *generator) condition() string {
	group := 1 + g.IntN(g.groups+1)
	text := fmt.Sprintf("(?(%d)", group) + g.sequence()
	if g.IntN(2) == 0 {
		text += "|" + g.sequence()
	}
	return text + ")"
}

// behind is mostly of one width.
func (g *generator) behind() string {
	if g.IntN(6) == 0 {
		return g.alternatives()
	}
	var b strings.Builder
	for range g.IntN(3) {
		text := g.pick("a", "b", ".", "[ab]", "(a)", "(?:a|b)", `\w`, `\b`, "^", "(?=b)", "(?!a)", "a{2}", "(a|b)")
		if text[0] == '(' && text[1] != '?' {
			g.groups++
		}
		b.WriteString(text)
	}
	return b.String()
}

// names are what patterns are tried on: a few of packages, and short ones of the patterns' own
// letters.
func (g *generator) names(n int) []string {
	fixed := []string{"bash", "python3-foo", "a", "b", "ab", "aab", "", "aaa", "libX11", "gtk+", "java-1.8.0-openjdk"}
	names := fixed[g.IntN(len(fixed)):]
	if len(names) > 3 {
		names = names[:3]
	}
	for len(names) < n {
		var b strings.Builder
		for range 1 + g.IntN(7) {
			b.WriteString(g.pick("a", "a", "a", "b", "b", "c", "A", "-", "1", ".", "ab", "aa"))
		}
		if g.IntN(12) == 0 {
			b.WriteString(g.pick("\n", "é", "ſ", "K", " ", "_", "x", "\nb", "К"))
		}
		names = append(names, b.String())
	}
	return names
}

// loops makes patterns of references to groups in loops, where versions of Python might differ.
func (g *generator) loops() string {
	g.groups, g.depth = 0, 0
	return g.loopSequence()
}

func (g *generator) loopSequence() string {
	var b strings.Builder
	for range 1 + g.IntN(4) {
		b.WriteString(g.loopItem())
		if g.IntN(8) == 0 {
			b.WriteString("|")
		}
	}
	return b.String()
}

func (g *generator) loopItem() string {
	g.depth++
	defer func() { g.depth-- }()
	text := g.pick("a", "b", "a", "[ab]", ".", "ab")
	if g.depth < 5 {
		switch g.IntN(10) {
		case 0, 1:
			inside := g.loopSequence()
			g.groups++
			text = "(" + inside + ")"
		case 2:
			text = "(?:" + g.loopSequence() + ")"
		case 3, 4:
			if g.groups > 0 {
				text = fmt.Sprintf(`\%d`, 1+g.IntN(g.groups))
			}
		case 5:
			if g.groups > 0 {
				text = fmt.Sprintf(`(?(%d)%s|%s)`, 1+g.IntN(g.groups), g.pick("a", "b", "", "(?!)"), g.pick("a", "b", "", "(?!)"))
			}
		case 6:
			if g.IntN(3) == 0 {
				text = g.pick("(?=", "(?!") + g.loopSequence() + ")"
			}
		}
	}
	if g.IntN(2) == 0 {
		text += g.pick("*", "+", "?", "{2}", "{1,2}", "{,2}", "{0}") + g.pick("", "", "", "", "?")
	}
	return text
}

func (g *generator) letters(n int) []string {
	var names []string
	for range n {
		var b strings.Builder
		for range 1 + g.IntN(5) {
			b.WriteString(g.pick("a", "b"))
		}
		names = append(names, b.String())
	}
	return names
}
