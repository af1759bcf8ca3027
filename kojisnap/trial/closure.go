package trial

import (
	"compress/gzip"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// pkg is a package of a repository's metadata, as far as the closure needs it.
type pkg struct {
	Name    string `xml:"name"`
	Arch    string `xml:"arch"`
	Version struct {
		Version string `xml:"ver,attr"`
		Release string `xml:"rel,attr"`
	} `xml:"version"`
	Format struct {
		Provides struct {
			Entries []capability `xml:"entry"`
		} `xml:"provides"`
		Requires struct {
			Entries []capability `xml:"entry"`
		} `xml:"requires"`
		Files []string `xml:"file"`
	} `xml:"format"`
	Files []string `xml:"file"` // in filelists
}

func (p *pkg) nvra() string {
	return p.Name + "-" + p.Version.Version + "-" + p.Version.Release + "." + p.Arch
}

// capability is a provide or a require: a name, and perhaps a comparison with a version.
type capability struct {
	Name    string `xml:"name,attr"`
	Flags   string `xml:"flags,attr"`
	Epoch   string `xml:"epoch,attr"`
	Version string `xml:"ver,attr"`
	Release string `xml:"rel,attr"`
}

func (c capability) String() string {
	if c.Flags == "" {
		return c.Name
	}
	sign := map[string]string{"EQ": "=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}[c.Flags]
	version := c.Version
	if c.Epoch != "" && c.Epoch != "0" {
		version = c.Epoch + ":" + version
	}
	if c.Release != "" {
		version += "-" + c.Release
	}
	return c.Name + " " + sign + " " + version
}

// closureOf finds what the packages of each repository require and none of its packages provides. It leaves out
// repositories of sources, whose packages require what builds need. Requirements with if, or, and the like are not
// looked at, but counted.
func closureOf(ctx context.Context, repos []Repo) (s Step) {
	for _, r := range repos {
		if filepath.Base(r.Dir) == "source" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return s.failed(err)
		}
		if err := closure(r.Dir, &s); err != nil {
			return s.failed(fmt.Errorf("repository %s: %w", r.Dir, err))
		}
	}
	slices.Sort(s.Bad)
	return s
}

func closure(dir string, s *Step) error {
	provided, files := map[string][]capability{}, map[string]bool{}
	var packages []*pkg
	err := eachPackage(dir, "primary", func(p *pkg) {
		packages = append(packages, p)
		for _, c := range p.Format.Provides.Entries {
			provided[c.Name] = append(provided[c.Name], c)
		}
		for _, f := range p.Format.Files {
			files[f] = true
		}
		p.Format.Provides.Entries, p.Format.Files = nil, nil
	})
	if err != nil {
		return err
	}
	type unmet struct {
		by   *pkg
		what capability
	}
	var open []unmet
	paths := map[string]bool{} // wanted, and not in primary
	for _, p := range packages {
		for _, c := range p.Format.Requires.Entries {
			s.Count++
			switch {
			case strings.HasPrefix(c.Name, "("):
				s.Unknown++
				continue
			case strings.HasPrefix(c.Name, "rpmlib("), files[c.Name], slices.ContainsFunc(provided[c.Name], c.metBy):
				continue
			case strings.HasPrefix(c.Name, "/"):
				paths[c.Name] = true
			}
			open = append(open, unmet{p, c})
		}
	}
	if len(paths) > 0 { // primary has the files of some directories only
		err := eachPackage(dir, "filelists", func(p *pkg) {
			for _, f := range p.Files {
				if paths[f] {
					files[f] = true
				}
			}
		})
		if err != nil {
			return err
		}
	}
	for _, u := range open {
		if !files[u.what.Name] {
			s.Bad = append(s.Bad, fmt.Sprintf("%s: %s", u.by.nvra(), u.what))
		}
	}
	return nil
}

// eachPackage reads a repository's metadata of a type.
func eachPackage(dir, kind string, each func(*pkg)) error {
	path, err := metadata(dir, kind)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for d := xml.NewDecoder(gz); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if el, ok := token.(xml.StartElement); ok && el.Name.Local == "package" {
			p := &pkg{}
			if err := d.DecodeElement(p, &el); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			each(p)
		}
	}
}

// metBy reports whether what a package provides meets a requirement, by rpm's rules. What has no version
// meets only requirements without one, and a missing release matches each.
func (c capability) metBy(p capability) bool {
	if len(c.Flags) < 2 || len(p.Flags) < 2 {
		return c.Flags == ""
	}
	switch n := compareEVR(p, c); {
	case n < 0: // what is provided begins below what is required
		return p.Flags[0] == 'G' || c.Flags[0] == 'L'
	case n > 0:
		return p.Flags[0] == 'L' || c.Flags[0] == 'G'
	}
	holds := func(c capability) bool { return c.Flags[1] == 'E' || c.Flags == "EQ" }
	return holds(p) && holds(c) || p.Flags[0] == c.Flags[0] && p.Flags != "EQ"
}

func compareEVR(a, b capability) int {
	zero := func(e string) string {
		if e == "" {
			return "0"
		}
		return e
	}
	if n := compareVersions(zero(a.Epoch), zero(b.Epoch)); n != 0 {
		return n
	}
	if n := compareVersions(a.Version, b.Version); n != 0 || a.Release == "" || b.Release == "" {
		return n
	}
	return compareVersions(a.Release, b.Release)
}

// compareVersions is rpmvercmp.
func compareVersions(a, b string) int {
	for {
		a, b = strings.TrimLeftFunc(a, separates), strings.TrimLeftFunc(b, separates)
		// ~ is before everything, also before the end; ^ is after the end, and before everything else.
		for _, sign := range []string{"~", "^"} {
			inA, inB := strings.HasPrefix(a, sign), strings.HasPrefix(b, sign)
			switch {
			case inA && inB:
				return compareVersions(a[1:], b[1:])
			case inA:
				if sign == "^" && b == "" {
					return 1
				}
				return -1
			case inB:
				if sign == "^" && a == "" {
					return -1
				}
				return 1
			}
		}
		if a == "" || b == "" {
			return len(a) - len(b)
		}
		numeric := isDigit(rune(a[0]))
		class := isAlpha
		if numeric {
			class = isDigit
		}
		var x, y string
		x, a = span(a, class)
		y, b = span(b, class)
		if y == "" { // a number is newer than letters
			if numeric {
				return 1
			}
			return -1
		}
		if numeric {
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
		}
		if n := strings.Compare(x, y); n != 0 {
			return n
		}
	}
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }
func isAlpha(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
func separates(r rune) bool {
	return !isDigit(r) && !isAlpha(r) && r != '~' && r != '^'
}

func span(s string, class func(rune) bool) (head, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool { return !class(r) })
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}
