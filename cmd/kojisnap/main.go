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
	"kojisnap/cmd/kojisnap/describe"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/monitor"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/version"
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
	return []command{pullCommand, initCommand, loadCommand, copyCommand, workerCommand, linkCommand, cloneCommand, clonesCommand, discardCommand, verifyCommand, syncCommand, doctorCommand, snapshotsCommand, showCommand, diffCommand, bundleCommand, unbundleCommand, pruneCommand, statusCommand, reportCommand(), keygenCommand, configCommand()}
}

// run is the whole program, except that it does not end the process. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := output.NewStdout(stdout)
	a := &app{stdout: out, stderr: output.Hiding{To: stderr}, configDir: config.Dir}
	a.errors, a.results = output.ConsoleOf(a.stderr), output.ConsoleOf(a.stdout)
	code, err := a.execute(ctx, args, out)
	hookRunner{a}.runEndHook(ctx, err, code)
	return code
}

// execute runs a command, ends its document, and tells why it failed.
func (a *app) execute(ctx context.Context, args []string, out *output.Stdout) (int, error) {
	err := a.run(ctx, args)
	plugin := a.nagios || wantsNagios(args)
	if plugin {
		err = monitor.TellError(a.stdout, err)
	}
	code := exit.Code(err)
	if a.document.Begun() || err != nil && !plugin && !out.Used() && (a.json || wants(args, "--json", "")) {
		a.closeDocument(err, code)
	}
	if lost := out.Finish(); lost != nil {
		if code = exit.Error; plugin {
			code = int(monitor.Unknown)
		}
		trouble := output.StdoutError{Err: lost}
		if !trouble.Quiet() {
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
	// With --exit-on-lock the exit code says enough: cron must not send a mail every half hour.
	left := code == exit.Locked && a.exitOnLock && !a.verbose && !a.debug
	if !left && !exit.IsReported(err) && !errors.As(err, new(*monitor.Error)) {
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
		fmt.Fprint(out, shown.Wrap(described().Usage()))
		if len(args) == 0 {
			return exit.AsUsage(exit.Reported(errors.New("no command")))
		}
		return nil
	}
	if args[0] == "--version" || args[0] == "version" {
		fmt.Fprintln(a.stdout, version.Line())
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
			return exit.Usagef("the command comes first: kojisnap COMMAND %s …; kojisnap --help lists them", args[0])
		}
		return exit.Usagef("no command %q%s; kojisnap --help lists them", args[0], config.Suggest(args[0], commandNames()))
	}
	cmd := all[at]
	f := config.New(cmd.name)
	a.addFlags(f)
	runCommand := cmd.setup(f)
	f.Set.SortFlags = false
	f.Set.SetOutput(io.Discard)
	f.Set.Usage = func() {}
	if err := f.Set.Parse(args[1:]); errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(a.stdout, cmd.described(f).Help(a.results.Width()))
		return nil
	} else if err != nil {
		return exit.AsUsage(f.Explain(err))
	}
	if err := a.begin(ctx, cmd, f); err != nil {
		return err
	}
	defer a.end()
	return runCommand(ctx, a, f.Set.Args())
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

// described is what there is to say of a command with some flags.
func (c command) described(f *config.Flags) describe.Command {
	return describe.Command{Name: c.name, Args: c.args, Short: c.short, Long: c.long, Examples: c.examples, Flags: f}
}

// described is what there is to say of the program.
func described() *describe.Program {
	p := &describe.Program{Schema: schema(), Configuration: configProse, Example: syncExample, Version: version.Number, Date: version.ManualDate()}
	for _, c := range commands() {
		p.Commands = append(p.Commands, c.described(flagsOf(c)))
	}
	return p
}

func commandNames() []string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}
