package output

import (
	"regexp"
	"strings"
	"unicode"
)

// Wrap is Console.Wrap for a width; 0 leaves the text as it is.
func Wrap(text string, width int) string {
	if width == 0 {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		body := strings.TrimRight(line, "\n")
		indent := len(body) - len(strings.TrimLeft(body, " "))
		at, hanging := 0, min(indent+2, width/2)
		for _, part := range wordRE.FindAllString(body, -1) { // white space, and the word after it
			word := strings.TrimLeft(part, " ")
			switch columns := ShownWidth(part); {
			case at > 0 && at+columns > width:
				b.WriteString("\n" + strings.Repeat(" ", hanging) + word)
				at = hanging + ShownWidth(word)
			default:
				b.WriteString(part)
				at += columns
			}
		}
		b.WriteString(line[len(body):])
	}
	return b.String()
}

// Reflow fills the paragraphs of a help text to a width that is less than theirs. Lines that are indented, and 0 as
// the width, stay as they are.
func Reflow(text string, width int) string {
	if width == 0 || width > 112 {
		return text
	}
	var out []string
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			out = append(out, strings.ReplaceAll(Wrap(strings.Join(paragraph, " "), width), "\n  ", "\n"))
		}
		paragraph = nil
	}
	for _, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, " ") {
			flush()
			out = append(out, Wrap(line, width))
			continue
		}
		paragraph = append(paragraph, line)
	}
	flush()
	return strings.Join(out, "\n")
}

var (
	wordRE   = regexp.MustCompile(` *[^ ]+`)
	escapeRE = regexp.MustCompile("\x1b\\[[0-9;]*m")
)

// ShownWidth is how many columns a text takes, nearly: colours and combining characters take none.
func ShownWidth(text string) (n int) {
	for _, r := range escapeRE.ReplaceAllString(text, "") {
		if !unicode.Is(unicode.Mn, r) {
			n++
		}
	}
	return n
}
