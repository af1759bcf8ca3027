package pyregexp

import (
	"slices"
	"unicode"
)

// span is a range of characters.
type span struct{ low, high rune }

// asciiClasses are the classes with flag a, except spaces.
var asciiClasses = map[rune][]span{
	'd': {{'0', '9'}},
	'D': others([]span{{'0', '9'}}),
	'w': asciiWord,
	'W': others(asciiWord),
}

var asciiWord = []span{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}

// spaces are \s or \S: Python's str.isspace.
func spaces(class rune, f flags) []span {
	spans := []span{{'\t', '\r'}, {' ', ' '}}
	if f&ascii == 0 {
		spans = []span{{'\t', '\r'}, {'\x1c', ' '}, {'\u0085', '\u0085'}, {'\u00a0', '\u00a0'}, {'\u1680', '\u1680'},
			{'\u2000', '\u200a'}, {'\u2028', '\u2029'}, {'\u202f', '\u202f'}, {'\u205f', '\u205f'}, {'\u3000', '\u3000'}}
	}
	if class == 'S' {
		return others(spans)
	}
	return spans
}

// normal sorts spans and joins adjacent ones.
func normal(spans []span) []span {
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b span) int { return int(a.low - b.low) })
	joined := sorted[:0]
	for _, s := range sorted {
		if n := len(joined); n > 0 && s.low <= joined[n-1].high+1 {
			joined[n-1].high = max(joined[n-1].high, s.high)
		} else {
			joined = append(joined, s)
		}
	}
	return joined
}

// others returns all characters that are not in spans.
func others(spans []span) []span {
	var rest []span
	next := rune(0)
	for _, s := range normal(spans) {
		if s.low > next {
			rest = append(rest, span{next, s.low - 1})
		}
		next = s.high + 1
	}
	if next <= unicode.MaxRune {
		rest = append(rest, span{next, unicode.MaxRune})
	}
	return rest
}
