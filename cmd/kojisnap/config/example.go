package config

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const exampleHead = `# kojisnap's configuration, with every key. A line that begins with # and a key, without a space between, is a key
# that is not set; it shows the default, or an example where there is none. "kojisnap config check" finds mistakes,
# "kojisnap config show" says what holds.
#
# A key is the name of a flag, and "kojisnap COMMAND --help" says more about it. In the table of a command a key is for
# that command; at the top level, above all tables, for every command that has it. sync has the keys of pull, copy, load
# and verify from their tables. Times are 90s, 15m, 2h or 2d, rates 500k, 20M or 1G.
#
# Several environments: a table [env.NAME] may have every key that the top level may have, and [env.NAME.COMMAND] every
# key of a command. They go before what is for all; --env NAME, or default below [env], says for which one to work:
#
#     [env]
#     default = "stg"
#     [env.stg]
#     topdir = "/mnt/koji"
#     [env.stg.load]
#     db = "host=db.stg dbname=koji user=kojisnap"
#
# Of the directory conf.d beside /etc/kojisnap/kojisnap.toml all files *.toml are read after it, by name. A later file
# goes before an earlier one key by key; a list replaces a list.
#
# Keep passwords out of this file: libpq's password file (PGPASSFILE, ~/.pgpass), PGPASSWORD or a service file
# (PGSERVICEFILE) has that of the database, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the files of AWS have that of
# a store in S3.

# For every command
`

// Example writes a configuration with every key, all commented out: the help of each, and its default.
func (s *Schema) Example(w io.Writer) error {
	var b strings.Builder
	b.WriteString(exampleHead)
	for _, section := range s.order() {
		if section != Common {
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		for _, k := range s.Keys(section) {
			if section == Common && k.Flag.Name == envTable {
				continue
			}
			b.WriteString("\n")
			for _, line := range wrap(k.Help(), 116) {
				b.WriteString("# " + line + "\n")
			}
			fmt.Fprintf(&b, "#%s = %s\n", k.Flag.Name, k.exampleValue())
		}
	}
	b.WriteString("\n# Staging's names of production's volumes, where prod_NAME will not do\n[" + volumesTable + "]\n#archive = \"prod_archive\"\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Help returns a key's help as a sentence, with the values that it takes.
func (k Key) Help() string {
	_, usage := pflag.UnquoteUsage(k.Flag)
	usage = strings.ToUpper(usage[:1]) + usage[1:]
	if c, ok := k.Flag.Value.(*Choice); ok {
		usage += "; one of " + strings.Join(c.words, ", ")
	}
	return usage
}

// Sections returns the tables that a configuration may have for commands, in the order of the help, first Common.
func (s *Schema) Sections() []string { return s.order() }

// Keys returns the keys of a section that are documented.
func (s *Schema) Keys(section string) (keys []Key) {
	for _, k := range s.sections[section] {
		if !k.Flag.Hidden && k.meant() {
			keys = append(keys, k)
		}
	}
	return keys
}

// Wanted says what a key takes: "a text in quotes".
func (k Key) Wanted() string { return strings.TrimPrefix(wanted(k.Flag.Value), "want ") }

// DefaultText says in a sentence what the default of a flag is, or nothing if there is none or the help says it.
func DefaultText(f *pflag.Flag) string {
	text := f.DefValue
	if f.Value.Type() == new(Duration).Type() {
		text = shortDuration(text)
	}
	if slices.Contains([]string{"", "0", "0s", "false", "[]"}, text) || strings.Contains(f.Usage, "(default") {
		return ""
	}
	return " The default is " + text + "."
}

// exampleValue returns the default in TOML, or an example of a value if the key cannot be set to its default.
func (k Key) exampleValue() string {
	if _, ok := k.Flag.Value.(*Moment); ok {
		return `"2026-11-01"`
	}
	text, _ := valueText(k.Flag.Value, k.defaultValue())
	return text
}

// wrap breaks a text at words into lines of a width, where words allow it.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
