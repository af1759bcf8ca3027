package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"kojisnap/kojisnap"
	m "kojisnap/kojisnap/report/markup"
)

//go:embed style.css
var styleText string

// WriteHTML writes the report as one page that needs nothing else.
func (f *Facts) WriteHTML(w io.Writer) error {
	var envs []*envView
	for i := range f.Environments {
		envs = append(envs, newEnvView(&f.Environments[i], i+1, f.Made))
	}
	title := "kojisnap report"
	if len(envs) > 0 {
		// An environment of unknown state says least.
		first := max(0, slices.IndexFunc(envs, func(v *envView) bool { return v.Verdict.State != kojisnap.StateUnknown }))
		envs[first].First = true
		title = envs[first].Verdict.Text + " – " + envs[first].Name
	}
	out := bufio.NewWriter(w)
	err := m.Write(out, m.E("html", m.A("lang", "en"),
		head(title, styleText+pickers(len(envs))),
		m.E("body",
			choices(envs),
			top(f.Made, envs),
			hatch(),
			m.E("main", m.Each(envs, (*envView).article)),
			m.E("footer", m.Text("kojisnap "+f.Version+". This page is one file: it loads nothing and runs nothing.")))))
	if err != nil {
		return err
	}
	return out.Flush()
}

// head has a Content-Security-Policy: no script, nothing from elsewhere, only this page's style.
func head(title, style string) m.Node {
	sum := sha256.Sum256([]byte(style))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	return m.E("head",
		m.E("meta", m.A("charset", "utf-8")),
		m.E("meta", m.A("http-equiv", "Content-Security-Policy"), m.A("content", policy)),
		m.E("meta", m.A("name", "viewport"), m.A("content", "width=device-width, initial-scale=1")),
		m.E("meta", m.A("name", "robots"), m.A("content", "noindex")),
		m.E("title", m.Text(title)),
		m.Style(style))
}

// choices are the radio buttons of environments, if there are several.
func choices(envs []*envView) m.Node {
	if len(envs) < 2 {
		return nil
	}
	return m.Each(envs, func(v *envView) m.Node {
		return m.E("input", m.A("class", "pick"), m.A("type", "radio"), m.A("name", "env"), m.A("id", v.id("env")), m.Flag("checked", v.First))
	})
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

// top says when the report was made, and has the labels of the radio buttons.
func top(made time.Time, envs []*envView) m.Node {
	var labels m.Node
	if len(envs) > 1 {
		labels = m.E("div", m.A("class", "envs"), m.Each(envs, func(v *envView) m.Node {
			return m.E("label", m.A("for", v.id("env")),
				m.E("span", m.A("class", "mark "+string(v.Tone())), hidden, m.Text(v.Mark())),
				m.E("span", m.E("span", m.A("class", "vh"), m.Text("Environment ")), m.Text(v.Name+" "), m.E("small", m.Text(v.Short()))))
		}))
	}
	return m.E("header", m.A("class", "top"),
		m.E("p", m.A("class", "soft small"), m.Text("kojisnap report, made "),
			m.E("time", m.A("datetime", made.UTC().Format(time.RFC3339)), m.Text(minute(made)))),
		labels)
}

// hatch is the pattern that the style fills bars of failed syncs with.
func hatch() m.Node {
	return m.E("svg", m.A("class", "vh"), m.A("width", "0"), m.A("height", "0"), hidden, m.E("defs",
		m.E("pattern", m.A("id", "hatch"), m.A("width", "6"), m.A("height", "6"), m.A("patternUnits", "userSpaceOnUse"), m.A("patternTransform", "rotate(45)"),
			m.E("path", m.A("class", "hatch"), m.A("d", "M0 0V6")))))
}
