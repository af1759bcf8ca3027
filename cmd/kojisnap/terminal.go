package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// console is what a standard stream can show: how wide it is, and whether in colours. Its zero value is a stream that
// is no terminal, where texts stay as they are.
type console struct {
	file   *os.File // nil: no terminal
	colour bool
}

// consoleOf returns what a stream can show. It has colours unless NO_COLOR is set or TERM says that there are none.
func consoleOf(w io.Writer) console {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	file, ok := unhidden(w).(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return console{}
	}
	kind := os.Getenv("TERM")
	return console{file, os.Getenv("NO_COLOR") == "" && kind != "" && kind != "dumb"}
}

// The colours that are used: ready, not ready, warnings.
const (
	green  = "32"
	red    = "31"
	yellow = "33"
)

func (c console) paint(colour, text string) string {
	if !c.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// width returns the columns of a terminal, 0 if it is none or does not say.
func (c console) width() int {
	if c.file == nil {
		return 0
	}
	columns, _, err := term.GetSize(int(c.file.Fd()))
	if err != nil || columns < 20 {
		return 0
	}
	return columns
}

// wrap breaks the lines of a text at words where the terminal ends. What is continued is indented as its line is, and
// by two columns more.
func (c console) wrap(text string) string { return wrapAt(text, c.width()) }

// wrapAt is wrap for a width; 0 leaves the text as it is.
func wrapAt(text string, width int) string {
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
			switch columns := shownWidth(part); {
			case at > 0 && at+columns > width:
				b.WriteString("\n" + strings.Repeat(" ", hanging) + word)
				at = hanging + shownWidth(word)
			default:
				b.WriteString(part)
				at += columns
			}
		}
		b.WriteString(line[len(body):])
	}
	return b.String()
}

// reflow fills the paragraphs of a help text to a width that is less than theirs. Lines that are indented, and 0 as
// the width, stay as they are.
func reflow(text string, width int) string {
	if width == 0 || width > 112 {
		return text
	}
	var out []string
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			out = append(out, strings.ReplaceAll(wrapAt(strings.Join(paragraph, " "), width), "\n  ", "\n"))
		}
		paragraph = nil
	}
	for _, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, " ") {
			flush()
			out = append(out, wrapAt(line, width))
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

// shownWidth is how many columns a text takes, nearly: colours and combining characters take none.
func shownWidth(text string) (n int) {
	for _, r := range escapeRE.ReplaceAllString(text, "") {
		if !unicode.Is(unicode.Mn, r) {
			n++
		}
	}
	return n
}

// errorLine writes a line to standard error.
func (a *app) errorLine(line string) { fmt.Fprintln(a.stderr, a.errors.wrap(line)) }

// paintStatus colours the first word of each line of a table of checks.
func (c console) paintStatus(table string) string {
	if !c.colour {
		return table
	}
	return statusRE.ReplaceAllStringFunc(table, func(status string) string {
		if status == "warning" || status == "unproven" {
			return c.paint(yellow, status)
		}
		return c.paint(red, status)
	})
}

var statusRE = regexp.MustCompile(`(?m)^(failed|warning|unproven)\b`)
