package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/kojisnap/repository"
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

// complete answers a shell's question how the last of some words can go on, in the protocol of cobra's scripts.
func complete(ctx context.Context, a *app, args []string) error {
	if len(args) == 0 {
		return usagef("__complete wants the words of a command line, the last one as far as it is typed")
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // a person waits
	defer cancel()
	c := a.completeWord(ctx, args[:len(args)-1], args[len(args)-1])
	for _, w := range c.words {
		if w[0] != clean(w[0]) || w[0] == "" {
			continue // no shell could insert it
		}
		line := w[0]
		if w[1] != "" {
			line += "\t" + clean(w[1])
		}
		fmt.Fprintln(a.stdout, line)
	}
	fmt.Fprintf(a.stdout, ":%d\n", c.directive)
	return nil
}

// completeWord returns how a word can go on after others.
func (a *app) completeWord(ctx context.Context, before []string, word string) completion {
	if len(before) == 0 || before[0] == "help" && len(before) == 1 {
		return startingWith(word, commandWords())
	}
	at := slices.IndexFunc(commands(), func(c command) bool { return c.name == before[0] })
	if at < 0 {
		return completion{directive: completeOnly}
	}
	c := &completer{app: a, cmd: commands()[at]}
	c.flags = config.New(c.cmd.name)
	c.app.addFlags(c.flags)
	c.cmd.setup(c.flags)
	arguments, value := c.parse(before[1:])
	name, rest, isAssignment := strings.Cut(word, "=")
	switch {
	case value != nil:
		return c.values(ctx, value, word)
	case strings.HasPrefix(word, "--") && isAssignment:
		if flag := c.flags.Set.Lookup(name[2:]); flag != nil {
			return c.values(ctx, flag, rest)
		}
	case strings.HasPrefix(word, "-"):
		return startingWith(word, c.flagWords())
	default:
		return c.arguments(ctx, arguments, word)
	}
	return completion{directive: completeOnly}
}

// completer completes the words of a command.
type completer struct {
	*app
	cmd   command
	flags *config.Flags
}

// parse sets the flags that the words before have. It returns the arguments, and the flag whose value is the next
// word.
func (c *completer) parse(words []string) (arguments []string, value *pflag.Flag) {
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
func (c *completer) flagWords() (words [][2]string) {
	c.flags.Set.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			_, usage := pflag.UnquoteUsage(f)
			words = append(words, [2]string{"--" + f.Name, usage})
		}
	})
	return append(words, [2]string{"--help", "describe the command"})
}

// values completes the value of a flag.
func (c *completer) values(ctx context.Context, flag *pflag.Flag, word string) completion {
	name, _ := pflag.UnquoteUsage(flag)
	if choice, ok := config.Choices(flag.Value); ok {
		return startingWith(word, plainWords(choice))
	}
	switch flag.Name {
	case "env":
		if c.configure() {
			return startingWith(word, plainWords(c.config.Environments()))
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
func (c *completer) arguments(ctx context.Context, before []string, word string) completion {
	switch n := len(before); {
	case slices.Contains([]string{"link", "keygen", "unbundle"}, c.cmd.name):
		return completion{directive: completeFiles}
	case (c.cmd.name == "show" || c.cmd.name == "bundle") && n == 0, c.cmd.name == "diff" && n < 2:
		words := c.snapshots(ctx)
		if c.cmd.name == "diff" && n == 0 {
			words = append(words, [2]string{"staging", "where staging overrules production"})
		}
		return startingWith(word, words)
	case c.cmd.name == "config" && n == 0:
		return startingWith(word, plainWords([]string{"check", "show", "example"}))
	case c.cmd.name == "config" && n == 1 && before[0] == "show":
		return startingWith(word, commandWords())
	}
	return completion{directive: completeOnly}
}

// configure applies the configuration to the flags, as far as it can be read, and reports whether there is one.
func (c *completer) configure() bool {
	c.log = slog.New(slog.DiscardHandler)
	read, err := config.Read(c.configFile, c.configDir, schema())
	if read == nil {
		return false
	}
	c.config, c.configErr = read, err
	_ = c.selectEnv(command{anyConfig: true, noEnv: true}, c.flags.Set)
	_ = c.flags.Configure(c.config)
	return true
}

// newest returns the snapshots of the store, the latest first; none if it cannot be read.
func (c *completer) stored(ctx context.Context) []*snapfile.Snapshot {
	if !c.configure() {
		return nil
	}
	s, err := c.openStore(false)
	if err != nil || s == nil {
		return nil
	}
	all, err := repository.Snapshots(ctx, s)
	if err != nil {
		return nil
	}
	return all
}

func (c *completer) snapshots(ctx context.Context) [][2]string {
	words := [][2]string{{"latest", "the latest one"}}
	for _, snap := range c.stored(ctx) {
		words = append(words, [2]string{snap.ID, fmt.Sprintf("event of %s, %s", day(snap.Manifest.EventTime), strings.Join(snap.Manifest.Scope.AskedFor(), " "))})
	}
	return words
}

func (c *completer) tags(ctx context.Context) (words [][2]string) {
	all := c.stored(ctx)
	if len(all) == 0 {
		return nil
	}
	for _, t := range all[0].Manifest.Scope.All {
		words = append(words, [2]string{t.Name, ""})
	}
	return words
}

func commandWords() (words [][2]string) {
	for _, c := range commands() {
		words = append(words, [2]string{c.name, c.short})
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
