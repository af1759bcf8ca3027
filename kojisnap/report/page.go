package report

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/verify"
)

//go:embed page.html
var pageText string

//go:embed style.css
var styleText string

// page is what the template gets.
type page struct {
	*Facts
	Title  string
	CSS    template.CSS
	Policy string // a Content-Security-Policy: no script, nothing from elsewhere, only this page's style
	Envs   []*envView
}

// WriteHTML writes the report as one page that needs nothing else.
func (f *Facts) WriteHTML(w io.Writer) error {
	p := page{Facts: f, Title: "kojisnap report"}
	for i := range f.Environments {
		p.Envs = append(p.Envs, newEnvView(&f.Environments[i], i+1, f.Made))
	}
	if len(p.Envs) > 0 {
		// One of which nothing is known says least.
		first := max(0, slices.IndexFunc(p.Envs, func(v *envView) bool { return v.Verdict.State != kojisnap.StateUnknown }))
		p.Envs[first].First = true
		p.Title = visible(p.Envs[first].Verdict.Text + " – " + p.Envs[first].Name)
	}
	style := styleText + pickers(len(p.Envs))
	sum := sha256.Sum256([]byte(style))
	p.CSS = template.CSS(style) //nolint:gosec // it is this program's own
	p.Policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	out := bufio.NewWriter(w)
	if err := pageTemplate.Execute(out, p); err != nil {
		return err
	}
	return out.Flush()
}

// pickers is the style by which a radio button shows its environment and hides the others.
func pickers(n int) string {
	if n < 2 {
		return ""
	}
	var b strings.Builder
	b.WriteString(".env { display: none; }\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "#env%[1]d:checked ~ main #panel%[1]d { display: block; }\n"+
			"#env%[1]d:checked ~ .top label[for=env%[1]d] { border-color: var(--ink); box-shadow: inset 0 -3px 0 var(--ink); font-weight: 600; }\n"+
			"#env%[1]d:focus-visible ~ .top label[for=env%[1]d] { outline: 3px solid var(--link); outline-offset: 2px; }\n", i)
	}
	return b.String()
}

// envView is an environment as the page shows it.
type envView struct {
	*Env
	N      int  // from 1, part of ids
	First  bool // shown at first
	Made   time.Time
	Matrix *matrix
	Charts []chart
}

func newEnvView(e *Env, n int, made time.Time) *envView {
	return &envView{Env: e, N: n, Made: made, Matrix: newMatrix(e.Checks), Charts: chartsOf(e.Syncs)}
}

// Held reports whether anything is known beside the verdict.
func (v *envView) Held() bool {
	return v.Verdict.State != kojisnap.StateUnknown || v.Event > 0 || len(v.Syncs) > 0
}

// Since reports whether earlier events may be pinned.
func (v *envView) Since() bool { return v.History < v.Event }

// SuccessAge is how long ago all was well.
func (v *envView) SuccessAge() string { return kojisnap.Age(max(0, v.Made.Sub(v.Success))) }

func (v *envView) EverySeconds() float64 { return float64(v.Every) }

// keyList is a part of the configuration.
type keyList struct {
	Title string
	Keys  []ConfigKey
}

// Keys are the configuration: what is set, then the defaults.
func (v *envView) Keys() (lists []keyList) {
	var set, defaults []ConfigKey
	for _, k := range v.Config {
		if k.Default {
			defaults = append(defaults, k)
		} else {
			set = append(set, k)
		}
	}
	for _, l := range []keyList{{count(len(set)) + " keys that are set", set}, {count(len(defaults)) + " defaults", defaults}} {
		if len(l.Keys) > 0 {
			lists = append(lists, l)
		}
	}
	return lists
}

// Tone is the class of the verdict, Mark its sign.
func (v *envView) Tone() verify.Status {
	switch v.Verdict.State {
	case kojisnap.StateReady:
		if v.Overdue > 0 {
			return verify.StatusWarning
		}
		return verify.StatusOK
	case kojisnap.StateNotReady:
		return verify.StatusFailed
	case kojisnap.StateUnproven:
		return verify.StatusWarning
	}
	return verify.StatusSkipped
}

func (v *envView) Mark() string {
	switch v.Verdict.State {
	case kojisnap.StateReady:
		return "✓"
	case kojisnap.StateNotReady:
		return "✗"
	}
	return "?"
}

// CheckedText sums up the checks in a sentence.
func (v *envView) CheckedText() string {
	n := v.counts()
	var parts []string
	for _, s := range []struct {
		status verify.Status
		words  string
	}{{verify.StatusFailed, "failed"}, {verify.StatusWarning, "with a warning"}, {verify.StatusUnproven, "that proved nothing"}, {verify.StatusSkipped, "that could not be made"}, {verify.StatusOK, "ok"}} {
		if n[s.status] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", count(n[s.status]), s.words))
		}
	}
	return fmt.Sprintf("%s checks at %s: %s.", count(len(v.Checks)), minute(v.Checked), strings.Join(parts, ", "))
}

// Used is the width of the part of the file system that is used, of 600.
func (v *envView) Used() int64 {
	f := v.Files
	return int64(600 * float64(f.Room-f.Free) / float64(max(f.Room, 1)))
}

// trouble is a check that is not ok, with how it is shown.
type trouble struct {
	*matrixCell
	Open bool
	More int
}

// Troubled returns the checks that are not ok, the worst first. The first few that failed are open.
func (v *envView) Troubled() (all []trouble) {
	const few, opened = 5, 3
	for i, c := range v.troubled() {
		all = append(all, trouble{c, c.Status == verify.StatusFailed && i < opened && len(c.Entries) <= few, c.more()})
	}
	return all
}

// None reports whether no build came, moved or went.
func (c *Changes) None() bool { return c.New.Total+c.Moved.Total+c.Added.Total+c.Gone.Total == 0 }

// listView, cellView and buildsView are the arguments of the templates list, cell and builds.
type listView struct {
	Title   string
	Total   int
	Entries []string
}

func (l listView) More() int   { return l.Total - len(l.Entries) }
func (l listView) Small() bool { return len(l.Entries) <= 200 }

type cellView struct {
	N    int
	Cell *matrixCell
	Span int
}

type buildsView struct {
	Title, What string
	List        BuildList
}

func (b buildsView) More() int { return b.List.Total - len(b.List.Builds) }

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"clean": visible, "minute": minute, "duration": duration, "size": size,
	"stamp": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"count": func(n any) string {
		switch n := n.(type) {
		case int:
			return count(n)
		case int64:
			return count(n)
		}
		return fmt.Sprint(n)
	},
	"plural": func(n int, one, many string) string {
		if n == 1 {
			return "1 " + one
		}
		return count(n) + " " + many
	},
	"title": func(s string) string { return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):] },
	"mark":  func(s verify.Status) string { return cmp.Or(marks[s], "?") },
	"list":  func(title string, total int, entries []string) listView { return listView{title, total, entries} },
	"cell":  func(n int, c *matrixCell, span int) cellView { return cellView{n, c, span} },
	"words": words, "entry": splitEntry,
	"builds": func(title, what string, list BuildList) buildsView {
		return buildsView{title, what, list}
	},
}).Parse(pageText))

// entry is a line of a list: what it is about, and what is to be said of that.
type entry struct{ Name, Rest string }

func splitEntry(line string) entry {
	name, rest, _ := strings.Cut(line, ": ")
	return entry{name, rest}
}

// word is a part of a text: a flag, which does not break at the end of a line, or what is between flags.
type word struct {
	Text string
	Flag bool
}

func words(text string) (all []word) {
	for _, w := range strings.Fields(text) {
		flag := strings.HasPrefix(w, "--")
		if n := len(all); n > 0 && !flag && !all[n-1].Flag {
			all[n-1].Text += " " + w
		} else {
			all = append(all, word{w, flag})
		}
	}
	return all
}

// marks are the signs of statuses, which do not rest on colour.
var marks = map[verify.Status]string{verify.StatusOK: "✓", verify.StatusWarning: "!", verify.StatusFailed: "✗", verify.StatusSkipped: "–", verify.StatusUnproven: "?"}
