package pyregexp

import (
	"maps"
	"slices"
	"sync"
	"unicode"
)

// caseFolding knows the characters that differ only in case, by the rules of Python's re: it
// compares lower case, and treats lower-case characters with the same upper case as equal
// (re._casefix).
type caseFolding struct {
	same  map[rune][]rune // by lower case: all that match
	cased []rune          // all of them, sorted
}

// longUppers are pairs of lower-case characters whose common upper case has several characters.
var longUppers = [][]rune{{'\u0390', '\u1fd3'}, {'\u03b0', '\u1fe3'}, {'\ufb05', '\ufb06'}}

var folding = sync.OnceValue(func() caseFolding {
	byLower, byUpper := map[rune][]rune{}, map[rune][]rune{}
	add := func(char rune) {
		lower := unicode.ToLower(char)
		if byLower[lower] == nil {
			byLower[lower] = []rune{lower}
			byUpper[unicode.ToUpper(lower)] = append(byUpper[unicode.ToUpper(lower)], lower)
		}
		if char != lower {
			byLower[lower] = append(byLower[lower], char)
		}
	}
	for _, r := range unicode.CaseRanges {
		for char := rune(r.Lo); char <= rune(r.Hi); char++ {
			add(char)
		}
	}
	f := caseFolding{same: map[rune][]rune{}}
	join := func(lowers []rune) {
		var together []rune
		for _, lower := range lowers {
			together = append(together, byLower[lower]...)
		}
		for _, lower := range lowers {
			f.same[lower] = together
		}
		f.cased = append(f.cased, together...)
	}
	for _, pair := range longUppers {
		for _, char := range pair {
			add(char)
			delete(byUpper, unicode.ToUpper(char))
		}
		join(pair)
	}
	for lowers := range maps.Values(byUpper) {
		join(lowers)
	}
	slices.Sort(f.cased)
	return f
})

// folded adds to spans the characters that differ from theirs only in case.
func folded(spans []span, asciiOnly bool) []span {
	all := slices.Clone(spans)
	if asciiOnly {
		for _, s := range spans {
			for char := max(s.low, 'A'); char <= min(s.high, 'z'); char++ {
				if other := char ^ 0x20; other >= 'a' && other <= 'z' || other >= 'A' && other <= 'Z' {
					all = append(all, span{other, other})
				}
			}
		}
		return all
	}
	f := folding()
	for _, s := range spans {
		from, _ := slices.BinarySearch(f.cased, s.low)
		for _, char := range f.cased[from:] {
			if char > s.high {
				break
			}
			for _, other := range f.same[unicode.ToLower(char)] {
				all = append(all, span{other, other})
			}
		}
	}
	return all
}
