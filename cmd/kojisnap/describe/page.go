package describe

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
)

// page is a manual page in the making, for man(7).
type page struct{ strings.Builder }

func (of *Program) newPage(name string, section int, short string) *page {
	p := new(page)
	fmt.Fprintf(p, ".TH %s %d %s \"kojisnap %s\" \"kojisnap\"\n", roff(strings.ToUpper(name)), section, of.Date.Format("2006-01-02"), of.Version)
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
	for line := range strings.SplitSeq(output.Wrap(roff(text), 78), "\n") {
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
	for line := range strings.SplitSeq(strings.TrimSpace(exit.Help), "\n") {
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
