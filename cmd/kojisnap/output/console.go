package output

import (
	"io"
	"os"
	"regexp"

	"golang.org/x/term"
)

// Console is what a standard stream can show: how wide it is, and whether in colours. Its zero value is a stream that
// is no terminal, where texts stay as they are.
type Console struct {
	file   *os.File // nil: no terminal
	colour bool
}

// ConsoleOf returns what a stream can show. It has colours unless NO_COLOR is set or TERM says that there are none.
func ConsoleOf(w io.Writer) Console {
	if o, ok := w.(*Stdout); ok {
		w = o.w
	}
	file, ok := unhidden(w).(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return Console{}
	}
	kind := os.Getenv("TERM")
	return Console{file, os.Getenv("NO_COLOR") == "" && kind != "" && kind != "dumb"}
}

// The colours that are used: ready, not ready, warnings.
const (
	Green  = "32"
	Red    = "31"
	Yellow = "33"
)

// Paint gives a text a colour, if the stream has some.
func (c Console) Paint(colour, text string) string {
	if !c.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// Width returns the columns of a terminal, 0 if it is none or does not say.
func (c Console) Width() int {
	if c.file == nil {
		return 0
	}
	columns, _, err := term.GetSize(int(c.file.Fd()))
	if err != nil || columns < 20 {
		return 0
	}
	return columns
}

// Wrap breaks the lines of a text at words where the terminal ends. What is continued is indented as its line is, and
// by two columns more.
func (c Console) Wrap(text string) string { return Wrap(text, c.Width()) }

// Terminal reports whether the stream is a terminal.
func (c Console) Terminal() bool { return c.file != nil }

// PaintStatus colours the first word of each line of a table of checks.
func (c Console) PaintStatus(table string) string {
	if !c.colour {
		return table
	}
	return statusRE.ReplaceAllStringFunc(table, func(status string) string {
		if status == "warning" || status == "unproven" {
			return c.Paint(Yellow, status)
		}
		return c.Paint(Red, status)
	})
}

var statusRE = regexp.MustCompile(`(?m)^(failed|warning|unproven)\b`)
