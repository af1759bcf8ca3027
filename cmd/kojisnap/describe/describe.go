// Package describe says what kojisnap's commands and flags are: as help, as manual pages, to a shell that completes a
// command line.
package describe

import (
	"fmt"
	"strings"
	"time"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
)

// Command is what there is to say of a command.
type Command struct {
	Name, Args  string // Args as usage shows them
	Short, Long string
	Examples    string
	Flags       *config.Flags
}

// Program is what there is to say of the program.
type Program struct {
	Commands      []Command
	Schema        *config.Schema
	Configuration string // how the configuration works
	Example       string // of a configuration
	Version       string
	Date          time.Time // of the manual pages
}

// Usage is the help of the program.
func (of *Program) Usage() string {
	var b strings.Builder
	b.WriteString("kojisnap keeps a staging Koji compose-ready: it reads the production hub, loads the\nstaging database, copies the files that composes hard-link, and checks that they can run.\n\nUsage: kojisnap COMMAND [flags]\n\n")
	for _, c := range of.Commands {
		fmt.Fprintf(&b, "  %-10s %s\n", c.Name, c.Short)
	}
	b.WriteString("\nkojisnap COMMAND --help says more.\n")
	return b.String()
}

// Help is the help of a command, for a terminal of a width, or 0.
func (c Command) Help(width int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage: kojisnap %s\n%s\nCommon flags:\n%s\nExamples:\n%s\nExit codes:\n%s",
		output.Reflow(strings.TrimSpace(c.Long), width), strings.TrimSpace(c.Name+" [flags] "+c.Args), c.Flags.Usages(width), c.Flags.CommonUsages(width),
		indent(c.Examples), output.Wrap(exit.Help, width))
	return b.String()
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
		b.WriteString("  " + line + "\n")
	}
	return b.String()
}
