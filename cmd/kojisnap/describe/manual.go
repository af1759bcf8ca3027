package describe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
)

// Manual returns the manual pages by the names of their files: kojisnap(1), one for each command, kojisnap.toml(5).
func (of *Program) Manual() map[string]string {
	pages := map[string]string{"kojisnap.1": of.overviewPage(), "kojisnap.toml.5": of.configPage()}
	for _, cmd := range of.Commands {
		pages["kojisnap-"+cmd.Name+".1"] = of.commandPage(cmd)
	}
	return pages
}

func (of *Program) commandPage(cmd Command) string {
	f := cmd.Flags
	p := of.newPage("kojisnap-"+cmd.Name, 1, cmd.Short)
	p.section("SYNOPSIS")
	fmt.Fprintf(p, "%s [%s] %s\n", bold("kojisnap "+cmd.Name), italic("flags"), roff(cmd.Args))
	p.section("DESCRIPTION")
	p.prose(cmd.Long)
	common := func(flag *pflag.Flag) bool { return f.IsCommon(flag.Name) }
	p.section("OPTIONS")
	p.flags(f.Set, func(flag *pflag.Flag) bool { return !common(flag) })
	p.WriteString(".SS Common options\n")
	p.flags(f.Set, common)
	p.exitStatus()
	p.section("EXAMPLES")
	p.block(strings.Split(strings.TrimSpace(cmd.Examples), "\n"))
	p.seeAlso("kojisnap.1", "kojisnap.toml.5")
	return strings.ReplaceAll(p.String(), " \n", "\n")
}

func (of *Program) overviewPage() string {
	p := of.newPage("kojisnap", 1, "keep a staging Koji compose-ready")
	p.section("SYNOPSIS")
	fmt.Fprintf(p, "%s %s [%s]\n", bold("kojisnap"), italic("COMMAND"), italic("flags"))
	p.section("DESCRIPTION")
	p.fill("kojisnap reads a production Koji hub, loads the staging database, copies the files that composes hard-link, and checks that composes can run.")
	p.section("COMMANDS")
	also := []string{}
	for _, c := range of.Commands {
		p.item(bold("kojisnap-"+c.Name)+"(1)", sentence(c.Short))
		also = append(also, "kojisnap-"+c.Name+".1")
	}
	p.exitStatus()
	p.section("FILES")
	p.item(italic(config.Dir+"/"+config.Name), "The configuration; see kojisnap.toml(5).")
	p.item(italic(config.Dir+"/conf.d/*.toml"), "More of it.")
	p.section("ENVIRONMENT")
	p.item(bold("PGHOST")+", "+bold("PGDATABASE")+", "+bold("PGPASSFILE")+", ...", "The staging database, as for the programs of PostgreSQL.")
	p.item(bold("AWS_ACCESS_KEY_ID")+", "+bold("AWS_SECRET_ACCESS_KEY")+", ...", "Credentials for a store or a source in S3.")
	p.item(bold("NO_COLOR"), "If it is set, no colours on a terminal.")
	slices.Sort(also)
	p.seeAlso(append(also, "kojisnap.toml.5")...)
	return p.String()
}

func (of *Program) configPage() string {
	p := of.newPage("kojisnap.toml", 5, "the configuration of kojisnap")
	p.section("SYNOPSIS")
	fmt.Fprintf(p, "%s\n.br\n%s\n", italic(config.Dir+"/"+config.Name), italic(config.Dir+"/conf.d/*.toml"))
	p.section("DESCRIPTION")
	p.prose(of.Configuration)
	s := of.Schema
	for _, section := range s.Sections() {
		if section == config.Common {
			p.section("Keys for every command")
		} else {
			fmt.Fprintf(p, ".SH KEYS OF [%s]\n", roff(section))
		}
		for _, k := range s.Keys(section) {
			p.item(bold(k.Flag.Name)+" = "+italic(k.Wanted()), sentence(k.Help())+config.DefaultText(k.Flag))
		}
	}
	p.section("Keys of [volumes]")
	p.item(bold("NAME")+" = "+italic("text"), "Staging's name of production's volume NAME, where prod_NAME will not do.")
	p.section("EXAMPLE")
	p.block(strings.Split(strings.TrimSpace(of.Example), "\n"))
	p.seeAlso("kojisnap.1", "kojisnap-config.1")
	return p.String()
}
