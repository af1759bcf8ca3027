package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/dbsync/overlay"
)

// pages are what people read, below the top of the repository.
func pages(t *testing.T) (paths []string) {
	t.Helper()
	for _, pattern := range []string{"../../*.md", "../../scripts/*.md", "../../scripts/guide/*.md", "../../kojisnap/snapfile/*.md", "JSON.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no page %s: %v", pattern, err)
		}
		paths = append(paths, found...)
	}
	return paths
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// codeBlock is a fenced or indented block of a page.
type codeBlock struct {
	info, text string
	line       int // of its first line
}

// codeBlocks returns the blocks of code of a page.
func codeBlocks(page string) (blocks []codeBlock) {
	var b *codeBlock
	var fenced bool
	for i, line := range strings.Split(page, "\n") {
		switch info, isFence := strings.CutPrefix(line, "```"); {
		case fenced && isFence:
			fenced, b = false, nil
		case isFence:
			blocks = append(blocks, codeBlock{info: info, line: i + 2})
			fenced, b = true, &blocks[len(blocks)-1]
		case fenced:
			b.text += line + "\n"
		case strings.HasPrefix(line, "    "):
			if b == nil {
				blocks = append(blocks, codeBlock{line: i + 1})
				b = &blocks[len(blocks)-1]
			}
			b.text += line + "\n"
		default:
			b = nil
		}
	}
	return blocks
}

var (
	// A command of kojisnap in a line of shell, cron, a unit or a comment of SQL: where a command begins.
	invocation = regexp.MustCompile(`(?:^\s*(?:\$ |--   )?|^\S+=/usr/bin/|\w=\S* |[|&;(] ?|-- |-u \S+ |\* +\w+ +|ssh \w+ |-m ')kojisnap ([A-Za-z_-].*)`)
	comment    = regexp.MustCompile(`(?:^|\s)#\s.*$`)
	inline     = regexp.MustCompile("`([^`\n]*)`")
)

// shellWords splits what follows the program's name, as far as one command goes.
func shellWords(line string) (words []string) {
	var word strings.Builder
	var quote rune
	begun := false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == ' ':
			end()
		case strings.ContainsRune(`|;&<>)`+"`", r):
			end()
			return words
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	end()
	return words
}

// commandLines returns the commands of kojisnap in a line of text.
func commandLines(line string) (found [][]string) {
	for {
		m := invocation.FindStringSubmatchIndex(line)
		if m == nil {
			return found
		}
		line = line[m[2]:]
		found = append(found, shellWords(line))
	}
}

// placeholder is a word that stands for another one.
var placeholder = regexp.MustCompile(`^\$?[A-Z][A-Z_|0-9]*$|^\$\w+$|^…$`)

// checkCommandLine parses a command line with the flags that the command has.
func checkCommandLine(words []string) error {
	name, args := words[0], words[1:]
	if strings.HasPrefix(name, "-") || name == "help" || name == "version" || placeholder.MatchString(name) || hiddenCommands()[name] != nil {
		return nil
	}
	at := slices.IndexFunc(commands(), func(c command) bool { return c.name == name })
	if at < 0 {
		return fmt.Errorf("no command %q", name)
	}
	for i, arg := range args {
		if placeholder.MatchString(arg) {
			args[i] = "1" // a number, and a text
			if arg == "TIME" {
				args[i] = "1h"
			}
		}
	}
	f := flagsOf(commands()[at])
	f.Set.SetOutput(new(strings.Builder))
	f.Set.Usage = func() {}
	if err := f.Set.Parse(args); err != nil && !slices.Contains(args, "--help") {
		return f.Explain(err)
	}
	return nil
}

// TestDocumentedCommands: each command line of kojisnap in README, the guides, what scripts install and the help's examples
// names a command, flags and values that there are.
func TestDocumentedCommands(t *testing.T) {
	lines := map[string]string{} // by place
	for _, path := range pages(t) {
		page := readFile(t, path)
		for _, b := range codeBlocks(page) {
			text := strings.ReplaceAll(b.text, "\\\n", "  ")
			for i, line := range strings.Split(text, "\n") {
				lines[fmt.Sprintf("%s:%d", path, b.line+i)] = comment.ReplaceAllString(line, "")
			}
		}
		for i, line := range strings.Split(page, "\n") {
			for n, m := range inline.FindAllStringSubmatch(line, -1) {
				lines[fmt.Sprintf("%s:%d, code %d", path, i+1, n+1)] = m[1]
			}
		}
	}
	for _, pattern := range []string{"systemd/*.service", "cron.d/*", "grants.sql"} {
		found, err := filepath.Glob("../../scripts/" + pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no file %s: %v", pattern, err)
		}
		for _, path := range found {
			for i, line := range strings.Split(readFile(t, path), "\n") {
				if strings.HasPrefix(line, "--   ") || !strings.HasPrefix(line, "--") && !strings.HasPrefix(line, "#") {
					lines[fmt.Sprintf("%s:%d", path, i+1)] = line
				}
			}
		}
	}
	for _, c := range commands() {
		for i, line := range strings.Split(c.examples, "\n") {
			lines[fmt.Sprintf("example %d of %s", i, c.name)] = line
		}
	}
	found := 0
	for place, line := range lines {
		for _, words := range commandLines(line) {
			found++
			if err := checkCommandLine(words); err != nil {
				t.Errorf("%s: %s: %v", place, line, err)
			}
		}
	}
	if found < 150 {
		t.Errorf("only %d command lines were found", found)
	}
}

// namedFlags matches a command with flags in the text of a message.
var namedFlags = regexp.MustCompile(`kojisnap ([a-z]+)((?: --[a-z0-9-]+)+)`)

// TestNamedFlags: what the program says names only commands and flags that it has.
func TestNamedFlags(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}} {{.Dir}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(out)) {
		pkg, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(pkg, "kojisnap/") {
			continue
		}
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("no code in %s: %v", dir, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			for _, m := range namedFlags.FindAllStringSubmatch(readFile(t, path), -1) {
				found++
				checkNamedFlags(t, path, m)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d were found", found)
	}
}

func checkNamedFlags(t *testing.T, path string, m []string) {
	t.Helper()
	at := slices.IndexFunc(commands(), func(c command) bool { return c.name == m[1] })
	if at < 0 {
		t.Errorf("%s: %s: no such command", path, m[0])
		return
	}
	set := flagsOf(commands()[at]).Set
	for _, flag := range strings.Fields(m[2]) {
		if set.Lookup(strings.TrimPrefix(flag, "--")) == nil && flag != "--help" {
			t.Errorf("%s: %s: no such flag", path, m[0])
		}
	}
}

// TestDocumentedKeys: each TOML block of README and the guides is a configuration, or an overlay, without a fault.
func TestDocumentedKeys(t *testing.T) {
	found := 0
	for _, path := range pages(t) {
		for _, b := range codeBlocks(readFile(t, path)) {
			if !strings.HasPrefix(b.info, "toml") {
				continue
			}
			found++
			file := filepath.Join(t.TempDir(), "block.toml")
			write(t, file, b.text)
			var err error
			if strings.Contains(b.info, "overlay") {
				_, err = overlay.Read(file)
			} else {
				_, err = config.Read(file, "", schema())
			}
			if err != nil {
				t.Errorf("%s:%d: %v", path, b.line, err)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d blocks were found", found)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	mark    = regexp.MustCompile(`[^\pL\pN _-]`)
)

// TestDocumentedLinks: each link to a file of the repository leads to one, and to a heading if it names that.
func TestDocumentedLinks(t *testing.T) {
	for _, path := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(readFile(t, path), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link %s: %v", path, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(readFile(t, target)), anchor) {
				t.Errorf("%s: link %s: no such heading; there are %q", path, m[1], anchors(readFile(t, target)))
			}
		}
	}
}

// anchors are the names of a page's headings in links.
func anchors(page string) (names []string) {
	for _, b := range codeBlocks(page) {
		page = strings.ReplaceAll(page, b.text, "")
	}
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		name := mark.ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}
