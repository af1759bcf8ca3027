package hubtest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

func rows(t testing.TB) *hubtest.Memory {
	t.Helper()
	src, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// serve starts a hub and returns its URL.
func serve(t testing.TB, h http.Handler) string {
	hub := httptest.NewServer(h)
	t.Cleanup(hub.Close)
	return hub.URL
}

// call sends a call whose params are XML values, and returns the reply's body.
func call(t testing.TB, url, method string, params ...string) string {
	t.Helper()
	resp, err := http.Post(url, "text/xml", strings.NewReader(document(method, params...)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func document(method string, params ...string) string {
	var b strings.Builder
	b.WriteString("<?xml version='1.0'?>\n<methodCall>\n<methodName>" + method + "</methodName>\n<params>\n")
	for _, p := range params {
		b.WriteString("<param><value>" + p + "</value></param>\n")
	}
	b.WriteString("</params>\n</methodCall>\n")
	return b.String()
}

// multi is the param of a call of multiCall.
func multi(calls ...string) string {
	return "<array><data>" + strings.Join(calls, "") + "</data></array>"
}

func inner(method string, params ...string) string {
	var b strings.Builder
	for _, p := range params {
		b.WriteString("<value>" + p + "</value>")
	}
	return "<value><struct><member><name>methodName</name><value>" + method + "</value></member>" +
		"<member><name>params</name><value><array><data>" + b.String() + "</data></array></value></member></struct></value>"
}

// named are keyword arguments.
func named(pairs ...string) string {
	s := "<struct><member><name>__starstar</name><value><boolean>1</boolean></value></member>"
	for i := 0; i < len(pairs); i += 2 {
		s += "<member><name>" + pairs[i] + "</name><value>" + pairs[i+1] + "</value></member>"
	}
	return s + "</struct>"
}

// members returns the values of a member in a reply, in their order.
func members(t testing.TB, body, name string) []string {
	t.Helper()
	tree, err := parseTree([]byte(body))
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	var found []string
	var walk func(*node)
	walk = func(n *node) {
		if n.Name == "member" && n.Child[0].Text == name {
			leaf := n.Child[1]
			for len(leaf.Child) == 1 {
				leaf = leaf.Child[0]
			}
			found = append(found, leaf.Text)
		}
		for _, c := range n.Child {
			walk(c)
		}
	}
	walk(tree)
	return found
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

const (
	f42 = "<string>f42</string>"
	yes = "<boolean>1</boolean>"
)

func TestTaggingShows(t *testing.T) {
	src := rows(t)
	url := serve(t, hubtest.New(src, hubtest.Options{}))
	last := members(t, call(t, url, "getLastEvent"), "id")[0]
	newest := func() []string {
		return members(t, call(t, url, "listTagged", f42, named("latest", yes, "package", "bash")), "nvr")
	}
	equal(t, "before", newest(), []string{"bash-5.2.37-1.fc42"})

	err := src.Insert("build", hubtest.Values{"id": 5000, "volume_id": 0, "pkg_id": 1, "version": "6", "release": "1<&>",
		"draft": false, "create_event": 400, "start_time": "2026-11-21 00:45:26+00", "completion_time": "2026-11-21 00:45:26.5+00",
		"state": 1, "owner": 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Insert("events", hubtest.Values{"id": 9000, "time": "2026-11-22 00:00:00.25+00"}); err != nil {
		t.Fatal(err)
	}
	if err := src.Insert("tag_listing", hubtest.Values{"build_id": 5000, "tag_id": 2, "create_event": 9000, "creator_id": 1, "active": true}); err != nil {
		t.Fatal(err)
	}
	equal(t, "tagged", newest(), []string{"bash-6-1<&>"})
	equal(t, "completion", members(t, call(t, url, "listTagged", f42, named("latest", yes, "package", "bash")), "completion_time"),
		[]string{"2026-11-21 00:45:26.500000+00:00"})
	equal(t, "at the event before", members(t, call(t, url, "listTagged", f42, named("latest", yes, "package", "bash",
		"event", "<int>"+last+"</int>")), "nvr"), []string{"bash-5.2.37-1.fc42"})
	equal(t, "history", members(t, call(t, url, "queryHistory", named("tables", "<array><data><value>tag_listing</value></data></array>",
		"afterEvent", "<int>"+last+"</int>")), "create_ts"), []string{"1795305600.25"})

	n, err := src.Update("tag_listing", hubtest.Values{"build_id": 5000, "active": true},
		hubtest.Values{"active": nil, "revoke_event": 9001, "revoker_id": 1})
	if n != 1 || err != nil {
		t.Fatalf("%d rows, %v", n, err)
	}
	equal(t, "untagged", newest(), []string{"bash-5.2.37-1.fc42"})
	if n, err := src.Delete("tag_listing", hubtest.Values{"build_id": 5000}); n != 1 || err != nil {
		t.Fatalf("%d rows, %v", n, err)
	}
	kept, err := src.Select("tag_listing", hubtest.Values{"build_id": 5000})
	if err != nil || len(kept) != 0 {
		t.Errorf("after Delete: %v, %v", kept, err)
	}
	for _, bad := range []error{
		src.Insert("no_table", hubtest.Values{}), src.Insert("build", hubtest.Values{"no_column": 1}),
		src.Insert("events", hubtest.Values{"time": "soon"}),
	} {
		if bad == nil {
			t.Error("Insert took what the table cannot hold")
		}
	}
}

func TestCallsAreCounted(t *testing.T) {
	hub := hubtest.New(rows(t), hubtest.Options{})
	url := serve(t, hub)
	call(t, url, "multiCall", multi(inner("getTag", f42), inner("getTag", "<string>f41</string>"), inner("noSuchMethod")))
	call(t, url, "getTag", f42)
	equal(t, "calls", hub.Calls(), map[string]int{"multiCall": 1, "getTag": 3, "noSuchMethod": 1})
}

// A fault in a generator occurs while the reply is encoded, so it faults the whole multicall.
func TestGeneratorFaultsWholeMulticall(t *testing.T) {
	src := rows(t)
	if n, err := src.Update("build", hubtest.Values{"id": 6}, hubtest.Values{"extra": `{"bad": `}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	url := serve(t, hubtest.New(src, hubtest.Options{}))
	const fault = `Invalid extra data: '{"bad": '`
	six := "<int>6</int>"
	one := call(t, url, "multiCall", multi(inner("getBuild", six), inner("getTag", f42)))
	equal(t, "getBuild faults alone", members(t, one, "faultString"), []string{fault})
	equal(t, "and the next call is answered", members(t, one, "maven_support"), []string{"0"})
	all := call(t, url, "multiCall", multi(inner("getTag", f42), inner("listBuilds", named("packageID", "glibc"))))
	if !strings.Contains(all, "<methodResponse>\n<fault>") || !strings.Contains(all, fault) {
		t.Errorf("listBuilds is no fault of the multicall: %s", all)
	}
	eager := call(t, url, "multiCall", multi(inner("getTag", f42), inner("listBuilds", named("packageID", "glibc",
		"queryOpts", "<struct><member><name>limit</name><value><int>999</int></value></member></struct>"))))
	equal(t, "with a limit below 1000 it faults alone", members(t, eager, "faultString"), []string{fault})
}

func TestHostileRows(t *testing.T) {
	src := rows(t)
	url := serve(t, hubtest.New(src, hubtest.Options{}))
	set := func(table string, id int, values hubtest.Values) {
		t.Helper()
		if n, err := src.Update(table, hubtest.Values{"id": id}, values); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	set("package", 1, hubtest.Values{"name": "../b\x01a'\"sh\n"})
	if got := call(t, url, "listPackages"); !strings.Contains(got, "<string>../b\x01a'\"sh\n</string>") {
		t.Error("a control character does not go out as it is")
	}
	set("build", 6, hubtest.Values{"extra": `{"half": "\ud800", "n": 99999999999999999999}`})
	resp, err := http.Post(url, "text/xml", strings.NewReader(document("getBuild", "<int>6</int>")))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	equal(t, "an integer beyond 64 bit is a fault, and so HTTP", resp.StatusCode, http.StatusOK)
	set("build", 6, hubtest.Values{"extra": `{"half": "\ud800"}`})
	if resp, err = http.Post(url, "text/xml", strings.NewReader(document("getBuild", "<int>6</int>"))); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	equal(t, "a lone surrogate is HTTP", resp.StatusCode, http.StatusInternalServerError)
}

func TestTamper(t *testing.T) {
	change := map[string]func([]byte) []byte{
		"listVolumes":    func([]byte) []byte { return []byte("<html>proxy</html>") },
		"getKojiVersion": func(body []byte) []byte { return body[:len(body)/2] },
	}
	url := serve(t, hubtest.New(rows(t), hubtest.Options{Tamper: func(method string, body []byte) []byte {
		if f := change[method]; f != nil {
			return f(body)
		}
		return body
	}}))
	equal(t, "HTML", call(t, url, "listVolumes"), "<html>proxy</html>")
	resp, err := http.Post(url, "text/xml", strings.NewReader(document("getKojiVersion")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF {
		t.Errorf("a reply that is cut short reads with %v", err)
	}
	if got := call(t, url, "getAPIVersion"); !strings.Contains(got, "<int>1</int>") {
		t.Errorf("what is not tampered with: %s", got)
	}
}

func TestQueryStringIsALogin(t *testing.T) {
	url := serve(t, hubtest.New(rows(t), hubtest.Options{}))
	equal(t, "parsed", members(t, call(t, url+"/kojihub?a=b", "getAPIVersion"), "faultCode"), []string{"1002"})
	equal(t, "not parsed", members(t, call(t, url+"/kojihub?ab", "getAPIVersion"), "faultCode"), []string{"1"})
}

func TestArgumentFaults(t *testing.T) {
	url := serve(t, hubtest.New(rows(t), hubtest.Options{}))
	i := "<int>1</int>"
	for _, test := range []struct{ method, params, want string }{
		{"getTag", "", "get_tag() missing 1 required positional argument: 'tagInfo'"},
		{"getTag", strings.Repeat(i+"|", 5), "get_tag() takes from 1 to 4 positional arguments but 5 were given"},
		{"getBuildLogs", i + "|" + i, "get_build_logs() takes 1 positional argument but 2 were given"},
		{"getKojiVersion", i, "RootExports.getKojiVersion() takes 1 positional argument but 2 were given"},
		{"getTag", i + "|" + named("tagInfo", i), "get_tag() got multiple values for argument 'tagInfo'"},
		{"tagChangedSinceEvent", "", "tag_changed_since_event() missing 2 required positional arguments: 'event' and 'taglist'"},
		{"search", "", "RootExports.search() missing 3 required positional arguments: 'terms', 'type', and 'matchType'"},
		{"getFullInheritance", f42 + "|" + named("jump", i), "getFullInheritance() got an unexpected keyword argument 'jump'"},
		{"getFullInheritance", f42 + "|" + named("jumps", i), "jumps option has been removed since 1.26"},
		{"getTag", "<nil/>", "Invalid name or id value: None"},
	} {
		var params []string
		for _, p := range strings.Split(test.params, "|") {
			if p != "" {
				params = append(params, p)
			}
		}
		got := call(t, url, test.method, params...)
		equal(t, test.method, members(t, got, "faultString"), []string{test.want})
		equal(t, test.method, members(t, got, "faultCode"), []string{"1019"})
	}
}

// Koji 1.35.3 as released lacks some of what the recorded hub has.
func TestReleased(t *testing.T) {
	src := rows(t)
	for _, test := range []struct {
		released        bool
		fault           []string
		promoter, repos string
	}{
		{false, nil, "draft=None, promotedBefore=None, promotedAfter=None, promoter=None)", "x86_64"},
		{true, []string{"RootExports.listBuilds() got an unexpected keyword argument 'promotedAfter'"}, "draft=None)", ""},
	} {
		url := serve(t, hubtest.New(src, hubtest.Options{Released: test.released}))
		promoted := call(t, url, "listBuilds", named("promotedAfter", "<double>0</double>"))
		equal(t, "fault", members(t, promoted, "faultString"), test.fault)
		help := call(t, url, "system.methodHelp", "<string>listBuilds</string>")
		if !strings.Contains(help, test.promoter) {
			t.Errorf("released %v: %s", test.released, help)
		}
		history := call(t, url, "queryHistory", named("tables", "<array><data><value><string>tag_external_repos</string></value></data></array>"))
		equal(t, "priorities", len(members(t, history, "priority")), 6)
		if arches := strings.Join(members(t, history, "arches"), " "); !strings.Contains(arches, test.repos) || test.released != (len(arches) == 0) {
			t.Errorf("released %v: arches %q", test.released, arches)
		}
	}
}

// TestOddTimes: the hub answers times in unusual years as psycopg2 2.9 converts them.
func TestOddTimes(t *testing.T) {
	for text, want := range map[string]struct{ text, epoch string }{
		"infinity":                  {"9999-12-31 23:59:59.999999+00:00", "inf"},
		"-infinity":                 {"0001-01-01 00:00:00+00:00", "-inf"},
		"1969-12-31 23:00:00+00":    {"1969-12-31 23:00:00+00:00", "-3600.0"},
		"9999-12-31 23:59:59+00":    {"9999-12-31 23:59:59+00:00", "253402300799.0"},
		"10000-01-01 00:00:00+00":   {"ValueError: year 10000 is out of range", "253402300800.0"},
		"0044-03-15 00:00:00+00 BC": {"ValueError: year -44 is out of range", "-63517824000.0"},
	} {
		src := rows(t)
		if n, err := src.Update("build", hubtest.Values{"id": 1}, hubtest.Values{"completion_time": text}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		var written bytes.Buffer
		if err := src.WriteCopy(&written, "build"); err != nil || !strings.Contains(written.String(), "\t"+text+"\t") {
			t.Errorf("%s is not written so, %v", text, err)
		}
		url := serve(t, hubtest.New(src, hubtest.Options{}))
		got := call(t, url, "getBuild", "<int>1</int>")
		if strings.HasPrefix(want.text, "ValueError") {
			equal(t, text, strings.Contains(got, "<int>1</int>") && strings.Contains(got, want.text), true)
			continue
		}
		equal(t, text, members(t, got, "completion_time"), []string{want.text})
		equal(t, text, members(t, got, "completion_ts"), []string{want.epoch})
	}
	// A query for seconds alone does not convert such a time.
	src := rows(t)
	if n, err := src.Update("events", hubtest.Values{"id": 419}, hubtest.Values{"time": "10000-01-01 00:00:00+00"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	got := call(t, serve(t, hubtest.New(src, hubtest.Options{})), "getEvent", "<int>419</int>")
	equal(t, "event", members(t, got, "ts"), []string{"253402300800.0"})
}

// A database of an older Koji lacks tables and columns.
func TestOlderSchema(t *testing.T) {
	files := oldRows(t)
	src, err := hubtest.Rows(files)
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, hubtest.New(src, hubtest.Options{KojiVersion: "1.21.0"}))
	got := call(t, url, "getBuild", "<string>bash-5.2.37-1.fc42</string>")
	equal(t, "id", len(members(t, got, "build_id")), 1)
	equal(t, "draft", members(t, got, "draft"), []string{""})
	equal(t, "checksums", members(t, call(t, url, "getRPMChecksums", "<int>1</int>", "<nil/>", yes), "md5"), []string{"", ""})
	equal(t, "latest", len(members(t, call(t, url, "listTagged", f42, named("latest", yes, "package", "bash")), "nvr")), 1)
}

func BenchmarkListTaggedRPMS(b *testing.B) {
	src := rows(b)
	const builds, each = 2000, 10
	var listing, build, rpm []hubtest.Values
	for i := range builds {
		id := 100000 + i
		build = append(build, hubtest.Values{"id": id, "volume_id": 0, "pkg_id": 1, "version": fmt.Sprint(i), "release": "1",
			"draft": false, "create_event": 300, "state": 1, "owner": 1})
		listing = append(listing, hubtest.Values{"build_id": id, "tag_id": 2, "create_event": 300, "creator_id": 1, "active": true})
		for j := range each {
			rpm = append(rpm, hubtest.Values{"id": id*each + j, "build_id": id, "name": "bash", "version": fmt.Sprint(i), "release": "1",
				"arch": "x86_64", "external_repo_id": 0, "payloadhash": "00", "size": 1, "buildtime": 1, "metadata_only": false, "draft": false})
		}
	}
	for table, values := range map[string][]hubtest.Values{"build": build, "tag_listing": listing, "rpminfo": rpm} {
		if err := src.Insert(table, values...); err != nil {
			b.Fatal(err)
		}
	}
	hub := hubtest.New(src, hubtest.Options{})
	body := document("listTaggedRPMS", f42)
	for b.Loop() {
		w := httptest.NewRecorder()
		hub.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/kojihub", bytes.NewReader([]byte(body))))
		if w.Body.Len() < 1000*builds*each {
			b.Fatalf("%d bytes", w.Body.Len())
		}
		b.SetBytes(int64(w.Body.Len()))
	}
	b.ReportMetric(float64(builds*each*b.N)/b.Elapsed().Seconds(), "rows/s")
}
