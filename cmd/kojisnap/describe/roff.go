package describe

import (
	"fmt"
	"strings"

	"kojisnap/cmd/kojisnap/output"
)

// roff returns a text in which no character has a meaning for troff.
func roff(text string) string {
	var b strings.Builder
	for _, r := range output.Clean(text) {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r == '"':
			b.WriteString(`\(dq`)
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// roffLine is roff for a line of its own.
func roffLine(text string) string { return noRequest(roff(text)) }

// noRequest makes a line that begins with a period no request.
func noRequest(line string) string {
	if strings.HasPrefix(line, ".") {
		return `\&` + line
	}
	return line
}

func bold(text string) string   { return `\fB` + roff(text) + `\fR` }
func italic(text string) string { return `\fI` + roff(text) + `\fR` }
