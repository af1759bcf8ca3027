package hub

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// badValues are values that are wrong in themselves alone, with what is said of them.
var badValues = map[string]string{
	"<string>a\x01b</string>":         "character U+0001, which XML does not allow",
	"a\x02<!-- c -->":                 "character U+0002, which XML does not allow",
	"<string>\xff</string>":           "byte 0xff is not UTF-8",
	"<string>\xed\xa0\x80</string>":   "byte 0xed is not UTF-8",
	"<string>&#1;&#2;</string>":       `reference "&#1;" stands for no character of XML`,
	"<![CDATA[<\x07>]]>":              "character U+0007",
	"<int>99999999999999999999</int>": `int "99999999999999999999"`,
	"<i8>1e3</i8>":                    `int "1e3"`,
	"<double>0x1</double>":            `double "0x1"`,
	"<boolean>2</boolean>":            `boolean "2"`,
	"<base64>a</base64>":              "illegal base64",
	"<nil>x</nil>":                    "text in <nil>",
	strings.Repeat("<array><data><value>", 150) + "<nil/>" + strings.Repeat("</value></data></array>", 150): "values nested more than 100 deep",
	deepStruct(120): "its name: character U+0003",
	"<struct><member><name>a\x01</name><value><int>1</int></value></member></struct>": "character U+0001",
}

func deepStruct(n int) string {
	return strings.Repeat("<struct><member><name>a\x03</name><value>", n) + "1" + strings.Repeat("</value></member></struct>", n)
}

// A value that is wrong in itself spoils neither the rest of its row nor other rows. Without
// KeepBad it is an error.
func TestKeepBad(t *testing.T) {
	const member = "<member><name>%s</name><value>%s</value></member>"
	for bad, say := range badValues {
		row := func(id int, value string) string {
			return fmt.Sprintf("<value><struct>"+member+member+member+"</struct></value>", "extra", value, "id", fmt.Sprint("<int>", id, "</int>"), "name", "bash")
		}
		rows := "<array><data>" + row(1, "<nil/>") + row(2, bad) + row(3, "<array><data><value>x</value></data></array>") + "</data></array>"
		doc := "<?xml version='1.0'?><methodResponse><params><param><value>" + rows + "</value></param></params></methodResponse>"
		for how, body := range map[string]io.Reader{
			"at once":  strings.NewReader(doc),
			"by bytes": iotest.OneByteReader(strings.NewReader(doc)),
		} {
			d := newDecoder("m", body, 1<<20)
			d.keep = true
			n := 0
			err := d.stream(func(r Row) error {
				n++
				if id, ok := r.Get("id").Int(); !ok || id != int64(n) {
					t.Errorf("%q, %s: row %d has the id %d", bad, how, n, id)
				}
				if name, ok := r.Get("name").Str(); !ok || name != "bash" {
					t.Errorf("%q, %s: row %d has the name %q", bad, how, n, name)
				}
				_, err := r.Get("extra").JSON(nil)
				if n != 2 {
					if err != nil {
						t.Errorf("%q, %s: row %d: %v", bad, how, n, err)
					}
					return nil
				}
				if err == nil || !strings.Contains(err.Error(), say) {
					t.Errorf("%.80q, %s: %v, want %q", bad, how, err, say)
				}
				if v := r.Get("extra"); v.Kind() != Bad && v.Kind() != Array && v.Kind() != Struct {
					t.Errorf("%q, %s: a %s", bad, how, v.Kind())
				} else if v.Kind() == Bad && (v.Bad() == nil || v.Text() != nil || v.Any() != nil || v.Clone().Bad().Error() != v.Bad().Error()) {
					t.Errorf("%q, %s: %v, text %q", bad, how, v.Bad(), v.Text())
				}
				return nil
			})
			if err != nil || n != 3 {
				t.Errorf("%q, %s: %v after %d rows", bad, how, err, n)
			}
		}
		if err := newDecoder("m", strings.NewReader(doc), 1<<20).stream(func(Row) error { return nil }); err == nil || !Splittable(err) {
			t.Errorf("%q without KeepBad: %v", bad, err)
		}
	}
	// What makes the document itself wrong stays an error.
	for _, c := range xmlCases {
		if c.want != any(refused) || !strings.ContainsAny(c.value, "<>&]") || badValues[c.value] != "" {
			continue
		}
		d := newDecoder("m", strings.NewReader("<methodResponse><params><param><value>"+c.value+"</value></param></params></methodResponse>"), 1<<20)
		d.keep = true
		if v, err := d.whole(); err == nil && v.Bad() == nil {
			t.Errorf("%q is taken for %s", c.value, v)
		}
	}
}

// FuzzKeepBad: what is well-formed reads alike with KeepBad, and nothing that is not comes
// without a Bad value.
func FuzzKeepBad(f *testing.F) {
	for _, c := range xmlCases {
		f.Add([]byte("<methodResponse><params><param><value>" + c.value + "</value></param></params></methodResponse>"))
	}
	for bad := range badValues {
		f.Add([]byte("<methodResponse><params><param><value>" + bad + "</value></param></params></methodResponse>"))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		want, strict := newDecoder("m", bytes.NewReader(doc), 1<<20).whole()
		d := newDecoder("m", bytes.NewReader(doc), 1<<20)
		d.keep = true
		got, err := d.whole()
		switch {
		case strict == nil && (err != nil || len(d.tape.bad) > 0 || want.String() != got.String()):
			t.Fatalf("strict %s; kept %s, %v", want, got, err)
		case strict != nil && err == nil && len(d.tape.bad) == 0:
			t.Fatalf("strict %v; kept %s", strict, got)
		}
	})
}

// The same in a multicall: if each call has a bad row, all other rows are returned.
func TestKeepBadMulti(t *testing.T) {
	h := newMultiHub(t)
	for id := range h.results {
		if !strings.Contains(h.results[id], "faultCode") {
			h.results[id] = one("<array><data><value>" + strings.Replace(idRow(7), "<name>id", "<name>x</name><value>\x01</value></member><member><name>id", 1) + "</value></data></array>")
		}
	}
	h.results[4] = strings.Replace(faultResult, "No such", "No\x01such", 1)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, h.reply(r)) }, Options{})
	list := calls(7)
	for i := range list {
		list[i].KeepBad = true
	}
	rows, faults := 0, 0
	err := c.StreamMultiFaults(t.Context(), list, func(_ int, r Row) error {
		if id, _ := r.Get("id").Int(); id == 7 && r.Get("x").Bad() != nil {
			rows++
		}
		return nil
	}, func(e *CallError) error { faults++; return nil })
	if err != nil || rows != 6 || faults != 1 {
		t.Errorf("%d rows, %d faults, %v", rows, faults, err)
	}
}
