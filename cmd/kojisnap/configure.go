package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
)

// configProse describes the configuration, for the help of config and kojisnap.toml(5).
const configProse = `The configuration is the file of -c, or else /etc/kojisnap/kojisnap.toml and then all files *.toml of the directory
conf.d beside it, sorted by name. A later file goes before an earlier one, key by key: a list replaces a list, and a
table adds its keys to those of the same table. Files of conf.d with another ending are not read; if the ending is
.conf, .yaml or the like, every command says so.

A key is the name of a flag. At the top level it is for every command that has the flag, in the table of a command
for that one. One file can have several environments:

    store = "/var/lib/kojisnap"
    [env]
    default = "stg"
    [env.stg]
    topdir = "/mnt/koji"
    [env.stg.load]
    db = "host=db.stg dbname=koji user=kojisnap"
    [env.dev]
    topdir = "/mnt/koji-dev"
    [env.dev.volumes]
    archive = "prod_old"

--env chooses one, or else default in [env], or env = "stg" in a file of conf.d without [env]. A value is taken from
the first of these that has the key: the command line, [env.NAME.COMMAND], [env.NAME], [COMMAND], the top level. The
table volumes is merged, volume by volume. If there are tables of environments but none for the chosen one, that is
an error.

Passwords belong in files that only kojisnap can read, or in the environment. For the database libpq's ways work: a
password file (PGPASSFILE, ~/.pgpass, passfile=FILE in the DSN), PGPASSWORD, a service file (PGSERVICEFILE,
service=NAME in the DSN), a client's key (sslcert, sslkey). For a store or a source in S3 those of AWS:
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE, a role. A password in a DSN
of the configuration works, too, if the file is for kojisnap alone.`

// configCommand is a function because it knows all commands.
func configCommand() command {
	return command{
		name: "config", args: "check|show [COMMAND]|example",
		short: "check the configuration, show what holds, or print an example",
		long: `"config check" names everything that is wrong with the configuration, in all its environments: a line for each
fault, with file and line, and exit code 2. It makes the checks of values that commands make before they work, and
asks no network and no database. If nothing is wrong it prints nothing. A password in a file that everybody can read
is a warning, and so is a path that is not absolute.

"config show" prints the keys that are set, for the environment of --env, as TOML, and where each value comes from;
with -v also the defaults. Passwords are masked. With a COMMAND it prints the keys that this command uses.

"config example" prints a configuration with every key, its help and its default, all commented out.

` + configProse,
		noEnv: true, anyConfig: true,
		examples: `
kojisnap config check
kojisnap config check -c stg.toml
kojisnap config show --env stg -v
kojisnap config show sync --env dev --json
kojisnap config example > /etc/kojisnap/kojisnap.toml`,
		setup: func(*config.Flags) runner { return runConfig },
	}
}

// configResult is what config check and config show found.
type configResult struct {
	Files        []string         `json:"files"`
	Environments []string         `json:"environments"`          // that have tables
	Environment  string           `json:"environment,omitempty"` // of show: the one that was chosen
	Faults       []string         `json:"faults,omitempty"`
	Warnings     []string         `json:"warnings,omitempty"`
	Settings     []config.Setting `json:"settings,omitempty"`
}

func runConfig(ctx context.Context, a *app, args []string) error {
	words := []string{"check", "show", "example"}
	switch {
	case len(args) == 0:
		return exit.Usagef("config wants check, show or example")
	case !slices.Contains(words, args[0]):
		return exit.Usagef("config: no %q%s: give check, show or example", args[0], config.Suggest(args[0], words))
	case args[0] == "show":
		return a.showConfig(args[1:])
	case len(args) > 1:
		return exit.Usagef("config %s: unexpected argument %q", args[0], args[1])
	case args[0] == "check":
		return a.checkConfig()
	case a.json:
		return exit.Usagef("config example prints TOML: leave out --json; config show -v --json has keys and defaults")
	}
	return schema().Example(a.stdout)
}

// checkConfig tells of everything that is wrong with the configuration.
func (a *app) checkConfig() error {
	var faults []string
	add := func(errs ...error) {
		for _, err := range errs {
			for _, text := range exit.Messages(err) {
				if !slices.Contains(faults, text) {
					faults = append(faults, text)
				}
			}
		}
	}
	if list := (config.Faults)(nil); errors.As(a.configErr, &list) {
		add(list...)
	} else if a.configErr != nil {
		add(a.configErr)
	}
	for _, name := range a.config.Unread {
		add(fmt.Errorf("configuration %s: not read, as only *.toml is: rename it, or remove it", name))
	}
	all := a.config.Environments()
	if a.envSet {
		if err := a.config.Require(a.env); err != nil {
			if v, origin, ok := a.config.Lookup(config.Common, "env"); ok && v == a.env {
				err = fmt.Errorf("configuration %s: %w", origin, err)
			}
			add(err)
		}
	}
	if len(all) == 0 {
		all = []string{""}
	}
	var values []*config.KeyFault
	for _, env := range all {
		values = append(values, checkValues(a.config.For(env), env)...)
	}
	slices.SortStableFunc(values, (*config.KeyFault).Compare)
	told := map[string]bool{} // several commands and environments may have a key
	for _, f := range values {
		if f.Key == "" || !told[f.Key] {
			add(f)
		}
		told[f.Key] = true
	}
	warnings := append(a.config.Exposed(everybodyReads), relativePaths(a.config, all)...)
	result := configResult{Files: a.config.Files(), Environments: a.config.Environments(), Faults: faults, Warnings: warnings}
	if err := a.result(result, nil); err != nil {
		return err
	}
	for _, w := range warnings {
		a.log.Warn(strings.TrimPrefix(w, "configuration "))
	}
	if len(faults) == 0 {
		return nil
	}
	var list exit.List
	for _, f := range faults {
		list = append(list, errors.New(f))
	}
	return exit.AsUsage(list)
}

// everybodyReads reports whether users who are neither the owner nor in the group can read a file.
func everybodyReads(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0
}

// showConfig prints what holds for the chosen environment.
func (a *app) showConfig(args []string) error {
	if a.configErr != nil {
		return exit.AsUsage(a.configErr)
	}
	if len(args) > 1 {
		return exit.Usagef("config show: unexpected argument %q", args[1])
	}
	var sections []string
	if len(args) == 1 {
		at := slices.IndexFunc(commands(), func(c command) bool { return c.name == args[0] })
		if at < 0 {
			return exit.Usagef("config show: no command %q%s", args[0], config.Suggest(args[0], commandNames()))
		}
		sections = flagsOf(commands()[at]).Sections()
	}
	if a.envSet {
		if err := a.config.Require(a.env); err != nil {
			return exit.AsUsage(err)
		}
	}
	settings := config.Effective(a.config, schema(), sections...)
	for i, s := range settings {
		if name := config.Quote(a.env); a.envSet && s.Section == config.Common && s.Key == "env" && s.Value != name {
			s.Value, s.Values, s.Origin, s.Default = name, []string{a.env}, "--env", false
			settings[i] = s
		}
	}
	if !a.verbose && !a.json {
		settings = slices.DeleteFunc(settings, func(s config.Setting) bool { return s.Default })
	}
	result := configResult{Files: a.config.Files(), Environments: a.config.Environments(), Settings: settings}
	if a.envSet {
		result.Environment = a.env
	}
	return a.result(result, func(w io.Writer) { showSettings(w, result) })
}

// showSettings writes settings as a configuration that says the same.
func showSettings(w io.Writer, r configResult) {
	section := config.Common
	width := 0
	for _, s := range r.Settings {
		width = max(width, min(len([]rune(s.Key+s.Value)), 60))
	}
	for _, s := range r.Settings {
		if s.Section != section {
			section = s.Section
			fmt.Fprintf(w, "[%s]\n", section)
		}
		key := s.Key
		if strings.ContainsFunc(key, func(r rune) bool {
			return !(r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
		}) {
			key = config.Quote(key)
		}
		fmt.Fprintf(w, "%s = %-*s  # %s\n", key, width-len([]rune(key)), s.Value, output.Clean(s.Origin))
	}
}

// relativePaths returns warnings about paths that depend on the directory in which a command is run.
func relativePaths(c *config.Config, environments []string) (warnings []string) {
	for _, env := range environments {
		for _, s := range config.Effective(c.For(env), schema()) {
			if s.Default || !s.Path() {
				continue
			}
			for _, path := range s.Values {
				if path == "" || strings.HasPrefix(path, "/") || urlRE.MatchString(path) {
					continue
				}
				text := fmt.Sprintf("configuration %s: %s %q is not an absolute path: it depends on the directory in which a command is run", s.Origin, s.Key, path)
				if !slices.Contains(warnings, text) {
					warnings = append(warnings, text)
				}
			}
		}
	}
	return warnings
}
