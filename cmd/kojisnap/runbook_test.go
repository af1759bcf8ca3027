package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
)

// TestRunbook: scripts/guide/runbook.md has an entry for each exit code, each check of verify and each check of doctor, by
// the names that the code has, and none for others.
func TestRunbook(t *testing.T) {
	entries := map[string][]string{} // by heading: the names in the first column of its table
	under := ""
	for line := range strings.Lines(readFile(t, "../../scripts/guide/runbook.md")) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			under = strings.TrimSpace(title)
		} else if m := regexp.MustCompile("^\\| `([^`]+)` \\|").FindStringSubmatch(line); m != nil {
			entries[under] = append(entries[under], m[1])
		}
	}
	var codes []string
	for _, m := range regexp.MustCompile(`(?m)^  (\d)  `).FindAllStringSubmatch(exit.Help, -1) {
		codes = append(codes, m[1])
	}
	for heading, want := range map[string][]string{
		"Exit codes":       codes,
		"Checks of verify": verifyChecks(t),
		"Checks of doctor": doctorChecks(t),
	} {
		have := slices.Sorted(slices.Values(entries[heading]))
		slices.Sort(want)
		if len(want) < 7 || !slices.Equal(have, want) {
			t.Errorf("%s: the runbook has entries for\n%q, the code has\n%q", heading, have, want)
		}
	}
}

// parsed returns the files of a package of the repository, without tests.
func parsed(t *testing.T, dir string) (files []*ast.File) {
	t.Helper()
	paths, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no code in %s: %v", dir, err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// literal is the text of a string literal, or the beginning of a text that is put together.
func literal(e ast.Expr) string {
	if sum, ok := e.(*ast.BinaryExpr); ok {
		e = sum.X
	}
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		if text, err := strconv.Unquote(lit.Value); err == nil {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// verifyChecks are the names that the code of package verify gives checks. Those of builds that were asked for by name
// begin with "build", and have the entry of the check of a tag.
func verifyChecks(t *testing.T) []string {
	names := map[string]bool{}
	for _, file := range parsed(t, "../../kojisnap/verify") {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if id, ok := n.Type.(*ast.Ident); ok && id.Name == "Check" {
					for _, e := range n.Elts {
						if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == "Name" {
							names[literal(kv.Value)] = true
						}
					}
				}
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "checkOf" {
					names[literal(n.Args[0])] = true
				}
			}
			return true
		})
	}
	delete(names, "") // checkOf's own
	var all []string
	for name := range names {
		all = append(all, name)
	}
	return all
}

// doctorChecks are the constants with the names of doctor's checks.
func doctorChecks(t *testing.T) (names []string) {
	for _, file := range parsed(t, "../../kojisnap") {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 && strings.HasPrefix(spec.Names[0].Name, "Check") {
				if name := literal(spec.Values[0]); name != "" {
					names = append(names, name)
				}
			}
			return true
		})
	}
	return names
}
