package hub

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// xmlCases are replies beyond what Koji sends, with what they mean; nil is an
// error.
var xmlCases = []struct {
	value string // inside <value>
	want  any    // as ordered gives it; refused if it is this very marker
}{
	{"", ""},
	{"text", "text"},
	{"  ", "  "},
	{" <int>5</int> ", int64(5)},
	{"<string/>", ""},
	{"<string></string>", ""},
	{"<string>a<!-- x > y -->b<?pi x?>c<![CDATA[<&]]>]]]>d</string>", refused},
	{"<string>a<!-- x > y -->b<?pi x?>c<![CDATA[<&]]]]>d]] ></string>", "abc<&]]d]] >"},
	{"<!-- c --><int><!-- c -->5</int><!-- c -->", int64(5)},
	{"<!-- c -->text", "text"},
	{"&amp;&lt;&gt;&quot;&apos;&#65;&#x42;&#x1F408;", "&<>\"'AB🐈"},
	{"a\r\nb\rc&#13;d\r", "a\nb\nc\rd\n"},
	{"<![CDATA[a\r\nb]]>", "a\nb"},
	{"é日本🐈\u007f\u0085", "é日本🐈\u007f\u0085"},
	{"<nil/>", nil}, {"<nil></nil>", nil}, {"<ex:nil/>", nil}, {"<nil />", nil}, {"<nil>\n</nil>", refused},
	{"<boolean>1</boolean>", true}, {"<boolean>0</boolean>", false}, {"<boolean>true</boolean>", refused}, {"<boolean/>", refused},
	{"<i4>-7</i4>", int64(-7)}, {"<i8>9223372036854775807</i8>", int64(9223372036854775807)},
	{"<i8>-9223372036854775808</i8>", int64(-9223372036854775808)}, {"<i8>9223372036854775808</i8>", refused},
	{"<int></int>", refused}, {"<int>-</int>", refused}, {"<int>1 </int>", refused}, {"<int>1_0</int>", refused}, {"<int>0x1</int>", refused},
	{"<double>1e-07</double>", double("1e-07")}, {"<double>nan</double>", double("nan")}, {"<double>-inf</double>", double("-inf")},
	{"<double>0x1p3</double>", refused}, {"<double>1.</double>", refused}, {"<double>1e</double>", refused}, {"<double></double>", refused}, {"<double>-</double>", refused},
	{"<base64>\naGVs\nbG8=\n</base64>", []byte("hello")}, {"<base64>a</base64>", refused},
	{"<dateTime.iso8601>20250101T00:00:00</dateTime.iso8601>", "20250101T00:00:00"},
	{"<array><data/></array>", []any{}}, {"<array> <data>\n</data> </array>", []any{}}, {"<array/>", refused}, {"<array></array>", refused},
	{"<array><data><value/><value><nil/></value></data></array>", []any{"", nil}},
	{"<struct/>", []member{}}, {"<struct> </struct>", []member{}},
	{"<struct><member><name>b&lt;</name><value>1</value></member><member ><name/><value/></member></struct>", []member{{"b<", "1"}, {"", ""}}},
	{"<struct><member><value>1</value><name>b</name></member></struct>", refused},
	{"<struct><member><name>b</name></member></struct>", refused},
	{"<struct>x</struct>", refused}, {"<array><data>x</data></array>", refused},
	{"x<int>5</int>", refused}, {"<int>5</int>x", refused}, {"<int>5</int><int>5</int>", refused},
	{"<int>5</i4>", refused}, {"<int>5</int >", int64(5)}, {"< int>5</int>", refused}, {"</value>", refused},
	{"<int a='b'>5</int>", refused}, {"<unknown/>", refused}, {"<Int>5</Int>", refused}, {"<value/>", refused}, {"<int><int>5</int></int>", refused},
	{"&nbsp;", refused}, {"&#0;", refused}, {"&#x0;", refused}, {"&#xD800;", refused}, {"&#x110000;", refused}, {"&#1;", refused}, {"&;", refused},
	{"&amp", refused}, {"& ", refused}, {"&#;", refused}, {"&#x;", refused}, {"&#+5;", refused}, {"&#99999999999999999999;", refused},
	{"]]>", refused}, {"]]&gt;", "]]>"}, {"]] >", "]] >"}, {"a > b", "a > b"}, {"]]]>", refused},
	{"\x00", refused}, {"\x0b", refused}, {"\x1f", refused}, {"\ufffe", refused}, {"\uffff", refused}, {"\xed\xa0\x80", refused}, {"\xc0\x80", refused}, {"\xf4\x90\x80\x80", refused}, {"\xe6\x97", refused},
	{"\ufffd", "\ufffd"},
	{"<!-- a -- b -->", refused}, {"<!-- \x01 -->", refused}, {"<!DOCTYPE x>", refused}, {"<?xml version='1.0'?>", refused}, {"<![CDATA[", refused}, {"<!-", refused}, {"<", refused},
}

const refused = refusal("refused")

type refusal string

func TestDecodeXML(t *testing.T) {
	for _, c := range xmlCases {
		doc := "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>" + c.value + "</value>\n</param>\n</params>\n</methodResponse>\n"
		for how, body := range map[string]interface{ Read([]byte) (int, error) }{
			"at once":  strings.NewReader(doc),
			"by bytes": iotest.OneByteReader(strings.NewReader(doc)),
		} {
			got, err := decodeAny(body)
			switch {
			case c.want == any(refused):
				if err == nil {
					t.Errorf("%q, %s: got %v, want an error", c.value, how, got)
				}
			case err != nil || !reflect.DeepEqual(got, c.want):
				t.Errorf("%q, %s: got %#v, %v, want %#v", c.value, how, got, err, c.want)
			}
		}
	}
	const content = "<methodResponse><params><param><value>x</value></param></params></methodResponse>"
	for doc, ok := range map[string]bool{
		content: true,
		"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone='yes' ?><!-- c -->\n<?pi?>" + content + "\n<!-- c --> <?pi x?>\n": true,
		"<?xml version='1.0' encoding='utf-8'?>" + content:                                                                     true,
		"<?xml-stylesheet x?>" + content:                                                                                       false, // its name is reserved
		"<?xml version='1.1'?>" + content:                                                                                      false,
		"<?xml version='1.0' encoding='latin1'?>" + content:                                                                    false,
		"<?xml version='1.0' standalone='yes' encoding='utf-8'?>" + content:                                                    false,
		"<?xml encoding='utf-8'?>" + content:                                                                                   false,
		"<?xml version='1.0'" + strings.Repeat(" ", 500) + "?>" + content:                                                      false,
		" <?xml version='1.0'?>" + content:                                                                                     false,
		content + content:                                                                                                      false,
		content + "x":                                                                                                          false,
		content + "<":                                                                                                          false,
		content + "\x00":                                                                                                       false,
		strings.Replace(content, "<param>", "", 1):                                                                             false,
		strings.Replace(content, "</params>", "", 1):                                                                           false,
		strings.Replace(content, "</param>", "</param><param/>", 1):                                                            false,
		strings.ReplaceAll(content, "methodResponse", "methodCall"):                                                            false,
		"<methodResponse><params/></methodResponse>":                                                                           false,
		"<methodResponse/>":                                                                                                    false,
		"<methodResponse><fault><value>x</value></fault></methodResponse>":                                                     false,
		"<" + strings.Repeat("a", 1<<17) + ">" + content:                                                                       false,
	} {
		got, err := decodeAny(strings.NewReader(doc))
		if ok != (err == nil) || ok && got != any("x") {
			t.Errorf("%.200q: %v, %v", doc, got, err)
		}
	}
}

// What is accepted means what the reference decoder makes of it, whole or in
// single bytes; and a stream of it has the same rows.
func FuzzDecode(f *testing.F) {
	for _, c := range xmlCases {
		f.Add([]byte("<methodResponse><params><param><value>" + c.value + "</value></param></params></methodResponse>"))
	}
	for _, r := range recordings(f) {
		if len(r.response) < 4000 {
			f.Add(r.response)
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := decodeAny(bytes.NewReader(doc))
		slow, err2 := decodeAny(iotest.OneByteReader(bytes.NewReader(doc)))
		if (err == nil) != (err2 == nil) || err == nil && !reflect.DeepEqual(got, slow) {
			t.Fatalf("at once: %v, %v; by bytes: %v, %v", got, err, slow, err2)
		}
		if err != nil {
			return
		}
		want, err := reference(doc)
		if err != nil {
			t.Fatalf("accepted %v, reference: %v", got, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %#v, want %#v", got, want)
		}
		if all, ok := got.([]any); ok {
			rows := []any{}
			err := newDecoder("m", bytes.NewReader(doc), 1<<20).stream(func(r Row) error {
				rows = append(rows, ordered(r.Value))
				return nil
			})
			if err != nil || !reflect.DeepEqual(rows, all) {
				t.Fatalf("streamed %v, %v; whole %v", rows, err, all)
			}
		}
	})
}
