package markup

import "strings"

// Visible returns a text on one line, with the characters replaced that would hide or reorder text around them, and
// bytes that are not UTF-8.
func Visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff',
			r >= '\u200b' && r <= '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return '\uFFFD'
		}
		return r
	}, s)
}
