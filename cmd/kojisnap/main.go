// Command kojisnap keeps a staging Koji compose-ready.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/kojisnap/trial/inside"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// When a reader closes the pipe, the write fails; the signal must not end the process amid its work.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is one of kojisnap's commands.
type command struct {
	name, args string // args as usage shows them
	short      string
	long       string // what it does, for --help
	examples   string
	anyConfig  bool // it reads the configuration, and does not work by it
	noEnv      bool // if no environment is chosen, it works with what the configuration has for all
	// setup adds the command's own flags and returns what runs it.
	setup func(f *config.Flags) runner
}

type runner func(ctx context.Context, a *app, args []string) error

func commands() []command {
	return []command{pullCommand, initCommand, loadCommand, copyCommand, linkCommand, cloneCommand, clonesCommand, discardCommand, verifyCommand, syncCommand, doctorCommand, snapshotsCommand, showCommand, diffCommand, bundleCommand, unbundleCommand, pruneCommand, statusCommand, reportCommand(), keygenCommand, configCommand()}
}

// run is the whole program, except that it does not end the process. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := &output{w: stdout}
	a := &app{stdout: out, stderr: hiding{stderr}, configDir: config.Dir}
	a.errors, a.results = consoleOf(a.stderr), consoleOf(a.stdout)
	code, err := a.execute(ctx, args, out)
	hookRunner{a}.runEndHook(ctx, err, code)
	return code
}

// execute runs a command, ends its document, and tells why it failed.
func (a *app) execute(ctx context.Context, args []string, out *output) (int, error) {
	err := a.run(ctx, args)
	plugin := a.nagios || wantsNagios(args)
	if plugin {
		err = a.unknown(err)
	}
	code := exitCode(err)
	if a.document || err != nil && !plugin && !out.used && (a.json || wants(args, "--json", "")) {
		a.closeDocument(err, code)
	}
	if lost := out.finish(); lost != nil {
		if code = exitError; plugin {
			code = int(nagiosUnknown)
		}
		trouble := outputError{lost}
		if !trouble.quiet() {
			a.tellError(trouble, code, args)
		}
		if err == nil {
			return code, trouble
		}
		if errors.Is(err, lost) {
			return code, err
		}
	}
	if err == nil {
		return code, nil
	}
	var quiet quietError
	var told nagiosError
	// With --exit-on-lock the exit code says enough: cron must not send a mail every half hour.
	left := code == exitLocked && a.exitOnLock && !a.verbose && !a.debug
	if !left && !errors.As(err, &quiet) && !errors.As(err, &told) {
		a.tellError(err, code, args)
	}
	return code, err
}

func (a *app) run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" && len(args) == 1 {
		out, shown := a.stdout, a.results
		if len(args) == 0 {
			out, shown = a.stderr, a.errors
		}
		fmt.Fprint(out, shown.wrap(usage()))
		if len(args) == 0 {
			return usageError{quietError{errors.New("no command")}}
		}
		return nil
	}
	if args[0] == "--version" || args[0] == "version" {
		fmt.Fprintln(a.stdout, versionLine(buildOrigin()))
		return nil
	}
	if hidden := hiddenCommands()[args[0]]; hidden != nil {
		return hidden(ctx, a, args[1:])
	}
	if args[0] == "help" {
		args = []string{args[1], "--help"}
	}
	all := commands()
	at := slices.IndexFunc(all, func(c command) bool { return c.name == args[0] })
	if at < 0 {
		if strings.HasPrefix(args[0], "-") {
			return usagef("the command comes first: kojisnap COMMAND %s …; kojisnap --help lists them", args[0])
		}
		return usagef("no command %q%s; kojisnap --help lists them", args[0], config.Suggest(args[0], commandNames()))
	}
	cmd := all[at]
	f := config.New(cmd.name)
	a.addFlags(f)
	runCommand := cmd.setup(f)
	f.Set.SortFlags = false
	f.Set.SetOutput(io.Discard)
	f.Set.Usage = func() {}
	if err := f.Set.Parse(args[1:]); errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(a.stdout, cmd.help(f, a.results.width()))
		return nil
	} else if err != nil {
		return usageError{f.Explain(err)}
	}
	if err := a.begin(ctx, cmd, f); err != nil {
		return err
	}
	defer a.end()
	return runCommand(ctx, a, f.Set.Args())
}

// hiddenCommands are for the build, for shells, and for kojisnap itself in an image: no help lists them.
func hiddenCommands() map[string]runner {
	return map[string]runner{"__man": writeManual, "__complete": complete, "__completeNoDesc": complete, inside.Command: runTrial}
}

// schema returns all keys of the configuration: the flags of all commands.
func schema() *config.Schema {
	var all []*config.Flags
	for _, cmd := range commands() {
		all = append(all, flagsOf(cmd))
	}
	return config.NewSchema(all...)
}

// flagsOf returns the flags of a command, with values that no run uses.
func flagsOf(cmd command) *config.Flags {
	f := config.New(cmd.name)
	new(app).addFlags(f)
	cmd.setup(f)
	f.Set.SortFlags = false
	return f
}

func commandNames() []string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

func usage() string {
	var b strings.Builder
	b.WriteString("kojisnap keeps a staging Koji compose-ready: it reads the production hub, loads the\nstaging database, copies the files that composes hard-link, and checks that they can run.\n\nUsage: kojisnap COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-10s %s\n", c.name, c.short)
	}
	b.WriteString("\nkojisnap COMMAND --help says more.\n")
	return b.String()
}

// help is the help of a command, for a terminal of a width, or 0.
func (c command) help(f *config.Flags, width int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage: kojisnap %s\n%s\nCommon flags:\n%s\nExamples:\n%s\nExit codes:\n%s",
		reflow(strings.TrimSpace(c.long), width), strings.TrimSpace(c.name+" [flags] "+c.args), f.Usages(width), f.CommonUsages(width),
		indent(c.examples), wrapAt(exitCodes, width))
	return b.String()
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
		b.WriteString("  " + line + "\n")
	}
	return b.String()
}
