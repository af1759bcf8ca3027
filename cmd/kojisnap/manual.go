package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
)

// writeManual writes the manual pages to a directory: kojisnap(1), one for each command, kojisnap.toml(5).
func writeManual(_ context.Context, _ *app, args []string) error {
	if len(args) != 1 {
		return usagef("__man wants one directory")
	}
	pages := map[string]string{"kojisnap.1": overviewPage(), "kojisnap.toml.5": configPage()}
	for _, cmd := range commands() {
		pages["kojisnap-"+cmd.name+".1"] = commandPage(cmd)
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(args[0], name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("manual page: %w", err)
		}
	}
	return nil
}

// page is a manual page in the making, for man(7).
type page struct{ strings.Builder }

func newPage(name string, section int, short string) *page {
	p := new(page)
	fmt.Fprintf(p, ".TH %s %d %s \"kojisnap %s\" \"kojisnap\"\n", roff(strings.ToUpper(name)), section, manualDate().Format("2006-01-02"), version)
	p.section("NAME")
	p.fill(name + " - " + short)
	return p
}

func (p *page) section(name string) { fmt.Fprintf(p, ".SH %s\n", strings.ToUpper(name)) }

// item writes an entry of a list: what it is about, and its text.
func (p *page) item(tag, text string) {
	fmt.Fprintf(p, ".TP\n%s\n", tag)
	p.fill(text)
}

// fill writes a text of one paragraph.
func (p *page) fill(text string) {
	for line := range strings.SplitSeq(wrapAt(roff(text), 78), "\n") {
		p.WriteString(noRequest(strings.TrimSpace(line)) + "\n")
	}
}

// prose writes paragraphs, which empty lines separate; lines that are indented stay as they are.
func (p *page) prose(text string) {
	first := true // after a heading
	var paragraph, block []string
	flush := func() {
		if len(paragraph)+len(block) > 0 && !first {
			p.WriteString(".PP\n")
		}
		first = first && len(paragraph)+len(block) == 0
		if len(paragraph) > 0 {
			p.fill(strings.Join(paragraph, " "))
		}
		if len(block) > 0 {
			p.block(block)
		}
		paragraph, block = nil, nil
	}
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			flush()
		case strings.HasPrefix(line, " "):
			if len(paragraph) > 0 {
				flush()
			}
			block = append(block, line)
		default:
			if len(block) > 0 {
				flush()
			}
			paragraph = append(paragraph, line)
		}
	}
	flush()
}

// block writes lines as they are, without what all are indented by.
func (p *page) block(lines []string) {
	indent := len(lines[0])
	for _, line := range lines {
		indent = min(indent, len(line)-len(strings.TrimLeft(line, " ")))
	}
	p.WriteString(".RS 4\n.nf\n")
	for _, line := range lines {
		p.WriteString(roffLine(strings.TrimRight(line[indent:], " ")) + "\n")
	}
	p.WriteString(".fi\n.RE\n")
}

// roff returns a text in which no character has a meaning for troff.
func roff(text string) string {
	var b strings.Builder
	for _, r := range clean(text) {
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

// flags writes the list of some flags.
func (p *page) flags(set *pflag.FlagSet, which func(*pflag.Flag) bool) {
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || !which(f) {
			return
		}
		tag := bold("--" + f.Name)
		if f.Shorthand != "" {
			tag = bold("-"+f.Shorthand) + ", " + tag
		}
		name, usage := pflag.UnquoteUsage(f)
		if name != "" {
			tag += "=" + italic(name)
		}
		p.item(tag, sentence(usage)+config.DefaultText(f))
	})
}

func sentence(text string) string {
	text = strings.ToUpper(text[:1]) + text[1:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

func (p *page) exitStatus() {
	p.section("EXIT STATUS")
	for line := range strings.SplitSeq(strings.TrimSpace(exitCodes), "\n") {
		code, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		p.item(bold(code), sentence(strings.TrimSpace(text)))
	}
}

// seeAlso writes references, sorted by section and name.
func (p *page) seeAlso(pages ...string) {
	p.section("SEE ALSO")
	for i, name := range pages {
		name, section, _ := strings.Cut(name, ".")
		if name == "kojisnap" && section == "toml.5" {
			name, section = "kojisnap.toml", "5"
		}
		end := ","
		if i == len(pages)-1 {
			end = ""
		}
		fmt.Fprintf(p, ".BR %s (%s)%s\n", roff(name), section, end)
	}
}

func commandPage(cmd command) string {
	f := flagsOf(cmd)
	p := newPage("kojisnap-"+cmd.name, 1, cmd.short)
	p.section("SYNOPSIS")
	fmt.Fprintf(p, "%s [%s] %s\n", bold("kojisnap "+cmd.name), italic("flags"), roff(cmd.args))
	p.section("DESCRIPTION")
	p.prose(cmd.long)
	common := func(flag *pflag.Flag) bool { return f.IsCommon(flag.Name) }
	p.section("OPTIONS")
	p.flags(f.Set, func(flag *pflag.Flag) bool { return !common(flag) })
	p.WriteString(".SS Common options\n")
	p.flags(f.Set, common)
	p.exitStatus()
	p.section("EXAMPLES")
	p.block(strings.Split(strings.TrimSpace(cmd.examples), "\n"))
	p.seeAlso("kojisnap.1", "kojisnap.toml.5")
	return strings.ReplaceAll(p.String(), " \n", "\n")
}

func overviewPage() string {
	p := newPage("kojisnap", 1, "keep a staging Koji compose-ready")
	p.section("SYNOPSIS")
	fmt.Fprintf(p, "%s %s [%s]\n", bold("kojisnap"), italic("COMMAND"), italic("flags"))
	p.section("DESCRIPTION")
	p.fill("kojisnap reads a production Koji hub, loads the staging database, copies the files that composes hard-link, and checks that composes can run.")
	p.section("COMMANDS")
	also := []string{}
	for _, c := range commands() {
		p.item(bold("kojisnap-"+c.name)+"(1)", sentence(c.short))
		also = append(also, "kojisnap-"+c.name+".1")
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

func configPage() string {
	p := newPage("kojisnap.toml", 5, "the configuration of kojisnap")
	p.section("SYNOPSIS")
	fmt.Fprintf(p, "%s\n.br\n%s\n", italic(config.Dir+"/"+config.Name), italic(config.Dir+"/conf.d/*.toml"))
	p.section("DESCRIPTION")
	p.prose(configProse)
	s := schema()
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
	p.block(strings.Split(strings.TrimSpace(syncExample), "\n"))
	p.seeAlso("kojisnap.1", "kojisnap-config.1")
	return p.String()
}
