package hub

import (
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

func decodeValue(t *testing.T, value string) Value {
	t.Helper()
	v, err := newDecoder("m", strings.NewReader("<methodResponse><params><param><value>"+value+"</value></param></params></methodResponse>"), 1<<20).whole()
	if err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	return v
}

func TestJSON(t *testing.T) {
	for value, want := range map[string]string{
		"<nil/>":                    "null",
		"<boolean>1</boolean>":      "true",
		"<int>007</int>":            "7",
		"<double>1e-07</double>":    "1e-07",
		"<double>nan</double>":      "NaN",
		"<double>-inf</double>":     "-Infinity",
		"a\"\\/\t\n&#13;&lt;\u007f": `"a\"\\/\t\n\r<\u007f"`,
		"é日🐈\u2028":                 `"\u00e9\u65e5\ud83d\udc08\u2028"`,
		"<array><data/></array>":    "[]",
		"<struct/>":                 "{}",
		"<struct><member><name>z</name><value><array><data><value/><value><int>1</int></value></data></array></value></member><member><name>é</name><value>x</value></member></struct>": `{"z": ["", 1], "\u00e9": "x"}`,
	} {
		got, err := decodeValue(t, value).JSON([]byte("x"))
		if err != nil || string(got) != "x"+want {
			t.Errorf("%s: got %s, %v, want %s", value, got, err, want)
		}
	}
	for _, none := range []Value{{}, decodeValue(t, "<base64/>"), decodeValue(t, "<array><data><value><dateTime.iso8601/></value></data></array>"),
		decodeValue(t, "<struct><member><name>a</name><value><base64/></value></member></struct>")} {
		if got, err := none.JSON(nil); err == nil {
			t.Errorf("%s has the JSON %s", none.Kind(), got)
		}
	}
}

// The extra of builds comes back as the database holds it, byte for byte.
func TestJSONIsAsStored(t *testing.T) {
	tsv, err := fs.ReadFile(kojiprod.Rows(), "build.tsv")
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]string{} // extra by id
	lines := strings.Split(strings.TrimSuffix(string(tsv), "\n"), "\n")
	header := strings.Split(lines[0], "\t")
	id, extra := slices.Index(header, "id"), slices.Index(header, "extra")
	for _, line := range lines[1:] {
		f := strings.Split(line, "\t")
		stored[f[id]] = strings.NewReplacer(`\\`, `\`, `\N`, "null", `\t`, "\t", `\n`, "\n").Replace(f[extra])
	}
	r := find(t, "listBuilds.all")
	compared := 0
	err = serve(t, r.answer, Options{}).Stream(t.Context(), Call{Method: "listBuilds"}, func(r Row) error {
		key := string(r.Get("build_id").Text())
		got, err := r.Get("extra").JSON(nil)
		if want, ok := stored[key]; !ok || string(got) != want {
			t.Errorf("build %s: got %s, want %s", key, got, want)
		}
		if !r.Get("extra").IsNil() {
			compared++
		}
		return err
	})
	if err != nil || compared < 5 {
		t.Errorf("%d compared, %v", compared, err)
	}
}

func TestValue(t *testing.T) {
	v := decodeValue(t, "<struct><member><name>a</name><value><array><data><value><int>5</int></value><value><array><data><value>x</value></data></array></value><value/></data></array></value></member>"+
		"<member><name>n</name><value><nil/></value></member><member><name>d</name><value><double>2.5</double></value></member>"+
		"<member><name>big</name><value><double>1e999</double></value></member><member><name>t</name><value><boolean>1</boolean></value></member>"+
		"<member><name>raw</name><value><base64>AP8=</base64></value></member><member><name>a</name><value>again</value></member></struct>")
	a := v.Field("a")
	if v.Kind() != Struct || v.Len() != 7 || a.Kind() != Array || a.Len() != 3 {
		t.Fatalf("%s", v)
	}
	if n, ok := a.Index(0).Int(); n != 5 || !ok {
		t.Error("Int")
	}
	if s, ok := a.Index(1).Index(0).Str(); s != "x" || !ok {
		t.Error("Str")
	}
	if s, ok := a.Index(2).Str(); s != "" || !ok || a.Index(2).IsNil() {
		t.Error("the empty string")
	}
	if n := v.Field("n"); !n.IsNil() || !n.Exists() {
		t.Error("nil")
	}
	for _, missing := range []Value{v.Field("x"), a.Index(3), a.Index(-1), a.Field("a"), v.Index(0), {}} {
		if missing.Exists() || missing.IsNil() || missing.Len() != 0 || missing.Text() != nil || missing.Any() != nil || missing.Clone().Exists() {
			t.Errorf("%s exists", missing)
		}
	}
	if f, ok := v.Field("d").Float(); f != 2.5 || !ok {
		t.Error("Float")
	}
	if f, ok := v.Field("big").Float(); !math.IsInf(f, 1) || !ok {
		t.Error("1e999")
	}
	if f, ok := a.Index(0).Float(); f != 5 || !ok {
		t.Error("Float of an Int")
	}
	if b, ok := v.Field("t").Bool(); !b || !ok {
		t.Error("Bool")
	}
	if b, ok := v.Field("raw").Bytes(); string(b) != "\x00\xff" || !ok {
		t.Error("Bytes")
	}
	// No accessor takes one type for another.
	for name, m := range v.Members() {
		_, i := m.Int()
		_, b := m.Bool()
		_, s := m.Str()
		_, f := m.Float()
		_, r := m.Bytes()
		n := 0
		for _, is := range []bool{i, b, s, f, r} {
			if is {
				n++
			}
		}
		want := 1
		if m.Kind() == Nil || m.Kind() == Array {
			want = 0
		}
		if n != want {
			t.Errorf("%s is of %d types", name, n)
		}
	}
	c := a.Clone()
	if c.String() != `[5, ["x"], ""]` || c.Index(1).Clone().String() != `["x"]` {
		t.Errorf("clone: %s", c)
	}
}

func TestNamed(t *testing.T) {
	list := decodeValue(t, "<array><data><value><int>1</int></value><value><array><data><value/></data></array></value><value><nil/></value></data></array>")
	if _, ok := list.Named([]string{"a", "b"}); ok || list.Kind() != Array {
		t.Error("three elements were given two names")
	}
	row, ok := list.Named([]string{"a", "b", "c"})
	if got, err := row.JSON(nil); !ok || err != nil || string(got) != `{"a": 1, "b": [""], "c": null}` {
		t.Errorf("%s, %v, %v", got, ok, err)
	}
	if n, _ := row.Field("a").Int(); n != 1 || row.Field("c").Kind() != Nil {
		t.Errorf("a is %s, c %s", row.Field("a"), row.Field("c"))
	}
	if _, ok := row.Named([]string{"x", "y", "z"}); ok {
		t.Error("a struct was given names")
	}
}
