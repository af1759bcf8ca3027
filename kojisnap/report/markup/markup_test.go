package markup_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	m "kojisnap/kojisnap/report/markup"
)

// hostile are names that would leave a text or a value that is not escaped, with what is read back of each.
var hostile = map[string]string{
	`"quotes' and <tags> & &lt;`:          `"quotes' and <tags> & &lt;`,
	`</script><script>hacked=1</script>`:  `</script><script>hacked=1</script>`,
	`</style></title>--><svg onload=a()>`: `</style></title>--><svg onload=a()>`,
	`" onclick="hacked=1`:                 `" onclick="hacked=1`,
	"new\nline\ttab\rreturn":              "new line tab return",
	"NUL \x00, escape \x1b[31m":           "NUL \ufffd, escape \ufffd[31m",
	"not UTF-8: \xff\xc3(":                "not UTF-8: \ufffd\ufffd(",
	"turned \u202e round, \u200b none":    "turned \ufffd round, \ufffd none",
	"{{.}} `${x}` \u00e9\U0001f600":       "{{.}} `${x}` \u00e9\U0001f600",
}

// written is a page of one node, without the doctype.
func written(t *testing.T, n m.Node) string {
	t.Helper()
	var b strings.Builder
	if err := m.Write(&b, n); err != nil {
		t.Fatal(err)
	}
	page, found := strings.CutPrefix(b.String(), "<!doctype html>")
	if !found {
		t.Errorf("no doctype: %q", b.String())
	}
	return strings.TrimSpace(page)
}

// TestHostile: a parser reads any name back as the text or the value that it was, and nothing beside it.
func TestHostile(t *testing.T) {
	for name, want := range hostile {
		page := written(t, m.E("p", m.A("class", name), m.Text(name), m.E("b", m.Textf("%s", name))))
		var read struct {
			Attributes []xml.Attr `xml:",any,attr"`
			Text       string     `xml:",chardata"`
			B          []string   `xml:"b"`
			Others     []struct {
				XMLName xml.Name
			} `xml:",any"`
		}
		if err := xml.Unmarshal([]byte(page), &read); err != nil {
			t.Errorf("%q: %v in %s", name, err, page)
			continue
		}
		if len(read.Attributes) != 1 || read.Attributes[0].Value != want || read.Text != want || len(read.B) != 1 || read.B[0] != want || len(read.Others) > 0 {
			t.Errorf("%q is read as %+v from %s", name, read, page)
		}
	}
}

// TestHref: a link leads to the page itself or to the web, whatever it is made of.
func TestHref(t *testing.T) {
	for value, want := range map[string]string{
		"#checks1": "#checks1", "https://koji.example.com/?a=1&b": "https://koji.example.com/?a=1&amp;b", "http://koji.example.com": "http://koji.example.com",
		"javascript:hacked=1": "#", " javascript:hacked=1": "#", "JaVaScRiPt:a": "#", "java\nscript:a": "#", "data:text/html,a": "#", "//example.com": "#", "../etc": "#",
		`#"><script>`: "#&#34;&gt;&lt;script&gt;",
	} {
		if page := written(t, m.E("a", m.A("href", value))); page != `<a href="`+want+`"></a>` {
			t.Errorf("%q becomes %s", value, page)
		}
	}
}

// TestNames: what runs scripts, loads something or is not known cannot be written, even from a constant.
func TestNames(t *testing.T) {
	for what, make := range map[string]func(){
		"element script": func() { m.E("script") }, "element style": func() { m.E("style") }, "element img": func() { m.E("img") },
		"element with a space": func() { m.E("p onclick") }, "attribute onclick": func() { m.A("onclick", "x") }, "attribute style": func() { m.A("style", "x") },
		"attribute src": func() { m.A("src", "x") }, "attribute with a quote": func() { m.A(`class="a" id`, "x") }, "flag onclick": func() { m.Flag("onclick", true) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s can be made", what)
				}
			}()
			make()
		}()
	}
}

// TestElements: void elements have no end, empty attributes and nodes are left out, and lists are written in order.
func TestElements(t *testing.T) {
	page := written(t, m.E("ul", nil, m.E("input", m.A("name", "env"), m.A("id", ""), m.Flag("checked", true), m.Flag("open", false)),
		m.Each([]string{"a", "b"}, func(s string) m.Node { return m.E("li", m.Text(s), m.A("class", s)) }),
		m.Each([]string{"c"}, func(string) m.Node { return nil }), m.Nodes{nil, m.Text("end")}))
	if want := "<ul>\n" + `<input name="env" checked>` + "\n" + `<li class="a">a</li>` + "\n" + `<li class="b">b</li>end</ul>`; page != want {
		t.Errorf("%s\nwant %s", page, want)
	}
}

// TestStyle: a style sheet stands as it is, and one that could end its element is an error.
func TestStyle(t *testing.T) {
	if page := written(t, m.Style("a > b { content: '&'; }")); page != "<style>a > b { content: '&'; }</style>" {
		t.Error(page)
	}
	if err := m.Write(io.Discard, m.Style("</style><script>")); err == nil {
		t.Error("a style with </ is written")
	}
}

// full is a writer that has room for some writes.
type full struct{ room, after int }

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	if f.room--; f.room < 0 {
		f.after++
		return 0, errFull
	}
	return len(p), nil
}

// TestFullDisk: the first error of the writer is returned. Nothing is written after it, and lists end there.
func TestFullDisk(t *testing.T) {
	f, made := &full{room: 20}, 0
	err := m.Write(f, m.E("ul", m.Each(make([]int, 1000), func(int) m.Node { made++; return m.E("li", m.Text("x")) })))
	if !errors.Is(err, errFull) || f.after != 1 || made > 20 {
		t.Errorf("%v, %d writes after it, %d items", err, f.after, made)
	}
}
