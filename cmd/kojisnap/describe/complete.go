package describe

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/kojisnap/snapfile"
)

// What a shell may do beside the candidates: the directives of cobra's completion scripts.
const (
	completeFiles = 0  // offer files if there are no candidates
	completeOnly  = 4  // nothing else
	completeDirs  = 16 // offer directories
)

// completion is what a shell offers for a word.
type completion struct {
	words     [][2]string // each with its explanation
	directive int
}

// Site is what the configuration and the store offer to complete a command line with.
type Site interface {
	Environments() []string
	Snapshots(ctx context.Context) []*snapfile.Snapshot // the latest first; none if they cannot be read
}

// Completer completes command lines.
type Completer struct {
	Commands []Command
	// Open returns the flags of a command, and the site that they lead to when they are set.
	Open func(name string) (*config.Flags, Site)
}

// Complete answers a shell's question how the last of some words can go on, in the protocol of cobra's scripts.
func (c *Completer) Complete(ctx context.Context, out io.Writer, words []string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // a person waits
	defer cancel()
	offered := c.word(ctx, words[:len(words)-1], words[len(words)-1])
	for _, w := range offered.words {
		if w[0] != output.Clean(w[0]) || w[0] == "" {
			continue // no shell could insert it
		}
		line := w[0]
		if w[1] != "" {
			line += "\t" + output.Clean(w[1])
		}
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, ":%d\n", offered.directive)
}

// word returns how a word can go on after others.
func (c *Completer) word(ctx context.Context, before []string, word string) completion {
	if len(before) == 0 || before[0] == "help" && len(before) == 1 {
		return startingWith(word, c.commandWords())
	}
	if !slices.ContainsFunc(c.Commands, func(c Command) bool { return c.Name == before[0] }) {
		return completion{directive: completeOnly}
	}
	line := &commandLine{Completer: c, command: before[0]}
	line.flags, line.site = c.Open(line.command)
	arguments, value := line.parse(before[1:])
	name, rest, isAssignment := strings.Cut(word, "=")
	switch {
	case value != nil:
		return line.values(ctx, value, word)
	case strings.HasPrefix(word, "--") && isAssignment:
		if flag := line.flags.Set.Lookup(name[2:]); flag != nil {
			return line.values(ctx, flag, rest)
		}
	case strings.HasPrefix(word, "-"):
		return startingWith(word, line.flagWords())
	default:
		return line.arguments(ctx, arguments, word)
	}
	return completion{directive: completeOnly}
}

// commandLine is a line that has a command.
type commandLine struct {
	*Completer
	command string
	flags   *config.Flags
	site    Site
}

// parse sets the flags that the words before have. It returns the arguments, and the flag whose value is the next
// word.
func (c *commandLine) parse(words []string) (arguments []string, value *pflag.Flag) {
	set := c.flags.Set
	for i := 0; i < len(words); i++ {
		word := words[i]
		if !strings.HasPrefix(word, "-") || word == "-" {
			arguments = append(arguments, word)
			continue
		}
		name, text, assigned := strings.Cut(word, "=")
		var flag *pflag.Flag
		if long, ok := strings.CutPrefix(name, "--"); ok {
			flag = set.Lookup(long)
		} else {
			flag = set.ShorthandLookup(name[1:2])
		}
		switch {
		case flag == nil, !assigned && flag.NoOptDefVal != "":
		case assigned:
			_ = set.Set(flag.Name, text) // what is wrong is told when the command is run
		case i+1 == len(words):
			return arguments, flag
		default:
			i++
			_ = set.Set(flag.Name, words[i])
		}
	}
	return arguments, nil
}

// flagWords are the flags that help shows.
func (c *commandLine) flagWords() (words [][2]string) {
	c.flags.Set.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			_, usage := pflag.UnquoteUsage(f)
			words = append(words, [2]string{"--" + f.Name, usage})
		}
	})
	return append(words, [2]string{"--help", "describe the command"})
}

// values completes the value of a flag.
func (c *commandLine) values(ctx context.Context, flag *pflag.Flag, word string) completion {
	name, _ := pflag.UnquoteUsage(flag)
	if choice, ok := config.Choices(flag.Value); ok {
		return startingWith(word, plainWords(choice))
	}
	switch flag.Name {
	case "env":
		if all := c.site.Environments(); all != nil {
			return startingWith(word, plainWords(all))
		}
	case "snapshot":
		return startingWith(word, c.snapshots(ctx))
	case "tag", "compose-tag":
		return startingWith(word, c.tags(ctx))
	}
	switch name {
	case "FILE", "PATH", "DIR|URL":
		return completion{directive: completeFiles}
	case "DIR":
		return completion{directive: completeDirs}
	}
	return completion{directive: completeOnly}
}

// arguments completes an argument that is no flag.
func (c *commandLine) arguments(ctx context.Context, before []string, word string) completion {
	switch n := len(before); {
	case slices.Contains([]string{"link", "keygen", "unbundle"}, c.command):
		return completion{directive: completeFiles}
	case (c.command == "show" || c.command == "bundle") && n == 0, c.command == "diff" && n < 2:
		words := c.snapshots(ctx)
		if c.command == "diff" && n == 0 {
			words = append(words, [2]string{"staging", "where staging overrules production"})
		}
		return startingWith(word, words)
	case c.command == "config" && n == 0:
		return startingWith(word, plainWords([]string{"check", "show", "example"}))
	case c.command == "config" && n == 1 && before[0] == "show":
		return startingWith(word, c.commandWords())
	}
	return completion{directive: completeOnly}
}

func (c *commandLine) snapshots(ctx context.Context) [][2]string {
	words := [][2]string{{"latest", "the latest one"}}
	for _, snap := range c.site.Snapshots(ctx) {
		words = append(words, [2]string{snap.ID, fmt.Sprintf("event of %s, %s", output.Day(snap.Manifest.EventTime), strings.Join(snap.Manifest.Scope.AskedFor(), " "))})
	}
	return words
}

func (c *commandLine) tags(ctx context.Context) (words [][2]string) {
	all := c.site.Snapshots(ctx)
	if len(all) == 0 {
		return nil
	}
	for _, t := range all[0].Manifest.Scope.All {
		words = append(words, [2]string{t.Name, ""})
	}
	return words
}

func (c *Completer) commandWords() (words [][2]string) {
	for _, cmd := range c.Commands {
		words = append(words, [2]string{cmd.Name, cmd.Short})
	}
	return append(words, [2]string{"help", "describe a command"}, [2]string{"version", "print the version"})
}

func plainWords(list []string) (words [][2]string) {
	for _, w := range list {
		words = append(words, [2]string{w, ""})
	}
	return words
}

// startingWith returns the candidates that begin with what is typed.
func startingWith(typed string, words [][2]string) completion {
	c := completion{directive: completeOnly}
	for _, w := range words {
		if strings.HasPrefix(w[0], typed) {
			c.words = append(c.words, w)
		}
	}
	return c
}
